"""Changes of issues."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit import etags
from bulkhead_kit.db import Transaction
from bulkhead_kit.errors import AlreadyExists, FailedPrecondition, NotFound
from bulkhead_kit.ids import new_id

from bulkhead_issues.issue import store
from bulkhead_issues.issue.rules import IssueRow, NewIssue
from bulkhead_issues.label import actions as labels


async def create_issue(tx: Transaction, new: NewIssue) -> IssueRow:
    issue_id = new_id()
    row = await store.add(tx, issue_id, new)
    if not new.label_ids:
        return row
    await labels.put_on_new_issue(tx, issue_id, new.label_ids)
    return row._replace(label_ids=",".join(sorted(map(str, new.label_ids))))


async def update_issue(tx: Transaction, issue_id: UUID, values: Mapping[str, object], version: int | None) -> IssueRow:
    row = await store.update_fields(tx, issue_id, values, version) if values else None
    return row or await _unchanged(tx, issue_id, version)


async def transition_issue(tx: Transaction, issue_id: UUID, status_id: UUID, version: int | None) -> IssueRow:
    return await store.transition(tx, issue_id, status_id, version) or await _unchanged(tx, issue_id, version)


async def assign_issue(tx: Transaction, issue_id: UUID, assignee_id: UUID | None, version: int | None) -> IssueRow:
    return await store.assign(tx, issue_id, assignee_id, version) or await _unchanged(tx, issue_id, version)


async def add_label(tx: Transaction, issue_id: UUID, label_id: UUID) -> IssueRow:
    if await labels.put_on_issue(tx, issue_id, label_id):
        return await _touched(tx, issue_id)
    row = await _unchanged(tx, issue_id, None)
    if str(label_id) not in (row.label_ids or ""):
        await labels.demand_usable(tx, label_id, "label_id")
    return row


async def remove_label(tx: Transaction, issue_id: UUID, label_id: UUID) -> IssueRow:
    if await labels.take_off_issue(tx, issue_id, label_id):
        return await _touched(tx, issue_id)
    return await _unchanged(tx, issue_id, None)


async def _touched(tx: Transaction, issue_id: UUID) -> IssueRow:
    row = await store.touch(tx, issue_id)
    if row is None:
        raise NotFound("issue")
    return row


async def delete_issue(tx: Transaction, issue_id: UUID, version: int | None) -> IssueRow:
    return await store.delete(tx, issue_id, version) or await _unchanged(tx, issue_id, version)


async def undelete_issue(tx: Transaction, issue_id: UUID) -> IssueRow:
    row = await store.undelete(tx, issue_id)
    if row is not None:
        return row
    current = await store.load(tx, issue_id)
    if current is None:
        raise NotFound("issue")
    if current.deleted_at is None:
        raise AlreadyExists(ErrorReason.NOT_DELETED, "the issue is not deleted")
    raise FailedPrecondition(
        ErrorReason.STATE_NOT_ALLOWED,
        "the time to bring the issue back is over",
        metadata={"state": "purged"},
    )


async def _unchanged(tx: Transaction, issue_id: UUID, version: int | None) -> IssueRow:
    """Why nothing was changed: an error, or that the issue is already as it should be."""
    current = await store.load(tx, issue_id)
    if current is None or current.deleted_at is not None:
        raise NotFound("issue")
    etags.demand(version, current.version)
    return current
