"""Tables that more than one slice reads. Each belongs to one slice, whose store alone writes it."""

from __future__ import annotations

from bulkhead_kit.db import Id, Time
from sqlalchemy import Column, Date, Integer, LargeBinary, MetaData, Numeric, SmallInteger, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

METADATA = MetaData(schema="issues")

PROJECTS = Table(
    "projects",
    METADATA,
    Column("tenant_id", Id),
    Column("project_id", Id),
    Column("workspace_id", Id),
    Column("key", Text),
    Column("name", Text),
    Column("description", Text),
    Column("status", SmallInteger),
    Column("priority", SmallInteger),
    Column("lead_id", Id),
    Column("owner_team_id", Id),
    Column("start_date", Date),
    Column("end_date", Date),
    Column("budget", Numeric),
    Column("metadata", JSONB),
    Column("archived_at", Time),
    Column("deleted_at", Time),
    Column("created_at", Time),
    Column("updated_at", Time),
    Column("version", Integer),
)
LABELS = Table(
    "labels",
    METADATA,
    Column("tenant_id", Id),
    Column("label_id", Id),
    Column("name", Text),
    Column("name_key", Text),
    Column("description", Text),
    Column("color", Text),
    Column("archived_at", Time),
    Column("created_at", Time),
    Column("updated_at", Time),
    Column("version", Integer),
)
ISSUES = Table(
    "issues",
    METADATA,
    Column("tenant_id", Id, nullable=False),
    Column("issue_id", Id, nullable=False),
    Column("project_id", Id, nullable=False),
    Column("number", Integer, nullable=False),
    Column("type", SmallInteger, nullable=False),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("status_id", Id, nullable=False),
    Column("status_category", SmallInteger, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("reporter_id", Id, nullable=False),
    Column("assignee_id", Id),
    Column("parent_id", Id),
    Column("estimate_minutes", Integer),
    Column("spent_minutes", Integer, nullable=False),
    Column("start_at", Time),
    Column("due_at", Time),
    Column("resolved_at", Time),
    Column("breached_at", Time),
    Column("metadata", JSONB, nullable=False),
    Column("external_source", Text),
    Column("external_id", Text),
    Column("external_digest", LargeBinary),
    Column("deleted_at", Time),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    Column("version", Integer, nullable=False),
)
ISSUE_LABELS = Table(
    "issue_labels",
    METADATA,
    Column("tenant_id", Id),
    Column("issue_id", Id),
    Column("label_id", Id),
    Column("removed_at", Time),
    Column("created_at", Time),
    Column("updated_at", Time),
)
