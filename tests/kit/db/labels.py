"""Statements over one real table, as a store would hold them."""

from __future__ import annotations

from typing import Any, NamedTuple

from bulkhead_kit.db import Id, Query, Time
from bulkhead_kit.errors import AlreadyExists
from sqlalchemy import (
    ARRAY,
    Column,
    MetaData,
    Table,
    Text,
    any_,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)

LABELS = Table(
    "labels",
    MetaData(schema="issues"),
    Column("tenant_id", Id),
    Column("label_id", Id),
    Column("name", Text),
    Column("color", Text),
    Column("created_at", Time),
)


class Label(NamedTuple):
    label_id: str
    name: str
    created_at: int


class Count(NamedTuple):
    number: int


_columns = (LABELS.c.label_id, LABELS.c.name, LABELS.c.created_at)
_mine = LABELS.c.tenant_id == bindparam("tenant_id")

GET = Query(select(*_columns).where(_mine, LABELS.c.label_id == bindparam("label_id")), row=Label)
SOME = Query(
    select(*_columns)
    .where(_mine, LABELS.c.label_id == any_(bindparam("ids", type_=ARRAY(Id))))
    .order_by(LABELS.c.label_id),
    row=Label,
)
COUNT = Query(select(func.count().label("number")).select_from(LABELS).where(_mine), row=Count)
COUNT_ANY = Query(select(func.count().label("number")).select_from(LABELS), row=Count)
INSERT = Query(
    insert(LABELS)
    .values(
        tenant_id=bindparam("tenant_id"),
        label_id=bindparam("label_id"),
        name=bindparam("name"),
        color=bindparam("color"),
    )
    .returning(*_columns),
    row=Label,
    refuse={"labels_tenant_id_name_key_key": lambda: AlreadyExists.field("label.name", "taken")},
)
RENAME: Query[Any] = Query(
    update(LABELS).where(_mine, LABELS.c.label_id == bindparam("id")).values(name=bindparam("name")),
    refuse={"labels_tenant_id_name_key_key": lambda: AlreadyExists.field("label.name", "taken")},
)
SLEEP: Query[Any] = Query(text("select pg_sleep(30)"))
NAP: Query[Any] = Query(text("select pg_sleep(0.002)"))


def many(number: int) -> list[Query[Count]]:
    """As many different statements."""
    return [
        Query(
            select((func.count() + literal_column(str(n))).label("number")).select_from(LABELS).where(_mine), row=Count
        )
        for n in range(number)
    ]
