"""Encoders and loaders against the server itself: what goes in comes out, also where psycopg would choose otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from bulkhead_kit.db import Database, Id, Query, Time
from bulkhead_kit.moments import from_us_since_2000, us_since_2000
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Date,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    bindparam,
    insert,
    literal,
    select,
    types,
)
from sqlalchemy.dialects.postgresql import JSONB

from tests.kit.db.conftest import Make

_ID = UUID("0192f3c4-0000-7000-8000-00000000abcd")
_WHEN = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


class One(NamedTuple):
    value: Any


@pytest.mark.parametrize(
    ("kind", "sent", "back"),
    [
        (Id(), _ID, str(_ID)),
        (Id(), str(_ID), str(_ID)),
        (Time(), _WHEN, us_since_2000(_WHEN)),
        (Time(), us_since_2000(_WHEN), us_since_2000(_WHEN)),
        (Text(), "żółć 😀 'quoted' \\ %s $1 :x", "żółć 😀 'quoted' \\ %s $1 :x"),
        (Text(), "", ""),
        (Integer(), -5, -5),
        (BigInteger(), 2**62, 2**62),
        (SmallInteger(), 7, 7),
        (Boolean(), True, True),
        (Boolean(), False, False),
        (Date(), date(2024, 2, 29), date(2024, 2, 29)),
        (Numeric(14, 2), Decimal("12345678901.25"), Decimal("12345678901.25")),
        (LargeBinary(), b"\x00\xff\\x", b"\x00\xff\\x"),
        (JSONB(), {"a": [1, None, "é"]}, {"a": [1, None, "é"]}),
        (JSONB(), [], []),
        (ARRAY(Id()), [_ID, None], [_ID, None]),
        (ARRAY(Text()), ["a,b", '{"', None, "😀"], ["a,b", '{"', None, "😀"]),
        (ARRAY(Integer()), [1, None, -2], [1, None, -2]),
        (ARRAY(SmallInteger()), [1, 2], [1, 2]),
        (ARRAY(BigInteger()), [2**40], [2**40]),
        (ARRAY(Boolean()), [True, False], [True, False]),
        (ARRAY(LargeBinary()), [b"\x00", b""], [b"\x00", b""]),
        (ARRAY(JSONB()), [{"a": 1}, [2]], [{"a": 1}, [2]]),
        (ARRAY(Text()), [], []),
        (ARRAY(Integer()), [None, None], [None, None]),
    ],
)
async def test_value_sent_comes_back(
    issues: Database, owner: Make, kind: types.TypeEngine[Any], sent: object, back: object
) -> None:
    query = Query(select(bindparam("it", type_=kind).label("value")), row=One)
    assert (await issues.read(owner()).one(query, it=sent)).value == back
    assert (await issues.read(owner()).one(query, it=None)).value is None


async def test_time_array_keeps_microseconds(issues: Database, owner: Make) -> None:
    query = Query(select(bindparam("it", type_=ARRAY(Time())).label("value")), row=One)
    sent: Sequence[Any] = [_WHEN, us_since_2000(_WHEN), None]
    assert (await issues.read(owner()).one(query, it=sent)).value == [us_since_2000(_WHEN)] * 2 + [None]
    assert from_us_since_2000(us_since_2000(_WHEN)) == _WHEN


def test_id_is_text_only_where_it_is_selected() -> None:
    table = Table("things", MetaData(), Column("thing_id", Id))
    sql = Query(select(table.c.thing_id).order_by(table.c.thing_id)).sql.decode()
    # Ordering by the text would skip the index.
    assert sql.split("ORDER BY")[1].strip() == "things.thing_id"
    assert "CAST(things.thing_id AS TEXT)" in sql


def test_row_that_does_not_fit_its_statement_is_refused_at_import() -> None:
    with pytest.raises(TypeError, match="does not have the fields"):
        Query(select(literal(1).label("other")), row=One)


def test_bind_without_value_is_named() -> None:
    table = Table("things", MetaData(), Column("thing_id", Id), Column("size", Integer))
    query: Query[Any] = Query(insert(table).values(thing_id=bindparam("thing_id"), size=bindparam("size")))
    with pytest.raises(KeyError, match="size"):
        query.encode({"thing_id": _ID})


def test_array_without_binary_form_is_refused_at_import() -> None:
    with pytest.raises(TypeError, match="no binary form"):
        Query(select(bindparam("it", type_=ARRAY(Numeric()))))
