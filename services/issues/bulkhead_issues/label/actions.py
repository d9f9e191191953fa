"""Changes of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from bulkhead_kit import etags
from bulkhead_kit.db import Transaction
from bulkhead_kit.errors import InvalidArgument, NotFound
from bulkhead_kit.ids import new_id

from bulkhead_issues.label import store
from bulkhead_issues.label.rules import LabelRow, NewLabel
from bulkhead_issues.refusals import archived, conflict


async def create_label(tx: Transaction, new: NewLabel) -> LabelRow:
    return await store.add(tx, new_id(), new)


async def update_label(tx: Transaction, label_id: UUID, values: Mapping[str, str], version: int | None) -> LabelRow:
    row = await store.update_fields(tx, label_id, values, version) if values else None
    if row is not None:
        return row
    current = await _existing(tx, label_id)
    etags.demand(version, current.version)
    return current


async def archive_label(tx: Transaction, label_id: UUID) -> LabelRow:
    return await store.archive(tx, label_id) or await _existing(tx, label_id)


async def unarchive_label(tx: Transaction, label_id: UUID) -> LabelRow:
    return await store.unarchive(tx, label_id) or await _existing(tx, label_id)


async def _existing(tx: Transaction, label_id: UUID) -> LabelRow:
    row = await store.load(tx, label_id)
    if row is None:
        raise NotFound("label")
    return row


# On issues; called by their slice, which says in the issue that its labels changed.


async def put_on_new_issue(tx: Transaction, issue_id: UUID, label_ids: Sequence[UUID]) -> None:
    if await store.put_several(tx, issue_id, label_ids) == len(label_ids):
        return
    for label_id in label_ids:
        await demand_usable(tx, label_id, "issue.label_ids")
    raise conflict()


async def put_on_issue(tx: Transaction, issue_id: UUID, label_id: UUID) -> bool:
    """Whether the label was put on: not if the issue carries it or it cannot be used."""
    return await store.put(tx, issue_id, label_id)


async def take_off_issue(tx: Transaction, issue_id: UUID, label_id: UUID) -> bool:
    """Whether the label was taken off."""
    if await store.take(tx, issue_id, label_id):
        return True
    if await store.load(tx, label_id) is None:
        raise InvalidArgument.reference("label_id", "label")
    return False


async def demand_usable(tx: Transaction, label_id: UUID, field: str) -> None:
    row = await store.load(tx, label_id)
    if row is None:
        raise InvalidArgument.reference(field, "label")
    if row.archived_at is not None:
        raise archived("label")
