"""The table of workspaces and all SQL on it."""

from __future__ import annotations

from uuid import UUID

from bulkhead_kit.db import Id, Query, QueryCache, Reader, Time, Transaction
from bulkhead_kit.errors import AlreadyExists
from bulkhead_kit.page_tokens import KeyValue
from sqlalchemy import Column, Integer, MetaData, Table, Text, bindparam, insert, select

from bulkhead_issues.workspace.rules import NewWorkspace, WorkspaceRow

WORKSPACES = Table(
    "workspaces",
    MetaData(schema="issues"),
    Column("tenant_id", Id, nullable=False),
    Column("workspace_id", Id, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    Column("version", Integer, nullable=False),
)
_ROW = tuple(WORKSPACES.c[name] for name in WorkspaceRow._fields)
_OF_TENANT = WORKSPACES.c.tenant_id == bindparam("tenant_id")

_INSERT = Query(
    insert(WORKSPACES)
    .values({name: bindparam(name) for name in ("tenant_id", "workspace_id", "name", "description")})
    .returning(*_ROW),
    row=WorkspaceRow,
    refuse={
        "workspaces_tenant_id_name_key_key": lambda: AlreadyExists.field(
            "workspace.name", "another workspace has this name"
        )
    },
)
_GET = Query(select(*_ROW).where(_OF_TENANT, WORKSPACES.c.workspace_id == bindparam("workspace_id")), row=WorkspaceRow)
_LISTS = QueryCache()


async def add(tx: Transaction, workspace_id: UUID, new: NewWorkspace) -> WorkspaceRow:
    return await tx.one(_INSERT, workspace_id=workspace_id, name=new.name, description=new.description)


async def load(tx: Reader, workspace_id: str) -> WorkspaceRow | None:
    return await tx.one_or_none(_GET, workspace_id=workspace_id)


async def list_workspaces(tx: Reader, *, after: tuple[KeyValue, ...] | None, limit: int) -> list[WorkspaceRow]:
    query = _LISTS.get(after is None, lambda: _list(after is not None))
    (workspace_id,) = after or (None,)
    return await tx.all(query, after=workspace_id, limit=limit)


def _list(after: bool) -> Query[WorkspaceRow]:
    # Ids are of version 7: their order is that of their making.
    statement = select(*_ROW).where(_OF_TENANT).order_by(WORKSPACES.c.workspace_id).limit(bindparam("limit"))
    if after:
        statement = statement.where(WORKSPACES.c.workspace_id > bindparam("after"))
    return Query(statement, row=WorkspaceRow)
