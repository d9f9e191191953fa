"""An issue as it is selected, and as a write answers with it: its own columns, its project's key and its labels."""

from __future__ import annotations

from bulkhead_kit.db import Id
from sqlalchemy import Text, and_, bindparam, cast, func, literal, literal_column, null, select
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from bulkhead_issues.issue.rules import IssueRow
from bulkhead_issues.store import ISSUE_LABELS, ISSUES, PROJECTS

TENANT = bindparam("tenant_id", type_=Id)
LONG = ("description", "metadata")
"""The columns by which a page of issues can become too long for a message."""

# The labels come with the issue, in the same round trip and for any number of rows.
_LABEL_IDS = (
    select(
        func.string_agg(cast(ISSUE_LABELS.c.label_id, Text), aggregate_order_by(literal(","), ISSUE_LABELS.c.label_id))
    )
    .where(
        ISSUE_LABELS.c.tenant_id == TENANT,
        ISSUE_LABELS.c.issue_id == ISSUES.c.issue_id,
        ISSUE_LABELS.c.removed_at.is_(None),
    )
    .correlate(ISSUES)
    .scalar_subquery()
)
_KEY = (
    select(PROJECTS.c.key)
    .where(PROJECTS.c.tenant_id == TENANT, PROJECTS.c.project_id == ISSUES.c.project_id)
    .correlate(ISSUES)
    .scalar_subquery()
)
_MADE = {
    "project_key": _KEY.label("project_key"),
    "label_ids": _LABEL_IDS.label("label_ids"),
    # Most have none; null is cheaper to read than {}.
    "metadata": func.nullif(ISSUES.c.metadata, literal_column("'{}'::jsonb", JSONB), type_=JSONB).label("metadata"),
}
WRITTEN = tuple(_MADE[name] if name in _MADE else ISSUES.c[name] for name in IssueRow._fields)
_READ = tuple(
    PROJECTS.c.key.label(name) if name == "project_key" else column
    for name, column in zip(IssueRow._fields, WRITTEN, strict=True)
)
SELECT = (
    select(*_READ)
    .join_from(ISSUES, PROJECTS, and_(PROJECTS.c.tenant_id == TENANT, PROJECTS.c.project_id == ISSUES.c.project_id))
    # A deleted project hides its issues.
    .where(ISSUES.c.tenant_id == TENANT, PROJECTS.c.deleted_at.is_(None))
)

# A new row is no row of the table yet, as far as sub-selects of RETURNING are concerned.
INSERTED = tuple(
    {
        "project_key": select(PROJECTS.c.key)
        .where(PROJECTS.c.tenant_id == TENANT, PROJECTS.c.project_id == bindparam("project_id"))
        .scalar_subquery()
        .label("project_key"),
        "label_ids": null().cast(Text).label("label_ids"),
    }.get(name, column)
    for name, column in zip(IssueRow._fields, WRITTEN, strict=True)
)
