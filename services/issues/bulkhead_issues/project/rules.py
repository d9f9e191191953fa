"""What projects are made of."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

DRAFT, ACTIVE, ON_HOLD, COMPLETED, CANCELLED = range(1, 6)
"""Statuses, with the numbers of the contract."""


class ProjectRow(NamedTuple):
    project_id: str
    workspace_id: str
    key: str
    name: str
    description: str
    status: int
    priority: int
    lead_id: str | None
    owner_team_id: str | None
    start_date: date | None
    end_date: date | None
    budget: Decimal | None
    metadata: dict[str, Any] | None
    archived_at: int | None
    created_at: int
    updated_at: int
    version: int
