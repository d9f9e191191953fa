"""The order of a list (AIP-132) and the place where its next page begins.

Every order ends with a unique field, so that no row is skipped or shown twice when values are equal. Rows without a
value come last in both directions: NULL is read as the end of its type that the order runs towards, so that one
comparison of rows still says where the next page begins.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, UnaryExpression, and_, bindparam, func, or_, tuple_
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.elements import BindParameter, ColumnElement

from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.page_tokens import KeyValue

_MAX_LENGTH = 200


@dataclass(frozen=True, slots=True)
class End:
    """The least or greatest value of a type, which no row has: in SQL, and in a page token."""

    sql: ColumnElement[Any]
    key: KeyValue


@dataclass(frozen=True, slots=True)
class Ends:
    least: End
    greatest: End


@dataclass(frozen=True, slots=True)
class OrderField:
    column: ColumnElement[Any]
    attribute: str
    """The attribute of a listed row that holds the value: a text, a number, an id as text, a time as an integer."""
    ends: Ends | None = None
    """Of a column that can be NULL."""

    def __post_init__(self) -> None:
        if isinstance(self.column, Column) and self.column.nullable != (self.ends is not None):
            raise ValueError(f"{self.column.name} needs ends when it can be NULL, and only then")


@dataclass(frozen=True, slots=True)
class _Term:
    name: str
    field: OrderField
    descending: bool

    @property
    def _end(self) -> End | None:
        ends = self.field.ends
        return None if ends is None else ends.least if self.descending else ends.greatest

    @property
    def column(self) -> ColumnElement[Any]:
        column, end = self.field.column, self._end
        return column if end is None else func.coalesce(column, end.sql, type_=column.type)

    def of(self, column: ColumnElement[Any]) -> UnaryExpression[Any]:
        if not self.descending:
            return column.asc()
        # Said of a column without NULLs, it would only keep an index from giving the order.
        return column.desc() if self.field.ends is None else column.desc().nulls_last()

    def key(self, row: object) -> KeyValue:
        value: KeyValue = getattr(row, self.field.attribute)
        return self._end.key if value is None and self._end is not None else value


@dataclass(frozen=True, slots=True)
class Order:
    shape: Hashable
    _terms: tuple[_Term, ...]

    def clauses(self) -> list[UnaryExpression[Any]]:
        return [term.column.desc() if term.descending else term.column.asc() for term in self._terms]

    def of(self, columns: ReadOnlyColumnCollection[str, Any]) -> list[UnaryExpression[Any]]:
        """The same order for rows that were selected already, by their attributes."""
        return [term.of(columns[term.field.attribute]) for term in self._terms]

    def beyond(self) -> ColumnElement[bool]:
        """The rows behind the one whose keys are bound by `values`. Only one index range when all go one way."""
        if len({term.descending for term in self._terms}) == 1:
            columns = tuple_(*(term.column for term in self._terms))
            binds = tuple_(*self._binds())
            return columns < binds if self._terms[0].descending else columns > binds
        return _beyond(list(zip(self._terms, self._binds(), strict=True)))

    def _binds(self) -> Iterator[BindParameter[Any]]:
        for number, term in enumerate(self._terms):
            yield bindparam(f"k{number}", type_=term.field.column.type)

    def values(self, keys: Sequence[KeyValue]) -> dict[str, KeyValue]:
        """The binds of `beyond`, from a page token's values."""
        return {f"k{number}": key for number, key in enumerate(keys)}

    def keys(self, row: object) -> list[KeyValue]:
        """What a page token has to hold to go on behind this row."""
        return [term.key(row) for term in self._terms]


class OrderSchema:
    """The fields a list can be ordered by. `unique` ends every order, in the direction of the field before it."""

    def __init__(self, fields: Mapping[str, OrderField], *, default: str, unique: str) -> None:
        self._fields = dict(fields)
        self._unique = unique
        self._read = lru_cache(maxsize=256)(self._read_anew)
        self._default = self._read_anew(default)

    def parse(self, text: str) -> Order:
        return self._read(text) if text.strip() else self._default

    def _read_anew(self, text: str) -> Order:
        if len(text) > _MAX_LENGTH:
            raise _refusal(f"is longer than {_MAX_LENGTH} characters")
        terms: list[_Term] = []
        for part in text.split(","):
            term = self._term(part)
            if any(term.name == other.name for other in terms):
                raise _refusal(f"names {term.name} twice")
            terms.append(term)
        if all(term.name != self._unique for term in terms):
            terms.append(_Term(self._unique, self._fields[self._unique], terms[-1].descending))
        return Order(tuple((term.name, term.descending) for term in terms), tuple(terms))

    def _term(self, part: str) -> _Term:
        words = part.split()
        if not words or len(words) > 2 or (len(words) == 2 and words[1] not in ("asc", "desc")):
            raise _refusal(f"{part.strip()[:40]!r} is not a field, with or without desc behind it")
        if words[0] not in self._fields:
            raise _refusal(f"{words[0][:40]!r} is not a field to order by; there are {', '.join(sorted(self._fields))}")
        return _Term(words[0], self._fields[words[0]], words[-1] == "desc" and len(words) == 2)


def _beyond(terms: list[tuple[_Term, BindParameter[Any]]]) -> ColumnElement[bool]:
    (term, bind), *rest = terms
    column = term.column
    further = column < bind if term.descending else column > bind
    return or_(further, and_(column == bind, _beyond(rest))) if rest else further


def _refusal(text: str) -> InvalidArgument:
    return InvalidArgument.field("order_by", text)
