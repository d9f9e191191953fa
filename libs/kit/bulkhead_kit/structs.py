"""Between google.protobuf.Struct and the objects of a jsonb column."""

from __future__ import annotations

import json
import math
from typing import Any, Final

from google.protobuf import json_format, struct_pb2

from bulkhead_kit.errors import InvalidArgument

MAX_LEVELS: Final = 32
"""Of containers in one another; the columns' checks say the same. With the messages around it a Struct of 33 may be
deeper than what protobuf reads, and audit takes 64 levels."""
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
    found = _members(message, field, 1)
    if len(json.dumps(found, ensure_ascii=False).encode()) > max_bytes:
        raise too_much(field, max_bytes)
    return found


def too_much(field: str, max_bytes: int) -> InvalidArgument:
    return InvalidArgument.field(field, f"must have at most {max_bytes} bytes as JSON")


def too_deep(field: str) -> InvalidArgument:
    return InvalidArgument.field(field, f"must be at most {MAX_LEVELS} levels deep")


def _members(message: struct_pb2.Struct, field: str, level: int) -> dict[str, Any]:
    return {_text(name, field): _plain(value, field, level) for name, value in message.fields.items()}


def _text(text: str, field: str) -> str:
    if "\0" in text:
        raise InvalidArgument.field(field, "must not hold the character U+0000")
    return text


def _plain(value: struct_pb2.Value, field: str, level: int) -> Any:
    """What json_format makes of it, in less time."""
    if level > MAX_LEVELS:
        raise too_deep(field)
    match value.WhichOneof("kind"):
        case "string_value":
            return _text(value.string_value, field)
        case "number_value":
            if not math.isfinite(value.number_value):
                raise InvalidArgument.field(field, "must not hold NaN or infinite numbers")
            return value.number_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return _members(value.struct_value, field, level + 1)
        case "list_value":
            return [_plain(one, field, level + 1) for one in value.list_value.values]
    return None
