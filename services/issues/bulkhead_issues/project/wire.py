"""Between projects and their messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import cast

from bulkhead.issues.v1 import project_pb2, project_service_pb2
from bulkhead_kit import texts, wire
from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.etags import etag
from bulkhead_kit.masks import MutableFields
from bulkhead_kit.paging import text_bytes
from bulkhead_kit.structs import struct

from bulkhead_issues.project.rules import ACTIVE, ProjectRow
from bulkhead_issues.wire import metadata, metadata_bytes, optional_id


def project(row: ProjectRow) -> project_pb2.Project:
    return project_pb2.Project(
        project_id=row.project_id,
        workspace_id=row.workspace_id,
        key=row.key,
        name=row.name,
        description=row.description,
        status=cast("project_pb2.ProjectStatus.ValueType", row.status),
        priority=cast("project_pb2.Priority.ValueType", row.priority),
        lead_id=row.lead_id or "",
        owner_team_id=row.owner_team_id or "",
        start_date=row.start_date.isoformat() if row.start_date else "",
        end_date=row.end_date.isoformat() if row.end_date else "",
        budget=str(row.budget) if row.budget is not None else "",
        metadata=struct(row.metadata),
        create_time=wire.timestamp(row.created_at),
        update_time=wire.timestamp(row.updated_at),
        archive_time=wire.timestamp(row.archived_at),
        etag=etag(row.version),
    )


def weight(row: ProjectRow) -> int:
    return text_bytes(row) + metadata_bytes(row.metadata)


def new_key(message: project_pb2.Project) -> str:
    if not message.key:
        raise InvalidArgument.field("project.key", "must be a capital letter and 1 to 9 capital letters or digits")
    return message.key


def all_values(message: project_pb2.Project) -> dict[str, object]:
    """Column values of a new project."""
    return {path: read(message) for path, read in _READ.items()}


def changes(request: project_service_pb2.UpdateProjectRequest) -> dict[str, object]:
    """Column values to write."""
    return {path: _READ[path](request.project) for path in _MUTABLE.to_write(request.project, request.update_mask)}


def _name(message: project_pb2.Project) -> str:
    return texts.name(message.name, "project.name")


def _day(text: str, field: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidArgument.field(field, "must be a day that exists, as YYYY-MM-DD") from None


_READ: Mapping[str, Callable[[project_pb2.Project], object]] = {
    "name": _name,
    "description": lambda m: texts.optional_prose(m.description, "project.description"),
    "status": lambda m: m.status or ACTIVE,
    "priority": lambda m: m.priority,
    "lead_id": lambda m: optional_id(m, "lead_id", "project"),
    "owner_team_id": lambda m: optional_id(m, "owner_team_id", "project"),
    "start_date": lambda m: _day(m.start_date, "project.start_date"),
    "end_date": lambda m: _day(m.end_date, "project.end_date"),
    "budget": lambda m: Decimal(m.budget) if m.budget else None,
    "metadata": lambda m: metadata(m.metadata, "project.metadata"),
}
_MUTABLE = MutableFields(project_pb2.Project, _READ)
