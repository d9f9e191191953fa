"""Between comments and their messages."""

from __future__ import annotations

from typing import cast

from bulkhead.issues.v1 import comment_pb2, comment_service_pb2
from bulkhead_kit import texts, wire
from bulkhead_kit.etags import etag
from bulkhead_kit.ids import parse_id
from bulkhead_kit.masks import MutableFields

from bulkhead_issues.comment.rules import EVERYONE, CommentRow, NewComment, RevisionRow

_MUTABLE = MutableFields(comment_pb2.Comment, ["body"])


def comment(row: CommentRow) -> comment_pb2.Comment:
    return comment_pb2.Comment(
        comment_id=row.comment_id,
        issue_id=row.issue_id,
        author_id=row.author_id,
        visibility=cast("comment_pb2.Visibility.ValueType", row.visibility),
        body=row.body,
        revision=row.revision,
        external_source=row.external_source or "",
        external_id=row.external_id or "",
        create_time=wire.timestamp(row.created_at),
        update_time=wire.timestamp(row.updated_at),
        delete_time=wire.timestamp(row.deleted_at),
        etag=etag(row.version),
    )


def revision(row: RevisionRow) -> comment_pb2.CommentRevision:
    return comment_pb2.CommentRevision(
        revision=row.revision,
        body=row.body,
        replace_time=wire.timestamp(row.replaced_at),
        replaced_by_id=row.replaced_by or "",
    )


def new_comment(message: comment_pb2.Comment) -> NewComment:
    return NewComment(parse_id(message.issue_id, "comment.issue_id"), message.visibility or EVERYONE, _body(message))


def new_body(request: comment_service_pb2.UpdateCommentRequest) -> str | None:
    """None when the body is not to be written."""
    paths = _MUTABLE.to_write(request.comment, request.update_mask)
    return _body(request.comment) if "body" in paths else None


def _body(message: comment_pb2.Comment) -> str:
    return texts.body(message.body, "comment.body")
