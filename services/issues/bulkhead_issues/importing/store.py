"""The SQL of an import, which brings times and numbers of its own. Each issue is one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from bulkhead_kit.db import Id, Query, Reader, Time, Transaction, unnested
from bulkhead_kit.errors import AlreadyExists
from sqlalchemy import (
    ARRAY,
    LargeBinary,
    SmallInteger,
    Text,
    all_,
    and_,
    any_,
    bindparam,
    func,
    literal_column,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.types import TypeEngine

from bulkhead_issues.importing.rules import Comment, CommentHere, Issue, IssueHere
from bulkhead_issues.refusals import conflict
from bulkhead_issues.store import COMMENTS, ISSUE_LABELS, ISSUES, LABELS

_TENANT = bindparam("tenant_id", type_=Id)
_SOURCE = bindparam("source", type_=Text)
_REFUSE = {
    "issues_tenant_id_project_id_number_key": lambda: AlreadyExists.field("number", "another issue has this number"),
    # The same item in two imports at once.
    "issues_tenant_id_external_key": conflict,
    "comments_tenant_id_external_key": conflict,
}

_FIND_ISSUES = Query(
    select(*(ISSUES.c[name] for name in IssueHere._fields)).where(
        ISSUES.c.tenant_id == _TENANT,
        or_(
            and_(ISSUES.c.external_source == _SOURCE, ISSUES.c.external_id == bindparam("external_id")),
            and_(ISSUES.c.project_id == bindparam("project_id"), ISSUES.c.number == bindparam("number")),
        ),
    ),
    row=IssueHere,
)
_FIND_COMMENTS = Query(
    select(*(COMMENTS.c[name] for name in CommentHere._fields)).where(
        COMMENTS.c.tenant_id == _TENANT,
        COMMENTS.c.external_source == _SOURCE,
        COMMENTS.c.external_id == any_(bindparam("external_ids", type_=ARRAY(Text))),
    ),
    row=CommentHere,
)


class _LabelHere(NamedTuple):
    label_id: str
    name: str


_asked = unnested({"name": Text()})
_asked_key = func.lower(func.normalize(_asked.c.name, literal_column("nfkc")))
# Compared as the table compares names: without case and width.
_FIND_LABELS = Query(
    select(LABELS.c.label_id, _asked.c.name.label("name")).where(
        LABELS.c.tenant_id == _TENANT,
        LABELS.c.name_key == _asked_key,
    ),
    row=_LabelHere,
)


async def find(tx: Reader, *, source: str, project_id: str, item: Issue) -> tuple[list[IssueHere], list[CommentHere]]:
    """What is here of the item, and what has its number."""
    return await tx.together(
        _FIND_ISSUES.bind(source=source, external_id=item.external_id, project_id=project_id, number=item.number),
        _FIND_COMMENTS.bind(source=source, external_ids=[comment.external_id for comment in item.comments]),
    )


async def find_labels(tx: Reader, names: Sequence[str]) -> dict[str, str]:
    """The ids of those labels that there are, by the name asked for."""
    return {row.name: row.label_id for row in await tx.all(_FIND_LABELS, name=names)}


_ISSUE_COLUMNS = (
    "tenant_id",
    "issue_id",
    "project_id",
    "number",
    "type",
    "title",
    "description",
    "priority",
    "reporter_id",
    "assignee_id",
    "external_source",
    "external_id",
    "external_digest",
    "created_at",
    "updated_at",
)
_ADD_ISSUE: Query[Any] = Query(
    insert(ISSUES).values({name: bindparam(name) for name in _ISSUE_COLUMNS}), refuse=_REFUSE
)
_THIS = and_(ISSUES.c.tenant_id == _TENANT, ISSUES.c.issue_id == bindparam("issue_id", type_=Id))
_FIELDS = ("type", "title", "description", "priority", "assignee_id", "external_digest", "updated_at")
_WRITE_FIELDS: Query[Any] = Query(update(ISSUES).where(_THIS).values({name: bindparam(name) for name in _FIELDS}))
_MOVE: Query[Any] = Query(
    update(ISSUES)
    .where(_THIS)
    .values(status_id=bindparam("status_id"), resolved_at=bindparam("resolved_at"), updated_at=bindparam("updated_at"))
)
_put = unnested({"label_id": Id()})
_PUT_LABELS: Query[Any] = Query(
    insert(ISSUE_LABELS)
    .from_select(
        ["tenant_id", "issue_id", "label_id", "created_at", "updated_at"],
        select(
            _TENANT,
            bindparam("issue_id", type_=Id).label("issue_id"),
            _put.c.label_id.label("label_id"),
            bindparam("at", type_=Time).label("created_at"),
            bindparam("at", type_=Time).label("updated_at"),
        ),
    )
    .on_conflict_do_update(
        index_elements=["tenant_id", "issue_id", "label_id"],
        set_={"removed_at": null(), "updated_at": bindparam("at", type_=Time)},
        where=ISSUE_LABELS.c.removed_at.is_not(None),
    )
)
_TAKE_LABELS: Query[Any] = Query(
    update(ISSUE_LABELS)
    .where(
        ISSUE_LABELS.c.tenant_id == _TENANT,
        ISSUE_LABELS.c.issue_id == bindparam("issue_id", type_=Id),
        ISSUE_LABELS.c.removed_at.is_(None),
        ISSUE_LABELS.c.label_id != all_(bindparam("label_id", type_=ARRAY(Id))),
    )
    .values(removed_at=bindparam("at", type_=Time), updated_at=bindparam("at", type_=Time))
)
_COMMENT_COLUMNS: dict[str, TypeEngine[Any]] = {
    "comment_id": Id(),
    "author_id": Id(),
    "visibility": SmallInteger(),
    "body": Text(),
    "external_id": Text(),
    "external_digest": LargeBinary(),
    "created_at": Time(),
    "updated_at": Time(),
}
_comments = unnested(_COMMENT_COLUMNS)
_ADD_COMMENTS: Query[Any] = Query(
    insert(COMMENTS).from_select(
        ["tenant_id", "issue_id", "external_source", *_COMMENT_COLUMNS],
        select(
            _TENANT,
            bindparam("issue_id", type_=Id).label("issue_id"),
            _SOURCE.label("external_source"),
            *(_comments.c[name].label(name) for name in _COMMENT_COLUMNS),
        ),
    ),
    refuse=_REFUSE,
)
# The plan has looked at visibility and deletion, but not in this transaction.
_EDIT_COMMENT: Query[Any] = Query(
    update(COMMENTS)
    .where(
        COMMENTS.c.tenant_id == _TENANT,
        COMMENTS.c.comment_id == bindparam("comment_id", type_=Id),
        COMMENTS.c.visibility == bindparam("visibility", type_=SmallInteger),
        COMMENTS.c.deleted_at.is_(None),
    )
    .values(body=bindparam("body"), external_digest=bindparam("external_digest"), updated_at=bindparam("updated_at"))
)


def add_issue(
    tx: Transaction, issue_id: UUID, item: Issue, *, project_id: str, source: str, people: Mapping[str, str]
) -> None:
    tx.send(
        _ADD_ISSUE,
        issue_id=issue_id,
        project_id=project_id,
        number=item.number,
        reporter_id=people[item.author],
        external_source=source,
        external_id=item.external_id,
        created_at=item.created_at,
        **_fields(item, people),
    )


def write_fields(tx: Transaction, issue_id: UUID, item: Issue, people: Mapping[str, str]) -> None:
    tx.send(_WRITE_FIELDS, must_touch=conflict(), issue_id=issue_id, **_fields(item, people))


def _fields(item: Issue, people: Mapping[str, str]) -> dict[str, Any]:
    return {
        "type": item.type,
        "title": item.title,
        "description": item.description,
        "priority": item.priority,
        "assignee_id": people[item.assignee] if item.assignee else None,
        "external_digest": item.digest,
        "updated_at": item.updated_at,
    }


def move(tx: Transaction, issue_id: UUID, status_id: str, item: Issue) -> None:
    tx.send(
        _MOVE,
        must_touch=conflict(),
        issue_id=issue_id,
        status_id=status_id,
        resolved_at=item.closed_at,
        updated_at=item.updated_at,
    )


def put_labels(tx: Transaction, issue_id: UUID, label_ids: Sequence[str], at: datetime) -> None:
    tx.send(_PUT_LABELS, issue_id=issue_id, label_id=label_ids, at=at)


def take_other_labels(tx: Transaction, issue_id: UUID, label_ids: Sequence[str], at: datetime) -> None:
    tx.send(_TAKE_LABELS, issue_id=issue_id, label_id=label_ids, at=at)


def add_comments(
    tx: Transaction,
    issue_id: UUID,
    comments: Sequence[tuple[UUID, Comment]],
    *,
    source: str,
    people: Mapping[str, str],
) -> None:
    tx.send(
        _ADD_COMMENTS,
        issue_id=issue_id,
        source=source,
        comment_id=[comment_id for comment_id, _ in comments],
        author_id=[people[comment.author] for _, comment in comments],
        visibility=[comment.visibility for _, comment in comments],
        body=[comment.body for _, comment in comments],
        external_id=[comment.external_id for _, comment in comments],
        external_digest=[comment.digest for _, comment in comments],
        created_at=[comment.created_at for _, comment in comments],
        updated_at=[comment.updated_at for _, comment in comments],
    )


def edit_comment(tx: Transaction, comment_id: str, comment: Comment) -> None:
    tx.send(
        _EDIT_COMMENT,
        must_touch=conflict(),
        comment_id=comment_id,
        visibility=comment.visibility,
        body=comment.body,
        external_digest=comment.digest,
        updated_at=comment.updated_at,
    )
