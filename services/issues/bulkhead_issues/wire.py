"""Values that several slices have in their messages."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, Final, cast
from uuid import UUID

from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.ids import parse_optional_id
from google.protobuf import json_format, struct_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

MAX_METADATA: Final = 16_384
"""Bytes as JSON; the tables' checks say the same."""
_Y2K_UNIX: Final = 946_684_800


def moment(us_since_2000: int) -> Timestamp:
    """As an argument of a message: its parts, which protobuf takes for the message at half the price."""
    seconds, micros = divmod(us_since_2000, 1_000_000)
    return cast("Timestamp", {"seconds": seconds + _Y2K_UNIX, "nanos": micros * 1000})


def struct(metadata: dict[str, Any] | None) -> struct_pb2.Struct | None:
    """None for none, which most have: building a Struct costs more than the rest of the message."""
    return json_format.ParseDict(metadata, struct_pb2.Struct()) if metadata else None


def metadata(message: struct_pb2.Struct, field: str) -> dict[str, Any]:
    if any(not math.isfinite(number) for number in _numbers(message)):
        raise InvalidArgument.field(field, "must not hold NaN or infinite numbers")
    found: dict[str, Any] = json_format.MessageToDict(message)
    text = json.dumps(found, ensure_ascii=False)
    if len(text.encode()) > MAX_METADATA:
        raise too_much_metadata(field)
    if "\\u0000" in text:
        raise InvalidArgument.field(field, "must not hold the character U+0000")
    return found


def too_much_metadata(field: str) -> InvalidArgument:
    return InvalidArgument.field(field, f"must have at most {MAX_METADATA} bytes as JSON")


def _numbers(message: struct_pb2.Struct | struct_pb2.ListValue) -> Iterator[float]:
    values = message.fields.values() if isinstance(message, struct_pb2.Struct) else message.values
    for value in values:
        kind = value.WhichOneof("kind")
        if kind == "number_value":
            yield value.number_value
        elif kind == "struct_value":
            yield from _numbers(value.struct_value)
        elif kind == "list_value":
            yield from _numbers(value.list_value)


def optional_id(message: Message, field: str, prefix: str) -> UUID | None:
    return parse_optional_id(getattr(message, field), f"{prefix}.{field}")
