"""Tables that more than one slice knows, and what all lists have in common.

Each table belongs to one slice; only an import writes those of others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bulkhead_kit.db import Id, Time
from bulkhead_kit.paging import MAX_PAGE_BYTES
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Date,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Select,
    SmallInteger,
    Table,
    Text,
    cast,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.base import ReadOnlyColumnCollection

METADATA = MetaData(schema="issues")

PROJECTS = Table(
    "projects",
    METADATA,
    Column("tenant_id", Id, nullable=False),
    Column("project_id", Id, nullable=False),
    Column("workspace_id", Id, nullable=False),
    Column("key", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("lead_id", Id),
    Column("owner_team_id", Id),
    Column("start_date", Date),
    Column("end_date", Date),
    Column("budget", Numeric),
    Column("metadata", JSONB, nullable=False),
    Column("archived_at", Time),
    Column("deleted_at", Time),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    Column("version", Integer, nullable=False),
)
LABELS = Table(
    "labels",
    METADATA,
    Column("tenant_id", Id, nullable=False),
    Column("label_id", Id, nullable=False),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("color", Text, nullable=False),
    Column("archived_at", Time),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    Column("version", Integer, nullable=False),
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
    Column("tenant_id", Id, nullable=False),
    Column("issue_id", Id, nullable=False),
    Column("label_id", Id, nullable=False),
    Column("removed_at", Time),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
)
COMMENTS = Table(
    "comments",
    METADATA,
    Column("tenant_id", Id, nullable=False),
    Column("comment_id", Id, nullable=False),
    Column("issue_id", Id, nullable=False),
    Column("author_id", Id, nullable=False),
    Column("visibility", SmallInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("external_source", Text),
    Column("external_id", Text),
    Column("external_digest", LargeBinary),
    Column("deleted_at", Time),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    Column("version", Integer, nullable=False),
)

Columns = ReadOnlyColumnCollection[str, Any]
Ordering = Callable[[Columns], Sequence[ColumnElement[Any]]]


def fitting(page: Select[Any], order: Ordering, texts: Sequence[str]) -> Select[Any]:
    """The rows of a page up to the first that goes beyond the message, which says that there are more.

    `texts` are the long columns. The length of a text is known without reading it, so that a row that is left out
    costs next to nothing; and no row is so long that none would follow it.
    """
    rows = page.subquery("page")
    before = func.sum(_length(rows.c, texts)).over(order_by=order(rows.c), rows=(None, -1))
    measured = select(*rows.c, before.label("bytes_before")).subquery("measured")
    return (
        select(*(measured.c[name] for name in rows.c.keys()))  # noqa: SIM118  # iterates over columns otherwise
        .where(func.coalesce(measured.c.bytes_before, literal_column("0")) <= MAX_PAGE_BYTES)
        .order_by(*order(measured.c))
    )


def _length(columns: Columns, texts: Sequence[str]) -> ColumnElement[int]:
    total: ColumnElement[int] = literal_column("0", BigInteger)
    for name in texts:
        total = total + func.coalesce(
            func.octet_length(cast(columns[name], Text)), literal_column("0"), type_=BigInteger
        )
    return total
