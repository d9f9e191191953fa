"""Values that several slices have in their messages."""

from __future__ import annotations

import json
import math
from typing import Any, Final, cast
from uuid import UUID

from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.ids import parse_optional_id
from google.protobuf import json_format, struct_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

MAX_METADATA: Final = 16_384
"""Bytes as JSON; the tables' checks say the same."""
_MESSAGE_BYTES: Final = 3
"""At most as many bytes of a message stand for one of JSON: lists of numbers come closest, with 11 bytes for 5."""
_Y2K_UNIX: Final = 946_684_800


def moment(us_since_2000: int) -> Timestamp:
    """As an argument of a message: its parts, which protobuf takes for the message at half the price."""
    seconds, micros = divmod(us_since_2000, 1_000_000)
    return cast("Timestamp", {"seconds": seconds + _Y2K_UNIX, "nanos": micros * 1000})


def struct(metadata: dict[str, Any] | None) -> struct_pb2.Struct | None:
    """None for none, which most have: building a Struct costs more than the rest of the message."""
    return json_format.ParseDict(metadata, struct_pb2.Struct()) if metadata else None


def metadata(message: struct_pb2.Struct, field: str) -> dict[str, Any]:
    # Before it is read: a long one would keep everybody else waiting.
    if message.ByteSize() > _MESSAGE_BYTES * MAX_METADATA:
        raise too_much_metadata(field)
    found = {key: _plain(value, field) for key, value in message.fields.items()}
    text = json.dumps(found, ensure_ascii=False)
    if len(text.encode()) > MAX_METADATA:
        raise too_much_metadata(field)
    if "\\u0000" in text:
        raise InvalidArgument.field(field, "must not hold the character U+0000")
    return found


def metadata_bytes(metadata: dict[str, Any] | None) -> int:
    """At most, as a message."""
    return _MESSAGE_BYTES * len(json.dumps(metadata, ensure_ascii=False).encode()) if metadata else 0


def too_much_metadata(field: str) -> InvalidArgument:
    return InvalidArgument.field(field, f"must have at most {MAX_METADATA} bytes as JSON")


def _plain(value: struct_pb2.Value, field: str) -> Any:
    """What json_format makes of it, in less time."""
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            if not math.isfinite(value.number_value):
                raise InvalidArgument.field(field, "must not hold NaN or infinite numbers")
            return value.number_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return {key: _plain(one, field) for key, one in value.struct_value.fields.items()}
        case "list_value":
            return [_plain(one, field) for one in value.list_value.values]
    return None


def optional_id(message: Message, field: str, prefix: str) -> UUID | None:
    return parse_optional_id(getattr(message, field), f"{prefix}.{field}")
