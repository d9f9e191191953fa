"""Changes of teams."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from bulkhead_kit import etags
from bulkhead_kit.db import Transaction
from bulkhead_kit.errors import NotFound
from bulkhead_kit.ids import new_id

from bulkhead_identity.team import store
from bulkhead_identity.team.rules import NewTeam, Place, TeamMemberRow, TeamRow


async def create_team(tx: Transaction, new: NewTeam) -> TeamRow:
    return await store.add(tx, new_id(), new)


async def update_team(tx: Transaction, team_id: UUID, values: Mapping[str, str], version: int | None) -> TeamRow:
    row = await store.update_fields(tx, team_id, values, version) if values else None
    if row is not None:
        return row
    current = await _existing(tx, team_id)
    etags.demand(version, current.version)
    return current


async def archive_team(tx: Transaction, team_id: UUID) -> TeamRow:
    return await store.archive(tx, team_id) or await _existing(tx, team_id)


async def unarchive_team(tx: Transaction, team_id: UUID) -> TeamRow:
    return await store.unarchive(tx, team_id) or await _existing(tx, team_id)


async def add_team_member(tx: Transaction, place: Place) -> TeamMemberRow:
    return await store.put(tx, place)


async def remove_team_member(tx: Transaction, place: Place) -> TeamMemberRow:
    row = await store.take(tx, place)
    if row is None:
        await _existing(tx, place.team_id)
        raise NotFound("team_member")
    return row


async def _existing(tx: Transaction, team_id: UUID) -> TeamRow:
    row = await store.load(tx, team_id)
    if row is None:
        raise NotFound("team")
    return row
