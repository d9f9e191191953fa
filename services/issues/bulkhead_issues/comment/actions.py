"""Changes of comments."""

from __future__ import annotations

from uuid import UUID

from bulkhead_kit import etags
from bulkhead_kit.caller import Role
from bulkhead_kit.db import Transaction
from bulkhead_kit.errors import NotFound
from bulkhead_kit.ids import new_id

from bulkhead_issues.comment import rules, store
from bulkhead_issues.comment.rules import CommentRow, NewComment


async def create_comment(tx: Transaction, new: NewComment) -> CommentRow:
    row = await store.add(tx, new_id(), new)
    if row is None:
        raise NotFound("issue")
    return row


async def update_comment(tx: Transaction, comment_id: UUID, body: str | None, version: int | None) -> CommentRow:
    current = await _changeable(tx, comment_id, version)
    if body is None or body == current.body:
        return current
    return await store.edit(tx, comment_id, body, version) or await _lost(tx, comment_id)


async def delete_comment(tx: Transaction, comment_id: UUID, version: int | None) -> CommentRow:
    await _changeable(tx, comment_id, version)
    return await store.delete(tx, comment_id, version) or await _lost(tx, comment_id)


async def _changeable(tx: Transaction, comment_id: UUID, version: int | None) -> CommentRow:
    row = await store.load(tx, comment_id)
    if row is None or row.deleted_at is not None:
        raise NotFound("comment")
    caller = tx.caller
    rules.demand_right_to_change(
        is_author=row.author_id == str(caller.user_id),
        manages=caller.role is not None and caller.role >= Role.MANAGER,
    )
    etags.demand(version, row.version)
    return row


async def _lost(tx: Transaction, comment_id: UUID) -> CommentRow:
    """Somebody else changed or deleted the comment since it was looked at."""
    row = await store.load(tx, comment_id)
    if row is None or row.deleted_at is not None:
        raise NotFound("comment")
    raise etags.mismatch(row.version)
