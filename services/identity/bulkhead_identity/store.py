"""Tables that more than one slice knows. Each belongs to one of them; the others only read it."""

from __future__ import annotations

from bulkhead_kit.db import Id, Time
from sqlalchemy import BigInteger, Column, Integer, MetaData, SmallInteger, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

METADATA = MetaData(schema="identity")

TENANTS = Table(
    "tenants",
    METADATA,
    Column("tenant_id", Id, nullable=False),
    Column("slug", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("domain", Text),
    Column("status", Text, nullable=False),
    Column("status_reason", Text),
    Column("status_changed_at", Time),
    Column("plan_code", Text, nullable=False),
    Column("max_users_override", Integer),
    Column("max_projects_override", Integer),
    Column("max_storage_bytes_override", BigInteger),
    Column("branding", JSONB, nullable=False),
    Column("settings", JSONB, nullable=False),
    Column("description", Text, nullable=False),
    Column("logo_url", Text),
    Column("website_url", Text),
    Column("industry", Text),
    Column("size", Text),
    Column("deleted_at", Time),
    Column("purge_after", Time),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    Column("version", Integer, nullable=False),
)
PLANS = Table(
    "plans",
    METADATA,
    Column("code", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("max_users", Integer),
    Column("max_projects", Integer),
    Column("max_storage_bytes", BigInteger),
)
USAGE = Table(
    "tenant_usage",
    METADATA,
    Column("tenant_id", Id, nullable=False),
    Column("active_members", Integer, nullable=False),
    Column("open_invitations", Integer, nullable=False),
    Column("projects", Integer, nullable=False),
    Column("storage_bytes", BigInteger, nullable=False),
)
MEMBERSHIPS = Table(
    "memberships",
    METADATA,
    Column("tenant_id", Id, nullable=False),
    Column("user_id", Id, nullable=False),
    Column("kind", Text, nullable=False),
    Column("role", SmallInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("avatar_url", Text),
    Column("joined_at", Time, nullable=False),
    Column("disabled_at", Time),
    Column("disabled_by", Id),
    Column("external_source", Text),
    Column("external_id", Text),
    Column("version", Integer, nullable=False),
    Column("left_at", Time),
    Column("support_until", Time),
)
