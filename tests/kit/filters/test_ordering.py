"""Orders, and that walking a list page by page shows every row once, whatever the order and the page size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter

import psycopg
import pytest
from bulkhead_kit.db.query import Query
from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.filters import End, Ends, OrderField, OrderSchema
from bulkhead_kit.page_tokens import KeyValue, PageTokens
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, MetaData, SmallInteger, Table, Text, literal, select
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import Dialect

from tests.support.postgres import Databases

LAST = 2**62
_dialect: Dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # untyped upstream
things = Table(
    "things",
    MetaData(),
    Column("id", SmallInteger, nullable=False),
    Column("title", Text, nullable=False),
    Column("size", SmallInteger, nullable=False),
    Column("due", BigInteger, nullable=True),
)
ORDERS = OrderSchema(
    {
        "title": OrderField(things.c.title, "title"),
        "size": OrderField(things.c.size, "size"),
        "due": OrderField(things.c.due, "due", Ends(End(literal(-LAST), -LAST), End(literal(LAST), LAST))),
        "id": OrderField(things.c.id, "id"),
    },
    default="size desc",
    unique="id",
)


@dataclass(frozen=True)
class Thing:
    id: int
    title: str
    size: int
    due: int | None


THINGS = [
    Thing(number, ["a", "b", "B", "ä", ""][number % 5], number % 3, [None, 5, 2**40][number % 4 % 3])
    for number in (7 * n % 31 for n in range(31))
]


def sql(text: str) -> str:
    order = ORDERS.parse(text)
    statement = Query(select(things.c.id).where(order.beyond()).order_by(*order.clauses())).sql.decode()
    return " ".join(statement.partition(" \nWHERE ")[2].replace("things.", "").split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "(size, id) < ($1::SMALLINT, $2::SMALLINT) ORDER BY size DESC, id DESC"),
        ("  ", "(size, id) < ($1::SMALLINT, $2::SMALLINT) ORDER BY size DESC, id DESC"),
        ("size", "(size, id) > ($1::SMALLINT, $2::SMALLINT) ORDER BY size ASC, id ASC"),
        (" size  asc ", "(size, id) > ($1::SMALLINT, $2::SMALLINT) ORDER BY size ASC, id ASC"),
        ("id desc", "(id) < ($1::SMALLINT) ORDER BY id DESC"),
        ("id,size", "(id, size) > ($1::SMALLINT, $2::SMALLINT) ORDER BY id ASC, size ASC"),
        (
            "size desc, title",
            "size < $1::SMALLINT OR size = $1::SMALLINT AND (title > $2::VARCHAR OR title = $2::VARCHAR"
            " AND id > $3::SMALLINT) ORDER BY size DESC, title ASC, id ASC",
        ),
    ],
)
def test_an_order_ends_with_the_unique_field_and_one_direction_is_one_range(text: str, expected: str) -> None:
    assert sql(text) == expected


def test_one_shape_for_what_is_written_differently() -> None:
    assert ORDERS.parse("size desc").shape == ORDERS.parse(" size   desc,id desc").shape == ORDERS.parse("").shape
    assert len({ORDERS.parse(text).shape for text in ("", "size", "id", "size, id desc", "id, size")}) == 5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("colour", "'colour' is not a field to order by; there are due, id, size, title"),
        ("size down", "'size down' is not a field"),
        ("size desc desc", "is not a field"),
        ("size DESC", "is not a field"),
        ("desc", "'desc' is not a field"),
        ("size,", "'' is not a field"),
        (",", "'' is not a field"),
        ("size, size desc", "names size twice"),
        ("size; drop table things", "is not a field"),
        ("things.size", "is not a field"),
        ("size nulls first", "is not a field"),
        ("-size", "is not a field"),
        ("x" * 201, "longer than 200 characters"),
    ],
)
def test_a_wrong_order_is_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        ORDERS.parse(text)
    assert says in caught.value.message
    assert caught.value.violations[0].field == "order_by"


def test_a_column_that_can_be_null_has_ends_and_no_other() -> None:
    with pytest.raises(ValueError, match="due needs ends"):
        OrderField(things.c.due, "due")
    with pytest.raises(ValueError, match="size needs ends when it can be NULL, and only then"):
        OrderField(things.c.size, "size", Ends(End(literal(0), 0), End(literal(9), 9)))


class Rows:
    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def page(self, order: str, size: int, after: tuple[KeyValue, ...] | None) -> list[Thing]:
        asked = ORDERS.parse(order)
        statement = select(things).order_by(*asked.clauses()).limit(size)
        statement = statement if after is None else statement.where(asked.beyond())
        compiled = statement.compile(dialect=_dialect)
        values = dict(compiled.params) | ({} if after is None else asked.values(after))
        rows = "with things(id, title, size, due) as (select * from unnest(%(a)s::int2[], %(b)s::text[], %(c)s::int2[],"
        rows += " %(d)s::int8[])) "
        for name, attribute in zip("abcd", ("id", "title", "size", "due"), strict=True):
            values[name] = [getattr(thing, attribute) for thing in THINGS]
        return [Thing(*row) for row in self._connection.execute((rows + str(compiled)).encode(), values)]


@pytest.fixture(scope="module")
def rows(databases: Databases) -> Iterator[Rows]:
    made = databases.empty()
    with psycopg.connect(made.dsn("bulkhead_issues_app")) as connection:
        yield Rows(connection)
    databases.drop(made)


def _due(descending: bool) -> Callable[[Thing], int]:
    """Those without one come last, whichever way the others go."""
    return lambda thing: thing.due if thing.due is not None else -LAST if descending else LAST


def in_python(order: list[tuple[str, bool]]) -> list[int]:
    found = sorted(THINGS, key=attrgetter("id"), reverse=order[-1][1])
    for name, descending in reversed(order):
        found.sort(key=attrgetter(name) if name != "due" else _due(descending), reverse=descending)
    return [thing.id for thing in found]


fields = st.lists(
    st.tuples(st.sampled_from(["title", "size", "due", "id"]), st.booleans()),
    min_size=1,
    max_size=4,
    unique_by=lambda term: term[0],
)


@settings(max_examples=60, deadline=None)
@given(order=fields, size=st.integers(1, 40))
def test_pages_show_every_row_once_in_order(rows: Rows, order: list[tuple[str, bool]], size: int) -> None:
    text = ", ".join(f"{name} desc" if descending else name for name, descending in order)
    tokens = PageTokens(b"k" * 32)
    seen: list[int] = []
    token = ""
    while True:
        page = tokens.page(rpc="a/b", tenant=None, page_size=size, page_token=token, query=[text])
        found = rows.page(text, page.size + 1, page.after)
        seen += [thing.id for thing in found[: page.size]]
        if len(found) <= page.size:
            break
        token = page.next_token(ORDERS.parse(text).keys(found[page.size - 1]))
    assert seen == in_python(order)
