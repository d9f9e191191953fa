"""Reads a live database into the model."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, LiteralString, TypeVar

from psycopg import Connection
from psycopg.rows import dict_row

from bulkhead_cli.errors import MendableError
from bulkhead_cli.schema import queries
from bulkhead_cli.schema.model import (
    SCHEMAS,
    Catalogue,
    Column,
    Constraint,
    Function,
    Grant,
    Index,
    Policy,
    Role,
    Schema,
    Table,
    Trigger,
    View,
)

PARTS: tuple[tuple[str, LiteralString, type[Any]], ...] = (
    ("columns", queries.COLUMNS, Column),
    ("constraints", queries.CONSTRAINTS, Constraint),
    ("indexes", queries.INDEXES, Index),
    ("policies", queries.POLICIES, Policy),
    ("grants", queries.GRANTS, Grant),
    ("triggers", queries.TRIGGERS, Trigger),
)
Row = dict[str, Any]
T = TypeVar("T")


def read(connection: Connection[Any]) -> Catalogue:
    connection.execute("set transaction read only")
    # Definitions print what is on the path without its schema.
    connection.execute("set local search_path = pg_catalog")
    unknown = [row["what"] for row in _rows(connection, queries.UNKNOWN)]
    if unknown:
        raise MendableError(
            f"The documents cannot tell of {', '.join(unknown)}.", "teach bulkhead_cli.schema about this kind of thing."
        )
    tables = list(_tables(connection))
    functions = [_make(Function, row) for row in _rows(connection, queries.FUNCTIONS)]
    views = [_make(View, row) for row in _rows(connection, queries.VIEWS)]
    rights: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for row in _rows(connection, queries.SCHEMA_RIGHTS):
        rights[row["schema"]][row["role"]] = tuple(row["privileges"])
    schemas = tuple(
        Schema(
            row["name"],
            row["owner"],
            rights[row["name"]],
            tuple(table for table in tables if table.schema == row["name"]),
            tuple(function for function in functions if function.schema == row["name"]),
            tuple(view for view in views if view.schema == row["name"]),
        )
        for row in _rows(connection, queries.SCHEMAS)
    )
    missing = sorted(set(SCHEMAS) - {schema.name for schema in schemas})
    if missing:
        raise MendableError(f"The database has no schema {', '.join(missing)}.", "run `bulkhead migrate` on it first.")
    return Catalogue(schemas, tuple(_make(Role, row) for row in _rows(connection, queries.ROLES)))


def _tables(connection: Connection[Any]) -> Iterator[Table]:
    parts: dict[tuple[str, str], dict[str, list[Any]]] = defaultdict(lambda: {name: [] for name, _, _ in PARTS})
    for name, query, kind in PARTS:
        for row in _rows(connection, query):
            parts[row["schema"], row["relation"]][name].append(_make(kind, row))
    for row in _rows(connection, queries.TABLES):
        of_table = parts[row["schema"], row["name"]]
        yield _make(Table, {**row, **of_table})


def _rows(connection: Connection[Any], query: LiteralString) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, {"schemas": list(SCHEMAS)}).fetchall()


def _make(kind: type[T], row: Row) -> T:
    """Lists become tuples, so that what was read cannot change."""
    wanted = {field.name for field in fields(kind)}  # type: ignore[arg-type]  # every kind here is a dataclass
    return kind(**{name: _frozen(value) for name, value in row.items() if name in wanted})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
