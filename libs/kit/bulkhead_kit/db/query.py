"""Statements, compiled once: SQLAlchemy builds them at import, psycopg only ever sees text and bytes."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from psycopg import abc, pq
from psycopg.adapt import Transformer
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import Executable
from sqlalchemy.sql.compiler import SQLCompiler

from bulkhead_kit.db.types import Encoder, adapters, encoder_for
from bulkhead_kit.errors import DomainError

R = TypeVar("R")
Refusals = Mapping[str, Callable[[], DomainError]]

# Only its compiler is used: of SQLAlchemy's PostgreSQL dialects it writes $1 and casts every typed bind.
_dialect: Dialect = PGDialect_asyncpg(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # untyped upstream


class Query(Generic[R]):
    """A statement with its binds, its row and what its constraints mean to a caller.

    `row` is a NamedTuple class with the fields in the order of the selected columns; without one, rows are tuples.
    `refuse` maps the names of constraints to the errors their violation stands for. Raises TypeError at once
    when the selected columns and the row's fields differ.
    """

    __slots__ = ("_binds", "_constants", "_kinds", "_loader", "_make", "name", "refuse", "sql", "uses_left")

    def __init__(self, statement: Executable, row: type[R] | None = None, *, refuse: Refusals | None = None) -> None:
        compiled = statement.compile(dialect=_dialect)  # type: ignore[attr-defined]  # every Executable that is built here compiles
        assert isinstance(compiled, SQLCompiler)
        self.sql = compiled.string.encode()
        # Of its text: whatever lends us another's connection, a name never runs another statement.
        self.name = b"q" + hashlib.blake2b(self.sql, digest_size=12).hexdigest().encode()
        self._binds: tuple[tuple[str, Encoder], ...] = tuple(
            (name, encoder_for(compiled.binds[name].type)) for name in compiled.positiontup or ()
        )
        self._constants = {
            name: bind.effective_value
            for name, bind in compiled.binds.items()
            if not bind.required and name in (compiled.positiontup or ())
        }
        self._make = cast("Callable[[Any], R]", cast("Any", row)._make if row is not None else tuple)
        self._loader: abc.Transformer | None = None
        self._kinds: tuple[int, ...] = ()
        self.refuse = dict(refuse or {})
        self.uses_left = 0
        """How often it runs before connections prepare it."""
        if row is not None:
            selected = tuple(column.name for column in _result_columns(statement))
            if selected != cast("Any", row)._fields:
                raise TypeError(f"{row} does not have the fields that the statement returns: {selected}")

    def bind(self, **values: Any) -> Bound[R]:
        return Bound(self, values)

    def encode(self, values: Mapping[str, Any]) -> tuple[list[bytes | None], list[int]]:
        """The parameters in the order of the statement. Raises KeyError naming a bind without a value."""
        parameters: list[bytes | None] = []
        formats: list[int] = []
        for name, encode in self._binds:
            value = values[name] if name in values else self._constants[name]
            if value is None:
                parameters.append(None)
                formats.append(0)
            else:
                parameter, form = encode(value)
                parameters.append(parameter)
                formats.append(form)
        return parameters, formats

    def decode(self, result: pq.abc.PGresult) -> list[R]:
        rows = result.ntuples
        if rows == 0:
            return []
        kinds = tuple(map(result.ftype, range(result.nfields)))
        if self._loader is None or kinds != self._kinds:
            # Looked up once, not once an answer; a migration can give a column another type while we run.
            self._kinds = kinds
            self._loader = Transformer(adapters)
            self._loader.set_pgresult(result, set_loaders=True, format=pq.Format.BINARY)
        else:
            self._loader.set_pgresult(result, set_loaders=False)
        return self._loader.load_rows(0, rows, self._make)


def _result_columns(statement: Executable) -> Any:
    return getattr(statement, "exported_columns", ())


@dataclass(frozen=True, slots=True)
class Bound(Generic[R]):
    """A query with its values, for calls that send several at once."""

    query: Query[R]
    values: Mapping[str, Any]


UNPREPARED_USES = 4


class QueryCache:
    """Statements whose text depends on the call, compiled once a shape; the least used ones are dropped."""

    def __init__(self, size: int = 256) -> None:
        self._size = size
        self._queries: OrderedDict[Hashable, Query[Any]] = OrderedDict()

    def get(self, shape: Hashable, build: Callable[[], Query[R]]) -> Query[R]:
        """`shape` must name everything the statement's text depends on, and no value."""
        found = self._queries.get(shape)
        if found is None:
            found = self._queries[shape] = build()
            # Callers make the shapes: one that does not come again must not stay prepared on every connection.
            found.uses_left = UNPREPARED_USES
            if len(self._queries) > self._size:
                self._queries.popitem(last=False)
        else:
            self._queries.move_to_end(shape)
        return found
