"""What comments are made of, and who may change them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple
from uuid import UUID

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit.errors import PermissionDenied

EVERYONE: Final = 1
INTERNAL: Final = 2


class CommentRow(NamedTuple):
    comment_id: str
    issue_id: str
    author_id: str
    visibility: int
    body: str
    revision: int
    external_source: str | None
    external_id: str | None
    deleted_at: int | None
    created_at: int
    updated_at: int
    version: int


class RevisionRow(NamedTuple):
    revision: int
    body: str
    replaced_at: int
    replaced_by: str | None


@dataclass(frozen=True, slots=True)
class NewComment:
    issue_id: UUID
    visibility: int
    body: str


def demand_right_to_change(*, is_author: bool, manages: bool) -> None:
    """Managers and above change anybody's comment, others their own."""
    if not (is_author or manages):
        raise PermissionDenied(
            ErrorReason.ROLE_TOO_LOW,
            "only its author, and managers and above, may change a comment",
            metadata={"least_role": "MANAGER"},
        )
