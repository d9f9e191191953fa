"""Values that several slices have in their messages."""

from __future__ import annotations

import json
from typing import Any, Final, cast
from uuid import UUID

from bulkhead_kit import structs
from bulkhead_kit.ids import parse_optional_id
from bulkhead_kit.moments import Y2K_UNIX
from google.protobuf import struct_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

MAX_METADATA: Final = 16_384
"""Bytes as JSON; the tables' checks say the same."""


def moment(us_since_2000: int) -> Timestamp:
    """As an argument of a message: its parts, which protobuf takes for the message at half the price."""
    seconds, micros = divmod(us_since_2000, 1_000_000)
    return cast("Timestamp", {"seconds": seconds + Y2K_UNIX, "nanos": micros * 1000})


def metadata(message: struct_pb2.Struct, field: str) -> dict[str, Any]:
    return structs.values_of(message, field, MAX_METADATA)


def metadata_bytes(metadata: dict[str, Any] | None) -> int:
    """At most, as a message."""
    return structs.MESSAGE_BYTES * len(json.dumps(metadata, ensure_ascii=False).encode()) if metadata else 0


def optional_id(message: Message, field: str, prefix: str) -> UUID | None:
    return parse_optional_id(getattr(message, field), f"{prefix}.{field}")
