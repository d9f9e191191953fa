"""Between google.protobuf.Struct and the objects of a jsonb column."""

from __future__ import annotations

import json
import math
from typing import Any, Final

from google.protobuf import json_format, struct_pb2

from bulkhead_kit.errors import InvalidArgument

MESSAGE_BYTES: Final = 3
"""At most as many bytes of a message stand for one of JSON: lists of numbers come closest, with 11 bytes for 5."""


def struct(values: dict[str, Any] | None) -> struct_pb2.Struct | None:
    """None for none, which most have: building a Struct costs more than the rest of the message."""
    return json_format.ParseDict(values, struct_pb2.Struct()) if values else None


def values_of(message: struct_pb2.Struct, field: str, max_bytes: int) -> dict[str, Any]:
    """`max_bytes` counts the value as JSON."""
    # Before it is read: a long one would keep everybody else waiting.
    if message.ByteSize() > MESSAGE_BYTES * max_bytes:
        raise too_much(field, max_bytes)
    found = {key: _plain(value, field) for key, value in message.fields.items()}
    text = json.dumps(found, ensure_ascii=False)
    if len(text.encode()) > max_bytes:
        raise too_much(field, max_bytes)
    if "\\u0000" in text:
        raise InvalidArgument.field(field, "must not hold the character U+0000")
    return found


def too_much(field: str, max_bytes: int) -> InvalidArgument:
    return InvalidArgument.field(field, f"must have at most {max_bytes} bytes as JSON")


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
