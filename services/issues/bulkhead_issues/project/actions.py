"""Changes of projects."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from bulkhead_kit import etags
from bulkhead_kit.db import Transaction
from bulkhead_kit.errors import NotFound
from bulkhead_kit.ids import new_id

from bulkhead_issues.project import store
from bulkhead_issues.project.rules import ProjectRow


async def create_project(tx: Transaction, *, workspace_id: UUID, key: str, values: Mapping[str, object]) -> ProjectRow:
    return await store.add(tx, new_id(), workspace_id=workspace_id, key=key, values=values)


async def update_project(
    tx: Transaction, project_id: UUID, values: Mapping[str, object], version: int | None
) -> ProjectRow:
    row = await store.update_fields(tx, project_id, values, version) if values else None
    if row is not None:
        return row
    current = await store.load(tx, project_id)
    if current is None:
        raise NotFound("project")
    etags.demand(version, current.version)
    return current
