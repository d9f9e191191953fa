"""The tables of statuses and transitions and all SQL on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from bulkhead_kit.db import Id, Query, Reader, Time, Transaction, unnested
from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    bindparam,
    exists,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.types import TypeEngine

from bulkhead_issues.workflow.rules import DEFAULT_STATUSES, StatusRow, TransitionRow

_METADATA = MetaData(schema="issues")
STATUSES = Table(
    "statuses",
    _METADATA,
    Column("tenant_id", Id, nullable=False),
    Column("status_id", Id, nullable=False),
    Column("name", Text, nullable=False),
    Column("category", SmallInteger, nullable=False),
    Column("position", Integer, nullable=False),
    Column("is_default", Boolean, nullable=False),
    Column("archived_at", Time),
    Column("version", Integer, nullable=False),
)
TRANSITIONS = Table(
    "status_transitions",
    _METADATA,
    Column("tenant_id", Id, nullable=False),
    Column("from_status_id", Id, nullable=False),
    Column("to_status_id", Id, nullable=False),
    Column("least_role", SmallInteger, nullable=False),
    Column("removed_at", Time),
)
_ONE: ColumnElement[int] = literal_column("1")
_TENANT = bindparam("tenant_id", type_=Id)

_LIST_STATUSES = Query(
    select(*(STATUSES.c[name] for name in StatusRow._fields))
    .where(STATUSES.c.tenant_id == _TENANT)
    .order_by(STATUSES.c.position, STATUSES.c.status_id),
    row=StatusRow,
)
_LIST_TRANSITIONS = Query(
    select(*(TRANSITIONS.c[name] for name in TransitionRow._fields)).where(
        TRANSITIONS.c.tenant_id == _TENANT, TRANSITIONS.c.removed_at.is_(None)
    ),
    row=TransitionRow,
)
_STATUS_COLUMNS: dict[str, TypeEngine[Any]] = {
    "status_id": Id(),
    "name": Text(),
    "category": SmallInteger(),
    "position": Integer(),
    "is_default": Boolean(),
}
_new = unnested(_STATUS_COLUMNS)
# Nothing for a tenant that has statuses. Two first workspaces at once meet at the names, which are unique.
_ADD_STATUSES: Query[Any] = Query(
    insert(STATUSES)
    .from_select(
        ["tenant_id", *_STATUS_COLUMNS],
        select(_TENANT, *(_new.c[name].label(name) for name in _STATUS_COLUMNS)).where(
            ~exists(_ONE).where(STATUSES.c.tenant_id == _TENANT)
        ),
    )
    .on_conflict_do_nothing()
)
_MOVE_COLUMNS: dict[str, TypeEngine[Any]] = {"from_status_id": Id(), "to_status_id": Id()}
_moves = unnested(_MOVE_COLUMNS)
_ADD_TRANSITIONS: Query[Any] = Query(
    insert(TRANSITIONS).from_select(
        ["tenant_id", *_MOVE_COLUMNS],
        select(_TENANT, *(_moves.c[name].label(name) for name in _MOVE_COLUMNS)).where(
            exists(_ONE).where(STATUSES.c.tenant_id == _TENANT, STATUSES.c.status_id == _moves.c.from_status_id)
        ),
    )
)


async def list_workflow(tx: Reader) -> tuple[list[StatusRow], list[TransitionRow]]:
    return await tx.together(_LIST_STATUSES.bind(), _LIST_TRANSITIONS.bind())


def add_defaults(tx: Transaction, ids: Sequence[UUID]) -> None:
    """The default set with these ids, unless the tenant has statuses."""
    tx.send(
        _ADD_STATUSES,
        status_id=ids,
        name=[status.name for status in DEFAULT_STATUSES],
        category=[status.category for status in DEFAULT_STATUSES],
        position=list(range(1, len(DEFAULT_STATUSES) + 1)),
        is_default=[place == 0 for place in range(len(DEFAULT_STATUSES))],
    )
    moves = [(ids[place], ids[target]) for place, status in enumerate(DEFAULT_STATUSES) for target in status.leads_to]
    tx.send(
        _ADD_TRANSITIONS,
        from_status_id=[left for left, _ in moves],
        to_status_id=[entered for _, entered in moves],
    )
