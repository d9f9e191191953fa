"""The SQL that removes what has been kept long enough; as the worker's role, over all tenants."""

from __future__ import annotations

from typing import Any

from bulkhead_kit.db import Id, Query, Time, Transaction
from sqlalchemy import Column, Integer, MetaData, Table, Text, bindparam, delete, func, select, text, tuple_

_CALLS = Table(
    "request_ids",
    MetaData(schema="issues"),
    Column("tenant_id", Id),
    Column("principal", Text),
    Column("request_id", Id),
    Column("created_at", Time),
)
_KEY = tuple_(_CALLS.c.tenant_id, _CALLS.c.principal, _CALLS.c.request_id)
_old = _CALLS.alias("old")
_REMOVE: Query[Any] = Query(
    delete(_CALLS).where(
        _KEY.in_(
            select(_old.c.tenant_id, _old.c.principal, _old.c.request_id)
            .where(_old.c.created_at < func.now() - text("interval '24 hours'"))
            .order_by(_old.c.created_at)
            .limit(bindparam("limit", type_=Integer))
        )
    )
)


async def remove_answered_calls(tx: Transaction, limit: int) -> int:
    """How many were removed."""
    return await tx.execute(_REMOVE, limit=limit)
