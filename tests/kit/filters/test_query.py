from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from bulkhead_kit.db.query import Query
from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.filters import BOOLEAN, ID, INTEGER, TEXT, TIMESTAMP, FilterField, FilterSchema, Test, enum, keyword
from bulkhead_kit.filters.query import Filter
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, DateTime, MetaData, SmallInteger, Table, Text, Uuid, exists, select
from sqlalchemy.sql.elements import BindParameter, ColumnElement

ANN = "0190163d-8694-739b-aea5-966c26f8ad91"
BOB = "0190163d-8694-739b-aea5-966c26f8ad92"
things = Table(
    "things",
    MetaData(),
    Column("id", Uuid, nullable=False),
    Column("title", Text, nullable=False),
    Column("note", Text, nullable=True),
    Column("size", SmallInteger, nullable=False),
    Column("owner_id", Uuid, nullable=True),
    Column("due_at", DateTime(timezone=True), nullable=True),
    Column("archived_at", DateTime(timezone=True), nullable=True),
)
tags = Table("tags", things.metadata, Column("thing_id", Uuid), Column("name_key", Text))


def tagged(test: Test, bind: BindParameter[Any] | None) -> ColumnElement[bool]:
    found = select(1).where(tags.c.thing_id == things.c.id)
    return exists(found if bind is None else found.where(tags.c.name_key == bind))


FILTERS = FilterSchema(
    {
        "title": FilterField(TEXT, things.c.title),
        "note": FilterField(TEXT, things.c.note),
        "size": FilterField(INTEGER, things.c.size),
        "grade": FilterField(enum({"LOW": 1, "HIGH": 3}, ordered=True), things.c.size),
        "shade": FilterField(enum({"LIGHT": "l"}), things.c.title),
        "owner": FilterField(ID, things.c.owner_id, words=frozenset({"me"})),
        "due_time": FilterField(TIMESTAMP, things.c.due_at),
        "archived": FilterField(BOOLEAN, things.c.archived_at.is_not(None), nullable=False),
        "tag": FilterField(keyword(str.casefold), build=tagged),
        "age": FilterField(
            enum({"NEW": "n", "OLD": "o"}), cases={"n": things.c.due_at.is_(None), "o": things.c.due_at.is_not(None)}
        ),
    }
)


def sql(asked: Filter) -> str:
    text = Query(select(things.c.id).where(*asked.conditions())).sql.decode()
    return " ".join(text.partition(" \nWHERE ")[2].replace("things.", "").split())


@pytest.mark.parametrize(
    ("text", "condition", "values"),
    [
        ("", "", []),
        ("  ", "", []),
        ("title=x", "title = $1::VARCHAR", ["x"]),
        ("title!=x", "title != $1::VARCHAR", ["x"]),
        ("NOT title=x", "title != $1::VARCHAR", ["x"]),
        ("NOT title!=x", "title = $1::VARCHAR", ["x"]),
        ('title:"50% off*"', "title ^@ $1::VARCHAR", ["50% off"]),
        ('-title:"x*"', "NOT (title ^@ $1::VARCHAR)", ["x"]),
        # Of a column that may be NULL, everything else includes NULL.
        ("note!=x", "note IS DISTINCT FROM $1::VARCHAR", ["x"]),
        ("-note=(x OR y)", "note IS NULL OR note != ALL ($1::TEXT[])", [["x", "y"]]),
        ('-note:"x*"', "note IS NULL OR NOT (note ^@ $1::VARCHAR)", ["x"]),
        ("NOT due_time<2026-01-01", "due_at IS NULL OR due_at >= $1::TIMESTAMP WITH TIME ZONE", ...),
        ("note:*", "note IS NOT NULL", []),
        ("-note:*", "note IS NULL", []),
        ("size>=2 size<9", "size < $1::BIGINT AND size >= $2::BIGINT", [9, 2]),
        ("NOT size>2", "size <= $1::BIGINT", [2]),
        ("grade>=LOW", "size >= $1::BIGINT", [1]),
        ("shade=LIGHT", "title = $1::VARCHAR", ["l"]),
        ("archived=true", "archived_at IS NOT NULL", []),
        ("archived=false", "archived_at IS NULL", []),
        ("archived!=true", "archived_at IS NULL", []),
        ("-archived=false", "archived_at IS NOT NULL", []),
        (f"owner={ANN}", "owner_id = $1::UUID", [UUID(ANN)]),
        (f"owner:{ANN}", "owner_id = $1::UUID", [UUID(ANN)]),
        ("owner=me", "owner_id = $1::UUID", ["I"]),
        (f"owner=(me OR {BOB})", "owner_id = ANY ($1::UUID[])", [["I", UUID(BOB)]]),
        ("size=1 OR size=2 OR size=1", "size = ANY ($1::BIGINT[])", [[1, 2]]),
        ("size=1 OR size=1", "size = $1::BIGINT", [1]),
        ("size!=1 size!=2", "size != ALL ($1::BIGINT[])", [[1, 2]]),
        ("size=1 size=2", "size = $1::BIGINT AND size = $2::BIGINT", [1, 2]),
        ("(size=1 OR size=2) OR (size=3 OR size=4)", "size = ANY ($1::BIGINT[])", [[1, 2, 3, 4]]),
        (
            "tag:Urgent",
            "EXISTS (SELECT 1 FROM tags WHERE tags.thing_id = id AND tags.name_key = $1::VARCHAR)",
            ["urgent"],
        ),
        (
            "tag!=urgent",
            "NOT (EXISTS (SELECT 1 FROM tags WHERE tags.thing_id = id AND tags.name_key = $1::VARCHAR))",
            ["urgent"],
        ),
        ("tag:*", "EXISTS (SELECT 1 FROM tags WHERE tags.thing_id = id)", []),
        (
            "NOT (title=x AND (size=1 OR note=y))",
            "note IS DISTINCT FROM $1::VARCHAR AND size != $2::BIGINT OR title != $3::VARCHAR",
            ["y", 1, "x"],
        ),
    ],
)
def test_a_filter_becomes_a_condition_with_binds(text: str, condition: str, values: Any) -> None:
    asked = FILTERS.parse(text, {"me": "I"})
    assert sql(asked) == condition
    assert list(asked.values) == [f"f{number}" for number in range(len(asked.values))]
    if values is not ...:
        assert list(asked.values.values()) == values


@pytest.mark.parametrize(
    "text",
    [
        'title="x\'; drop table things; --"',
        'title="$1 %s :f0 {x}"',
        r"""title:"\"' or true*" """,
        "tag:\"'||pg_sleep(1)||'\"",
    ],
)
def test_values_never_reach_the_statements_text(text: str) -> None:
    plain = FILTERS.parse("title=x" if "title=" in text else 'title:"x*"' if "title" in text else "tag:x")
    assert FILTERS.parse(text).shape == plain.shape
    assert sql(FILTERS.parse(text)) == sql(plain)


def test_one_shape_for_what_is_written_differently() -> None:
    alike = [
        "size=1 AND title=x AND note:*",
        "note:* title=y size=2",
        "(title = 'z' AND size = 3) note:*",
        "NOT (size!=1 OR title!=x OR -note:*)",
        "-(-note:* OR NOT size=7 OR -title=q)",
    ]
    assert len({FILTERS.parse(text).shape for text in alike}) == 1
    assert len({sql(FILTERS.parse(text)) for text in alike}) == 1
    differ = ["", "size=1", "size!=1", "size>1", "title=x", "size=1 title=x", "size=1 OR title=x", "size=1 OR size=2"]
    assert len({FILTERS.parse(text).shape for text in differ}) == len(differ)


def test_the_same_filter_is_read_once() -> None:
    first, second = FILTERS.parse("size=77"), FILTERS.parse("size=77")
    assert first._tree is second._tree
    first.values["f0"] = "spoilt"
    assert second.values == {"f0": 77}


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T10:20:30Z", datetime(2026, 1, 31, 10, 20, 30, tzinfo=UTC)),
        ("2026-01-31t10:20:30z", datetime(2026, 1, 31, 10, 20, 30, tzinfo=UTC)),
        ("2026-01-31T10:20:30.5+02:00", datetime(2026, 1, 31, 8, 20, 30, 500_000, tzinfo=UTC)),
        ("2026-01-31T10:20:30.123456789Z", datetime(2026, 1, 31, 10, 20, 30, 123_456, tzinfo=UTC)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ('"2026-01-31"', datetime(2026, 1, 31, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_rfc_3339(text: str, moment: datetime) -> None:
    assert FILTERS.parse(f"due_time > {text}").values == {"f0": moment}


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("colour=red", 0, "'colour' is not a field to filter by; there are age, archived,"),
        ("size=1 OR things.size=1", 10, "'things.size' is not a field"),
        ("size=x", 5, "'x' is not a whole number"),
        ("size=1.5", 5, "is not a whole number"),
        ("size=9223372036854775808", 5, "is not a whole number"),
        ("size=٣", 5, "is not a whole number"),
        ("size=1_0", 5, "is not a whole number"),
        ("size=" + "9" * 1000, 5, "is not a whole number"),
        ("owner=x", 6, "'x' is not a UUID"),
        ('owner="me"', 6, "'me' is not a UUID"),
        ("due_time>yesterday", 9, "is not a time"),
        ("due_time>2026-02-30", 9, "is not a time"),
        ("due_time>2026-01-01T00:00:00", 9, "is not a time"),
        ("due_time>2026-01-01T25:00:00Z", 9, "is not a time"),
        ("due_time>0001-01-01T00:00:00+02:00", 9, "is not a time"),
        ("due_time:2026-01-01", 0, "due_time cannot be asked with :"),
        ("archived=1", 9, "neither true nor false"),
        ("archived>true", 0, "cannot be asked with >"),
        ("grade=MEDIUM", 6, "'MEDIUM' is none of LOW, HIGH"),
        ("grade=low", 6, "'low' is none of"),
        ("title>x", 0, "title cannot be asked with >"),
        ("title:x", 6, 'write "abc*"'),
        ("title:*x*", 6, 'write "abc*"'),
        ('title:"*"', 6, 'write "abc*"'),
        ("title=x*", 6, "looks for a beginning"),
        ("size=*", 5, "a star is written"),
        ("owner=*", 6, "a star is written"),
        ("tag:urg*", 4, "a star is written"),
        ("shade>LIGHT", 0, "cannot be asked with >"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_its_place(text: str, position: int, says: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        FILTERS.parse(text, {"me": "I"})
    assert caught.value.reason_name == "INVALID_FILTER"
    assert caught.value.metadata == {"position": str(position)}
    assert says in caught.value.message
    assert len(caught.value.message) < 300


def test_a_word_without_a_meaning_in_this_call_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="'me' stands for nothing here"):
        FILTERS.parse("size=1 owner=me")


def test_a_field_is_a_column_a_builder_or_cases() -> None:
    with pytest.raises(ValueError, match="column, a builder or cases"):
        FilterField(TEXT)
    with pytest.raises(ValueError, match="column, a builder or cases"):
        FilterField(TEXT, things.c.title, build=tagged)
    with pytest.raises(ValueError, match="column, a builder or cases"):
        FilterField(TEXT, things.c.title, cases={"a": things.c.title.is_(None)})


def test_cases_are_told_apart_by_the_text_and_take_no_bind() -> None:
    new, old = FILTERS.parse("age = NEW"), FILTERS.parse("age = OLD")
    assert new.shape != old.shape
    assert new.values == old.values == {}
    assert sql(new) == sql(FILTERS.parse("NOT age != NEW")) != sql(old)
    assert sql(FILTERS.parse("age = (NEW OR OLD)")).count("due_at") == 2
    with pytest.raises(InvalidArgument, match="none of NEW, OLD"):
        FILTERS.parse("age = MIDDLE")


@given(st.text(alphabet="titlesizeownertag=<>!:*()\"' ANDOR-1\\", max_size=50))
def test_whatever_is_asked_is_answered_or_refused(text: str) -> None:
    try:
        asked = FILTERS.parse(text, {"me": "I"})
    except InvalidArgument as error:
        refused = error
    else:
        sql(asked)
        return
    assert refused.reason_name == "INVALID_FILTER"
