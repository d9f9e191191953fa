"""Values that a column or a call takes and that somebody behind it may not."""

from __future__ import annotations

import json
import math
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from tests.system.fields import Place


def nested(levels: int, *, lists: bool = False) -> str:
    """JSON text of an object with so many containers in one another."""
    inner = levels - 1
    return '{"a":' + ("[" * inner + "1" + "]" * inner if lists else '{"a":' * inner + "1" + "}" * inner) + "}"


NESTED: Final = tuple(
    nested(levels, lists=lists) for levels in (2, 31, 32, 33, 64, 65, 500, 4000) for lists in (False, True)
)
_JSON: Final = (
    *NESTED,
    '{"a": ' + "9" * 400 + "}",
    '{"a": 1e400, "b": -1e-400, "c": 1e16000}',
    '{"a": 0.10000000000000000000000000000000000000000001, "b": -0.0}',
    json.dumps({"\u2028": "\u200b", "\ufffe": "\U0010ffff", "": "\x01", '"\\': "\ufdd0"}),
    json.dumps({str(one): one for one in range(2000)}),
    "{}",
)
TEXTS: Final = (
    *("\u200b", "\u2028", "\ufffe", "\ufdd0", "\U0010ffff", "\x01\x1f", '"\\', "\\u0000", "\\ud800", "e\u0301" * 40),
    *("x" * 100, "\U0001f600" * 500, "\x01" * 20_000, "\U0010ffff" * 100_000, "NaN", "null"),
)
OF_TYPE: Final[dict[str, tuple[str, ...]]] = {
    "text": TEXTS,
    "jsonb": _JSON,
    "integer": ("0", "-2147483648", "2147483647"),
    "smallint": ("0", "1", "2", "3", "4", "5", "-32768", "32767"),
    "bigint": ("0", "-9223372036854775808", "9223372036854775807"),
    "numeric(14,2)": ("0", "999999999999.99", "NaN", "Infinity"),
    "boolean": ("true", "false"),
    "date": ("infinity", "-infinity", "4713-01-01 BC", "5874897-12-31"),
    "timestamp with time zone": ("infinity", "-infinity", "4713-01-01 BC", "294276-12-31 23:59:59.999999+00", "now"),
    "inet": ("::ffff:1.2.3.4", "0.0.0.0/0"),
    "text[]": ("{}", '{"\\"","\ufffe"}'),
    "cidr[]": ("{}", "{0.0.0.0/0,::/0}"),
    "inet[]": ("{}", "{0.0.0.0/0,::/0}"),
    "uuid": ("00000000-0000-0000-0000-000000000000",),
}
"""As text, by the type of a column."""


def struct(text: str) -> Struct:
    return ParseDict(json.loads(text), Struct(), max_recursion_depth=10_000)


def _numbers() -> Struct:
    """16 bytes of JSON each, and 309 or 326 digits in the database."""
    return Struct(fields={str(n): Value(number_value=n * math.exp(-700) or 1e300) for n in range(100)})


STRUCTS: Final = (
    *(struct(nested(levels, lists=lists)) for levels in (2, 31, 32, 33) for lists in (False, True)),
    *(struct(nested(levels, lists=True)) for levels in (34, 45)),
    struct(json.dumps({"\u2028": "\u200b", "\ufffe": "\U0010ffff", "": "\x01", '"\\': "\ufdd0", "a": "\\u0000"})),
    struct(json.dumps({str(one): one for one in range(900)})),
    Struct(fields={"a": Value(number_value=1.7e308), "b": Value(number_value=5e-324), "c": Value(number_value=-0.0)}),
    _numbers(),
)
_TIMES: Final = tuple(Timestamp(seconds=seconds) for seconds in (-62_135_596_800, -1, 253_402_300_799))


def for_field(place: Place) -> tuple[Any, ...]:
    """What a client may send there that is odd and may well be taken."""
    if place.holds("google.protobuf.Struct"):
        return STRUCTS
    if place.holds("google.protobuf.Timestamp"):
        return _TIMES
    if place.is_text:
        return TEXTS
    if place.field.type == FieldDescriptor.TYPE_INT32:
        return (0, 1, 2**31 - 1, -(2**31))
    return ()
