"""Changes of a face that are due, as the worker sees them."""

from __future__ import annotations

from typing import NamedTuple

from bulkhead_kit.db import Id, Query, Reader, Time, Transaction
from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text, bindparam, func, select, text

FACE_CHANGES = Table(
    "face_changes",
    MetaData(schema="identity"),
    Column("user_id", Id),
    Column("due_at", Time),
    Column("rpc", Text),
    Column("request_id", Text),
)


class DueChange(NamedTuple):
    user_id: str
    rpc: str | None
    request_id: str | None


class _Shown(NamedTuple):
    tenants: int


_DUE = Query(
    select(*(FACE_CHANGES.c[name] for name in DueChange._fields))
    .where(FACE_CHANGES.c.due_at <= func.now())
    .order_by(FACE_CHANGES.c.due_at)
    .limit(bindparam("rows", type_=BigInteger)),
    row=DueChange,
)
_SPREAD = Query(
    text("select identity.spread_face(:person, :rows) as tenants")
    .bindparams(bindparam("person", type_=Id), bindparam("rows", type_=Integer))
    .columns(Column("tenants", Integer)),
    row=_Shown,
)


async def list_due(tx: Reader, rows: int) -> list[DueChange]:
    return await tx.all(_DUE, rows=rows)


async def spread(tx: Transaction, user_id: str, rows: int) -> int:
    """The number of tenants looked at; fewer than `rows` with the last of them."""
    return (await tx.one(_SPREAD, person=user_id, rows=rows)).tenants
