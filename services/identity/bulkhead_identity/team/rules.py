"""What teams are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID


@dataclass(frozen=True, slots=True)
class NewTeam:
    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Place:
    """A member's place in a team."""

    team_id: UUID
    user_id: UUID
    is_lead: bool = False


class TeamRow(NamedTuple):
    team_id: str
    name: str
    name_key: str
    description: str
    archived_at: int | None
    created_at: int
    updated_at: int
    version: int


class TeamMemberRow(NamedTuple):
    team_id: str
    user_id: str
    is_lead: bool
    added_at: int
    removed_at: int | None
    display_name: str
    avatar_url: str | None
    status: str
    support_until: int | None
