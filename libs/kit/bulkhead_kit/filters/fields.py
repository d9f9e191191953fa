"""What a list can be filtered by: each field has a kind, which reads its values and says what may be asked.

Only operators that keep their index under row-level security are offered (= < > on text, integers, uuid and
timestamptz, and ^@ for prefixes): LIKE, lower() or an enum's = would read every row of the tenant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Text, Uuid
from sqlalchemy.sql.elements import BindParameter, ColumnElement
from sqlalchemy.types import TypeEngine

from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.filters.errors import refusal, shown
from bulkhead_kit.filters.lexer import Value
from bulkhead_kit.ids import parse_id

Test = Literal["=", "<", "<=", ">", ">=", "prefix", "present", "in", "true", "false"]
"""What a term asks of a field once != and NOT are taken out of it."""

Build = Callable[[Test, BindParameter[Any] | None], ColumnElement[bool]]
"""For a field that is no column: an EXISTS or IN on another table of the tenant. It must never be NULL. It is asked
for "present" and "true" without a bind, for the rest with one, and never for "in" or "false"."""

EQUALITY = frozenset(("=", "!=", ":"))
ORDER = EQUALITY | {"<", "<=", ">", ">="}

_integer = re.compile(r"-?[0-9]{1,19}", re.ASCII).fullmatch
_time = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2}))?", re.ASCII
).fullmatch


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    parse: Callable[[Value], object]
    sql_type: TypeEngine[Any]
    operators: frozenset[str]


@dataclass(frozen=True, slots=True)
class FilterField:
    """A column, or `build` for what is none. `words` are values that stand for something of the call, such as "me".

    `cases`: of an enum that is no column as it is asked, what is true where it has each value, and never NULL. They are
    part of the shape, not binds: a partial index is chosen by the statement's text.
    """

    kind: Kind
    column: ColumnElement[Any] | None = None
    build: Build | None = None
    cases: Mapping[str, ColumnElement[bool]] | None = None
    nullable: bool = True
    words: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if sum(one is not None for one in (self.column, self.build, self.cases)) != 1:
            raise ValueError("a filter field has a column, a builder or cases")
        if isinstance(self.column, Column):
            object.__setattr__(self, "nullable", bool(self.column.nullable))


def _text(value: Value) -> str:
    return value.text


def _int(value: Value) -> int:
    if _integer(value.text) is None or not -(2**63) <= int(value.text) < 2**63:
        raise refusal(value.position, f"{shown(value.text)} is not a whole number")
    return int(value.text)


def _uuid(value: Value) -> UUID:
    try:
        return parse_id(value.text, "filter")
    except InvalidArgument:
        raise refusal(value.position, f"{shown(value.text)} is not a UUID") from None


def _timestamp(value: Value) -> datetime:
    """RFC 3339; a date alone is its first moment in UTC."""
    text = value.text
    try:
        if _time(text) is None:
            raise ValueError
        # Python 3.11 reads six digits of a fraction at most; PostgreSQL keeps as many.
        parsed = datetime.fromisoformat(re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", text.upper()))
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        raise refusal(value.position, f"{shown(text)} is not a time such as 2026-01-31T12:00:00Z") from None


def _bool(value: Value) -> bool:
    if value.text not in ("true", "false"):
        raise refusal(value.position, f"{shown(value.text)} is neither true nor false")
    return value.text == "true"


TEXT = Kind("text", _text, Text(), EQUALITY)
INTEGER = Kind("integer", _int, BigInteger(), ORDER)
ID = Kind("id", _uuid, Uuid(), EQUALITY)
TIMESTAMP = Kind("timestamp", _timestamp, DateTime(timezone=True), ORDER - {":"})
BOOLEAN = Kind("boolean", _bool, Boolean(), EQUALITY)


def enum(values: Mapping[str, int] | Mapping[str, str], *, ordered: bool = False) -> Kind:
    """Names as the contract has them, and what the column holds for each."""
    known: dict[str, int | str] = dict(values)

    def parse(value: Value) -> int | str:
        if value.text not in known:
            raise refusal(value.position, f"{shown(value.text)} is none of {', '.join(known)}")
        return known[value.text]

    numbers = all(isinstance(one, int) for one in known.values())
    return Kind("enum", parse, BigInteger() if numbers else Text(), ORDER if ordered else EQUALITY)


def keyword(normalise: Callable[[str], str]) -> Kind:
    """A text compared as a whole with a column that holds its normal form, such as a name_key."""
    return Kind("keyword", lambda value: normalise(value.text), Text(), EQUALITY)
