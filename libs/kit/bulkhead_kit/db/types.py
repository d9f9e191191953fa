"""Column types that say how a value crosses the wire, and how each kind of bind value is encoded.

Ids travel as text and times as integers because that is what the messages need: building UUID and datetime
objects was four fifths of the cost of a listed row.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
from psycopg.adapt import AdaptersMap
from psycopg.types.numeric import Int8BinaryLoader
from sqlalchemy import Text, cast, types
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.elements import ColumnElement

from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.moments import us_since_2000

TEXT_FORMAT, BINARY_FORMAT = 0, 1
_int2 = struct.Struct("!h")
_int4 = struct.Struct("!i")
_int8 = struct.Struct("!q")
_array_header = struct.Struct("!iiI")
_array_dimension = struct.Struct("!ii")
_NULL = struct.pack("!i", -1)

Encoder = Callable[[Any], tuple[bytes, int]]


class Id(types.TypeDecorator[str]):
    """uuid. Selected in canonical text form; binds a UUID or such a text."""

    impl = types.Uuid
    cache_ok = True

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        # Only what is selected is text: ordering and comparing stay on the uuid, so that indexes serve them.
        return cast(column, Text)


class Time(types.TypeDecorator[int]):
    """timestamptz. Selected as microseconds since 2000-01-01 UTC, as the server sends it; binds that or a datetime."""

    impl = types.DateTime(timezone=True)
    cache_ok = True


def _id(value: UUID | str) -> tuple[bytes, int]:
    if isinstance(value, str):
        return _untyped_text(value)
    return value.bytes, BINARY_FORMAT


def _time(value: datetime | int) -> tuple[bytes, int]:
    return _int8.pack(value if isinstance(value, int) else us_since_2000(value)), BINARY_FORMAT


def _text(value: str) -> tuple[bytes, int]:
    # Binary, because libpq ends a text parameter at a NUL and would store the rest of the text silently cut off.
    return value.encode(), BINARY_FORMAT


def _untyped_text(value: str) -> tuple[bytes, int]:
    if "\0" in value:
        raise InvalidArgument.field("text", "must not contain a NUL character")
    return value.encode(), TEXT_FORMAT


def _number(value: int | Decimal) -> tuple[bytes, int]:
    return str(value).encode(), TEXT_FORMAT


def _boolean(value: bool) -> tuple[bytes, int]:
    return (b"t" if value else b"f"), TEXT_FORMAT


def _bytes(value: bytes) -> tuple[bytes, int]:
    return value, BINARY_FORMAT


def _date(value: date) -> tuple[bytes, int]:
    return value.isoformat().encode(), TEXT_FORMAT


def _json(value: object) -> tuple[bytes, int]:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), TEXT_FORMAT


def _by_value(value: object) -> tuple[bytes, int]:
    """For binds that carry no type; the server infers it from the place."""
    for kinds, encode in _BY_PYTHON_TYPE:
        if isinstance(value, kinds):
            return encode(value)
    raise TypeError(f"no encoding for a bind of {type(value).__name__}")


_BY_PYTHON_TYPE: tuple[tuple[type | tuple[type, ...], Encoder], ...] = (
    (bool, _boolean),
    ((int, Decimal), _number),
    (str, _untyped_text),
    (UUID, _id),
    (bytes, _bytes),
    (datetime, _time),
    (date, _date),
    (dict, _json),
)

_BY_SQL_TYPE: tuple[tuple[type[types.TypeEngine[Any]], Encoder], ...] = (
    (Id, _id),
    (Time, _time),
    (types.Uuid, _id),
    (types.DateTime, _time),
    (types.Date, _date),
    (types.Boolean, _boolean),
    (types.Integer, _number),
    (types.Numeric, _number),
    (types.String, _text),
    (types.LargeBinary, _bytes),
    (JSONB, _json),
)

# Elements of arrays: type oid, and the binary form of one element. Binary is four times faster than text in bulk.
_ARRAY_ELEMENTS: tuple[tuple[type[types.TypeEngine[Any]], int, Callable[[Any], bytes]], ...] = (
    (Id, 2950, lambda v: v.bytes if isinstance(v, UUID) else UUID(v).bytes),
    (types.Uuid, 2950, lambda v: v.bytes if isinstance(v, UUID) else UUID(v).bytes),
    (Time, 1184, lambda v: _time(v)[0]),
    (types.DateTime, 1184, lambda v: _time(v)[0]),
    (types.Boolean, 16, lambda v: b"\x01" if v else b"\x00"),
    (types.BigInteger, 20, _int8.pack),
    (types.SmallInteger, 21, _int2.pack),
    (types.Integer, 23, _int4.pack),
    (types.String, 25, str.encode),
    (types.LargeBinary, 17, bytes),
    # The leading byte is the version of jsonb's binary form.
    (JSONB, 3802, lambda v: b"\x01" + _json(v)[0]),
)


def encoder_for(kind: types.TypeEngine[Any]) -> Encoder:
    """How a bind of this SQL type is sent; None always becomes null."""
    if isinstance(kind, types.ARRAY):
        return _array_encoder(kind.item_type)
    for sql_type, encode in _BY_SQL_TYPE:
        if isinstance(kind, sql_type):
            return encode
    return _by_value


def _array_encoder(item: types.TypeEngine[Any]) -> Encoder:
    for sql_type, oid, encode in _ARRAY_ELEMENTS:
        if isinstance(item, sql_type):
            return lambda values: (_array(oid, encode, values), BINARY_FORMAT)
    raise TypeError(f"no binary form for arrays of {item!r}")


def _array(oid: int, encode: Callable[[Any], bytes], values: Sequence[Any]) -> bytes:
    """A one-dimensional array as array_recv() reads it."""
    if not values:
        return _array_header.pack(0, 0, oid)
    parts = [_array_header.pack(1, 1, oid), _array_dimension.pack(len(values), 1)]
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            item = encode(value)
            parts += (_int4.pack(len(item)), item)
    return b"".join(parts)


adapters = AdaptersMap(psycopg.adapters)
"""How results are read: timestamptz as the integer it is on the wire."""
adapters.register_loader("timestamptz", Int8BinaryLoader)
