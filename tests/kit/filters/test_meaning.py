"""Filters mean to PostgreSQL what they mean to a plain reading in Python, NULLs and precedence included."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from bulkhead_kit.filters import BOOLEAN, ID, INTEGER, TEXT, TIMESTAMP, FilterField, FilterSchema, Test, enum
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Boolean, Column, DateTime, MetaData, SmallInteger, Table, Text, Uuid, exists, select
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.elements import BindParameter, ColumnElement

from tests.support.postgres import Databases

IDS = [f"0190163d-8694-739b-aea5-966c26f8ad9{number}" for number in range(4)]
TITLES = ["", "a", "ab", "aB", "ab%", 'a"b', "a*", "ż🧱"]
TIMES = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)]

_dialect: Dialect = PGDialect_psycopg()  # type: ignore[no-untyped-call]  # untyped upstream
things = Table(
    "things",
    MetaData(),
    Column("id", SmallInteger, nullable=False),
    Column("title", Text, nullable=False),
    Column("note", Text, nullable=True),
    Column("size", SmallInteger, nullable=False),
    Column("owner", Uuid, nullable=True),
    Column("due", DateTime(timezone=True), nullable=True),
    Column("done", Boolean, nullable=True),
)
tags = Table("tags", things.metadata, Column("thing_id", SmallInteger), Column("tag", Text))


@dataclass(frozen=True)
class Thing:
    id: int
    title: str
    note: str | None
    size: int
    owner: str | None
    due: datetime | None
    done: bool | None
    tags: tuple[str, ...]


def pick(values: list[Any], number: int) -> Any:
    return values[number % len(values)]


THINGS = [
    Thing(
        id=number,
        title=pick(TITLES, number),
        note=pick([None, *TITLES], number * 7),
        size=number % 4,
        owner=pick([None, *IDS], number * 3),
        due=pick([None, *TIMES], number * 5),
        done=pick([None, True, False], number),
        tags=pick([(), ("x",), ("x", "y")], number // 3),
    )
    for number in range(60)
]


def tagged(test: Test, bind: BindParameter[Any] | None) -> ColumnElement[bool]:
    found = select(1).where(tags.c.thing_id == things.c.id)
    return exists(found if bind is None else found.where(tags.c.tag == bind))


FILTERS = FilterSchema(
    {
        "title": FilterField(TEXT, things.c.title),
        "note": FilterField(TEXT, things.c.note),
        "size": FilterField(INTEGER, things.c.size),
        "grade": FilterField(enum({"NONE": 0, "LOW": 1, "HIGH": 3}, ordered=True), things.c.size),
        "owner": FilterField(ID, things.c.owner),
        "due": FilterField(TIMESTAMP, things.c.due),
        "done": FilterField(BOOLEAN, things.c.done),
        "late": FilterField(BOOLEAN, things.c.due.is_not(None), nullable=False),
        "tag": FilterField(TEXT, build=tagged),
        "term": FilterField(
            enum({"OPEN": "open", "SET": "set"}),
            cases={"open": things.c.due.is_(None), "set": things.c.due.is_not(None)},
        ),
    }
)


class Rows:
    """Things and tags as rows of a query: the role of a service may not make tables."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        rows = [(t.id, t.title, t.note, t.size, t.owner and UUID(t.owner), t.due, t.done) for t in THINGS]
        self._columns = [list(column) for column in zip(*rows, strict=True)]
        marks = [(t.id, tag) for t in THINGS for tag in t.tags]
        self._marks = [list(column) for column in zip(*marks, strict=True)]

    def ids(self, text: str) -> list[int]:
        asked = FILTERS.parse(text)
        statement = select(things.c.id).where(*asked.conditions()).order_by(things.c.id)
        compiled = statement.compile(dialect=_dialect)
        with_rows = (
            "with things(id, title, note, size, owner, due, done) as (select * from unnest(%(c0)s::int2[],"
            " %(c1)s::text[], %(c2)s::text[], %(c3)s::int2[], %(c4)s::uuid[], %(c5)s::timestamptz[], %(c6)s::bool[])),"
            " tags(thing_id, tag) as (select * from unnest(%(m0)s::int2[], %(m1)s::text[])) "
        )
        values = {f"c{number}": column for number, column in enumerate(self._columns)}
        values |= {f"m{number}": column for number, column in enumerate(self._marks)}
        found = self._connection.execute((with_rows + str(compiled)).encode(), values | asked.values)
        return [row[0] for row in found]


@pytest.fixture(scope="module")
def rows(databases: Databases) -> Iterator[Rows]:
    made = databases.empty()
    with psycopg.connect(made.dsn("bulkhead_issues_app")) as connection:
        yield Rows(connection)
    databases.drop(made)


Meaning = Callable[[Thing], bool]
Asked = tuple[str, Meaning]


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("*", "\\*") + '"'


COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a is not None and a == b,
    "!=": lambda a, b: a is None or a != b,
    "<": lambda a, b: a is not None and a < b,
    "<=": lambda a, b: a is not None and a <= b,
    ">": lambda a, b: a is not None and a > b,
    ">=": lambda a, b: a is not None and a >= b,
}


def compared(attribute: str, operator: str, written: str, value: object, name: str | None = None) -> Asked:
    return f"{name or attribute}{operator}{written}", lambda t: COMPARE[operator](getattr(t, attribute), value)


operators = st.sampled_from(list(COMPARE))
equality = st.sampled_from(["=", "!="])
texts = st.sampled_from(["title", "note"])


def beginning(name: str, start: str) -> Asked:
    return (
        f'{name}:{quoted(start)[:-1]}*"',
        lambda t: (getattr(t, name) or "").startswith(start) and getattr(t, name) is not None,
    )


def one_of(name: str, values: list[int]) -> Asked:
    return f"{name}=({' OR '.join(map(str, values))})", lambda t: getattr(t, name) in values


leaves: st.SearchStrategy[Asked] = st.one_of(
    st.builds(lambda name, op, v: compared(name, op, quoted(v), v), texts, equality, st.sampled_from(TITLES)),
    st.builds(beginning, texts, st.sampled_from([text for text in TITLES if text])),
    st.builds(lambda op, v: compared("size", op, str(v), v), operators, st.integers(-1, 4)),
    st.builds(one_of, st.just("size"), st.lists(st.integers(0, 4), min_size=1, max_size=3)),
    st.builds(
        lambda op, v: compared("size", op, v, {"NONE": 0, "LOW": 1, "HIGH": 3}[v], "grade"),
        operators,
        st.sampled_from(["NONE", "LOW", "HIGH"]),
    ),
    st.builds(lambda op, v: compared("owner", op, v, v), equality, st.sampled_from(IDS)),
    st.builds(lambda op, v: compared("due", op, v.isoformat(), v), operators, st.sampled_from(TIMES)),
    st.builds(lambda op, v: compared("done", op, str(v).lower(), v), equality, st.booleans()),
    st.builds(lambda v: (f"late={str(v).lower()}", lambda t: (t.due is not None) == v), st.booleans()),
    st.builds(
        lambda name: (f"{name}:*", lambda t: getattr(t, name) is not None), st.sampled_from(["note", "owner", "due"])
    ),
    st.builds(lambda v: (f'tag="{v}"', lambda t: v in t.tags), st.sampled_from("xyz")),
    st.builds(lambda v: (f'tag!="{v}"', lambda t: v not in t.tags), st.sampled_from("xyz")),
    st.just(("tag:*", lambda t: bool(t.tags))),
    st.builds(lambda op: (f"term{op}OPEN", lambda t: (t.due is None) == (op == "=")), equality),
    st.builds(lambda op: (f"term{op}SET", lambda t: (t.due is not None) == (op == "=")), equality),
    st.just(("term:*", lambda t: True)),
)


def negated(asked: Asked, sign: str) -> Asked:
    text, meaning = asked
    return f"{sign}({text})", lambda t: not meaning(t)


def negated_leaf(asked: Asked, sign: str) -> Asked:
    text, meaning = asked
    return f"{sign}{text}", lambda t: not meaning(t)


def all_of(terms: list[Asked], glue: str) -> Asked:
    return glue.join(text for text, _ in terms), lambda t: all(meaning(t) for _, meaning in terms)


def any_of(terms: list[Asked]) -> Asked:
    return " OR ".join(text for text, _ in terms), lambda t: any(meaning(t) for _, meaning in terms)


def bracketed(asked: Asked) -> Asked:
    return f"({asked[0]})", asked[1]


signs = st.sampled_from(["NOT ", "-"])
glues = st.sampled_from([" AND ", " ", "\n"])
single = leaves | st.builds(negated_leaf, leaves, signs)
# Terms joined by OR stand within AND without brackets, because OR binds tighter.
ored = st.builds(any_of, st.lists(single, min_size=1, max_size=3))
plain = st.builds(all_of, st.lists(ored, min_size=1, max_size=3), glues)
filters = st.recursive(
    plain,
    lambda inner: st.builds(
        all_of,
        st.lists(
            st.builds(
                any_of,
                st.lists(
                    single | st.builds(bracketed, inner) | st.builds(negated, inner, signs), min_size=1, max_size=3
                ),
            ),
            min_size=1,
            max_size=2,
        ),
        glues,
    ),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(asked=filters.filter(lambda asked: len(asked[0]) <= 1500))
def test_postgres_and_python_read_a_filter_alike(rows: Rows, asked: Asked) -> None:
    text, meaning = asked
    assert rows.ids(text) == [thing.id for thing in THINGS if meaning(thing)]


def test_an_empty_filter_lets_everything_through(rows: Rows) -> None:
    assert rows.ids("") == [thing.id for thing in THINGS]
