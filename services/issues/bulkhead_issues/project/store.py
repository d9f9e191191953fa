"""The table of projects and all SQL on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from bulkhead_kit.db import Query, QueryCache, Reader, Transaction, fitting
from bulkhead_kit.errors import AlreadyExists, InvalidArgument
from bulkhead_kit.page_tokens import KeyValue
from bulkhead_kit.structs import too_deep
from sqlalchemy import (
    bindparam,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from bulkhead_issues.project.rules import ProjectRow
from bulkhead_issues.store import PROJECTS

_NO_METADATA = literal_column("'{}'::jsonb", JSONB)
_ROW = tuple(
    func.nullif(PROJECTS.c.metadata, _NO_METADATA, type_=JSONB).label(name) if name == "metadata" else PROJECTS.c[name]
    for name in ProjectRow._fields
)
# A deleted project is not there for anybody.
_LIVE = (PROJECTS.c.tenant_id == bindparam("tenant_id"), PROJECTS.c.deleted_at.is_(None))
_THIS = (*_LIVE, PROJECTS.c.project_id == bindparam("project_id"))
_REFUSE = {
    "projects_tenant_id_key_key": lambda: AlreadyExists.field("project.key", "another project has this key"),
    "projects_tenant_id_workspace_id_fkey": lambda: InvalidArgument.reference("project.workspace_id", "workspace"),
    "projects_tenant_id_lead_id_fkey": lambda: InvalidArgument.reference("project.lead_id", "member"),
    "projects_tenant_id_owner_team_id_fkey": lambda: InvalidArgument.reference("project.owner_team_id", "team"),
    "projects_end_date_check": lambda: InvalidArgument.field("project.end_date", "must not be before start_date"),
    "projects_metadata_check": lambda: InvalidArgument.field("project.metadata", "is too long"),
    "projects_metadata_depth_check": lambda: too_deep("project.metadata"),
}
VALUES = (
    "name",
    "description",
    "status",
    "priority",
    "lead_id",
    "owner_team_id",
    "start_date",
    "end_date",
    "budget",
    "metadata",
)
"""What Create and Update write."""

_INSERT = Query(
    insert(PROJECTS)
    .values({name: bindparam(name) for name in ("tenant_id", "project_id", "workspace_id", "key", *VALUES)})
    .returning(*_ROW),
    row=ProjectRow,
    refuse=_REFUSE,
)
_GET = Query(select(*_ROW).where(*_THIS), row=ProjectRow)
_GET_BY_KEY = Query(select(*_ROW).where(*_LIVE, PROJECTS.c.key == bindparam("key")), row=ProjectRow)
_LISTS = QueryCache()
_UPDATES = QueryCache()


async def add(
    tx: Transaction, project_id: UUID, *, workspace_id: UUID, key: str, values: Mapping[str, object]
) -> ProjectRow:
    return await tx.one(_INSERT, project_id=project_id, workspace_id=workspace_id, key=key, **values)


async def load(tx: Reader, project_id: UUID | str) -> ProjectRow | None:
    return await tx.one_or_none(_GET, project_id=project_id)


async def load_by_key(tx: Reader, key: str) -> ProjectRow | None:
    return await tx.one_or_none(_GET_BY_KEY, key=key)


async def update_fields(
    tx: Transaction, project_id: UUID, values: Mapping[str, Any], version: int | None
) -> ProjectRow | None:
    """None when there is no such project, or not of that version."""
    query = _UPDATES.get((*sorted(values), version is None), lambda: _update(sorted(values), version is not None))
    return await tx.one_or_none(query, project_id=project_id, version=version, **values)


def _update(columns: list[str], of_version: bool) -> Query[ProjectRow]:
    statement = update(PROJECTS).where(*_THIS).values({name: bindparam(name) for name in columns})
    if of_version:
        statement = statement.where(PROJECTS.c.version == bindparam("version"))
    return Query(statement.returning(*_ROW), row=ProjectRow, refuse=_REFUSE)


async def list_projects(
    tx: Reader, *, workspace_id: str, show_archived: bool, after: tuple[KeyValue, ...] | None, limit: int
) -> list[ProjectRow]:
    shape = (bool(workspace_id), show_archived, after is not None)
    (project_id,) = after or (None,)
    query = _LISTS.get(shape, lambda: _list(*shape))
    return await tx.all(query, workspace_id=workspace_id, after=project_id, limit=limit)


def _list(of_workspace: bool, show_archived: bool, after: bool) -> Query[ProjectRow]:
    # Ids are of version 7: their order is that of their making.
    statement = select(*_ROW).where(*_LIVE).order_by(PROJECTS.c.project_id).limit(bindparam("limit"))
    if of_workspace:
        statement = statement.where(PROJECTS.c.workspace_id == bindparam("workspace_id"))
    if not show_archived:
        statement = statement.where(PROJECTS.c.archived_at.is_(None))
    if after:
        statement = statement.where(PROJECTS.c.project_id > bindparam("after"))
    statement = fitting(statement, lambda page: [page["project_id"]], ("description", "metadata"))
    return Query(statement, row=ProjectRow)
