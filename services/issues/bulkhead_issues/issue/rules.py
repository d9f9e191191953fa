"""What issues are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

TASK = 1
"""The type of an issue that names none."""
DAYS_KEPT: Final = 30
"""During which a deleted issue can be brought back."""
KEPT_AFTER_DELETION: Final = DAYS_KEPT * 86_400 * 1_000_000
"""The same in microseconds."""

# Names of the contract's enums without their prefix, as filters write them.
TYPES: Final = {"TASK": 1, "BUG": 2, "FEATURE": 3, "EPIC": 4, "SUBTASK": 5, "PULL_REQUEST": 6}
PRIORITIES: Final = {"UNSPECIFIED": 0, "LOW": 1, "MEDIUM": 2, "HIGH": 3, "URGENT": 4}
CATEGORIES: Final = {"BACKLOG": 1, "TODO": 2, "IN_PROGRESS": 3, "DONE": 4, "CANCELLED": 5}


class IssueRow(NamedTuple):
    issue_id: str
    project_id: str
    project_key: str
    number: int
    type: int
    title: str
    description: str
    status_id: str
    status_category: int
    priority: int
    reporter_id: str
    assignee_id: str | None
    parent_id: str | None
    label_ids: str | None
    """Joined by commas: splitting a text is ten times cheaper than reading an array."""
    estimate_minutes: int | None
    spent_minutes: int
    start_at: int | None
    due_at: int | None
    resolved_at: int | None
    breached_at: int | None
    metadata: dict[str, Any] | None
    external_source: str | None
    external_id: str | None
    deleted_at: int | None
    created_at: int
    updated_at: int
    version: int


class SpanRow(NamedTuple):
    seq: int
    status_id: str
    entered_at: int
    left_at: int | None
    changed_by: str | None


class ChangeRow(NamedTuple):
    seq: int
    changed_at: int
    changed_by: str | None
    field: str
    old_value: str | None
    new_value: str | None


@dataclass(frozen=True, slots=True)
class NewIssue:
    project_id: UUID
    status_id: UUID | None
    assignee_id: UUID | None
    label_ids: Sequence[UUID]
    values: Mapping[str, object]
    """Columns that Update can change too."""
