"""Statuses, the moves between them, and the set a tenant begins with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

BACKLOG, TODO, IN_PROGRESS, DONE, CANCELLED = range(1, 6)
"""Categories, with the numbers of the contract."""


class StatusRow(NamedTuple):
    status_id: str
    name: str
    category: int
    position: int
    is_default: bool
    archived_at: int | None
    version: int


class TransitionRow(NamedTuple):
    from_status_id: str
    to_status_id: str
    least_role: int


@dataclass(frozen=True, slots=True)
class DefaultStatus:
    name: str
    category: int
    leads_to: tuple[int, ...]
    """Places in DEFAULT_STATUSES, counted from 0. The first status is the default."""


DEFAULT_STATUSES = (
    DefaultStatus("Backlog", BACKLOG, (1, 2, 5)),
    DefaultStatus("To do", TODO, (0, 2, 5)),
    DefaultStatus("In progress", IN_PROGRESS, (1, 3, 4, 5)),
    DefaultStatus("In review", IN_PROGRESS, (2, 4, 5)),
    DefaultStatus("Done", DONE, (1, 2)),
    DefaultStatus("Cancelled", CANCELLED, (0, 1)),
)
