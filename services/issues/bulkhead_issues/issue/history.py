"""The tables of an issue's past, which triggers write, and all SQL on them."""

from __future__ import annotations

from collections.abc import Sequence

from bulkhead_kit.db import Id, Query, Reader, Time, fitting
from bulkhead_kit.page_tokens import KeyValue
from sqlalchemy import BigInteger, Column, Integer, Table, Text, bindparam, select

from bulkhead_issues.issue.rules import ChangeRow, SpanRow
from bulkhead_issues.store import METADATA

_HISTORY = Table(
    "issue_status_history",
    METADATA,
    Column("tenant_id", Id, nullable=False),
    Column("issue_id", Id, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("status_id", Id, nullable=False),
    Column("entered_at", Time, nullable=False),
    Column("left_at", Time),
    Column("changed_by", Id),
)
_CHANGES = Table(
    "issue_changes",
    METADATA,
    Column("tenant_id", Id, nullable=False),
    Column("issue_id", Id, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("changed_at", Time, nullable=False),
    Column("changed_by", Id),
    Column("field", Text, nullable=False),
    Column("old_value", Text),
    Column("new_value", Text),
)
_TENANT = bindparam("tenant_id", type_=Id)
_ISSUE_ID = bindparam("issue_id", type_=Id)

_SPANS = Query(
    select(*(_HISTORY.c[name] for name in SpanRow._fields))
    .where(_HISTORY.c.tenant_id == _TENANT, _HISTORY.c.issue_id == _ISSUE_ID, _HISTORY.c.seq > bindparam("after"))
    .order_by(_HISTORY.c.seq)
    .limit(bindparam("limit")),
    row=SpanRow,
)
_ACTIVITY = Query(
    fitting(
        select(*(_CHANGES.c[name] for name in ChangeRow._fields))
        .where(_CHANGES.c.tenant_id == _TENANT, _CHANGES.c.issue_id == _ISSUE_ID, _CHANGES.c.seq < bindparam("before"))
        .order_by(_CHANGES.c.seq.desc())
        .limit(bindparam("limit")),
        lambda page: [page["seq"].desc()],
        ("old_value", "new_value"),
    ),
    row=ChangeRow,
)
_LAST_SEQ = 2**63 - 1


async def list_spans(tx: Reader, issue_id: str, *, after: Sequence[KeyValue] | None, limit: int) -> list[SpanRow]:
    (seq,) = after or (0,)
    return await tx.all(_SPANS, issue_id=issue_id, after=seq, limit=limit)


async def list_changes(tx: Reader, issue_id: str, *, after: Sequence[KeyValue] | None, limit: int) -> list[ChangeRow]:
    (seq,) = after or (_LAST_SEQ,)
    return await tx.all(_ACTIVITY, issue_id=issue_id, before=seq, limit=limit)
