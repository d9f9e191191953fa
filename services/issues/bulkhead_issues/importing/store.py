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
    Boolean,
    LargeBinary,
    SmallInteger,
    Text,
    all_,
    and_,
    any_,
    bindparam,
    func,
    null,
    or_,
    select,
    union,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.types import TypeEngine

from bulkhead_issues.importing.matching import CommentHere
from bulkhead_issues.importing.plan import Edit, IssueHere
from bulkhead_issues.importing.rules import Comment, Issue, Options
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

# An id that is global is looked for under every source.
_IS_ITEM = and_(
    ISSUES.c.external_id == bindparam("external_id", type_=Text),
    or_(ISSUES.c.external_source == _SOURCE, bindparam("global_id", type_=Boolean)),
)
_FIND_ISSUES = Query(
    select(*(ISSUES.c[name] for name in IssueHere._fields)).where(
        ISSUES.c.tenant_id == _TENANT,
        or_(
            _IS_ITEM,
            and_(ISSUES.c.project_id == bindparam("project_id"), ISSUES.c.number == bindparam("number")),
        ),
    ),
    row=IssueHere,
)
_BODY_DIGEST = func.coalesce(COMMENTS.c.external_body_digest, func.sha256(func.convert_to(COMMENTS.c.body, "UTF8")))
_COMMENT_HERE = select(
    *(
        _BODY_DIGEST.label(name) if name == "body_digest" else COMMENTS.c[name].label(name)
        for name in CommentHere._fields
    )
).where(COMMENTS.c.tenant_id == _TENANT, COMMENTS.c.external_id.is_not(None))
# Those of the item, and those of its names that are another issue's.
_FIND_COMMENTS = Query(
    union(
        _COMMENT_HERE.where(
            COMMENTS.c.issue_id.in_(select(ISSUES.c.issue_id).where(ISSUES.c.tenant_id == _TENANT, _IS_ITEM))
        ),
        _COMMENT_HERE.where(
            COMMENTS.c.external_source == _SOURCE,
            COMMENTS.c.external_id == any_(bindparam("external_ids", type_=ARRAY(Text))),
        ),
    ),
    row=CommentHere,
)


class _LabelHere(NamedTuple):
    label_id: str
    name: str


_asked = unnested({"name": Text()})
_asked_key = func.app.fold(_asked.c.name)
# Compared as the table compares names.
_FIND_LABELS = Query(
    select(LABELS.c.label_id, _asked.c.name.label("name")).where(
        LABELS.c.tenant_id == _TENANT,
        LABELS.c.name_key == _asked_key,
    ),
    row=_LabelHere,
)


async def find(tx: Reader, options: Options, item: Issue) -> tuple[list[IssueHere], list[CommentHere]]:
    """What is here of the item, and what has its number."""
    asked = {"source": options.source, "external_id": item.external_id, "global_id": item.global_id}
    names = [comment.external_id for comment in item.comments if comment.external_id]
    return await tx.together(
        _FIND_ISSUES.bind(**asked, project_id=options.project_id, number=item.number),
        _FIND_COMMENTS.bind(**asked, external_ids=names),
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
_FIELDS = ("type", "title", "description", "priority", "reporter_id", "assignee_id", "external_digest", "updated_at")
# Of two imports at once the second finds that the item is not any more what it planned upon.
_WRITE_FIELDS: Query[Any] = Query(
    update(ISSUES)
    .where(_THIS, ISSUES.c.external_digest.is_not_distinct_from(bindparam("seen", type_=LargeBinary)))
    .values({name: bindparam(name) for name in _FIELDS})
)
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
    "external_body_digest": LargeBinary(),
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
_EDITED = ("body", "author_id", "external_digest", "external_body_digest", "updated_at")
# The plan has looked at visibility and deletion, but not in this transaction.
_EDIT_COMMENT: Query[Any] = Query(
    update(COMMENTS)
    .where(
        COMMENTS.c.tenant_id == _TENANT,
        COMMENTS.c.comment_id == bindparam("comment_id", type_=Id),
        COMMENTS.c.visibility == bindparam("visibility", type_=SmallInteger),
        COMMENTS.c.deleted_at.is_(None),
        COMMENTS.c.external_digest.is_not_distinct_from(bindparam("seen", type_=LargeBinary)),
    )
    .values({name: bindparam(name) for name in _EDITED})
)
# No change for people, so no event.
_MARK_GONE: Query[Any] = Query(
    update(COMMENTS)
    .where(
        COMMENTS.c.tenant_id == _TENANT,
        COMMENTS.c.comment_id == any_(bindparam("comment_ids", type_=ARRAY(Id))),
        COMMENTS.c.external_digest.is_not(None),
    )
    .values(external_digest=null())
)


def add_issue(
    tx: Transaction, issue_id: UUID, item: Issue, *, project_id: str, source: str, people: Mapping[str, str]
) -> None:
    tx.send(
        _ADD_ISSUE,
        issue_id=issue_id,
        project_id=project_id,
        number=item.number,
        external_source=source,
        external_id=item.external_id,
        created_at=item.created_at,
        **_fields(item, people),
    )


def write_fields(
    tx: Transaction, issue_id: UUID, item: Issue, people: Mapping[str, str], *, seen: bytes | None
) -> None:
    tx.send(_WRITE_FIELDS, must_touch=conflict(), issue_id=issue_id, seen=seen, **_fields(item, people))


def _fields(item: Issue, people: Mapping[str, str]) -> dict[str, Any]:
    return {
        "type": item.type,
        "title": item.title,
        "description": item.description,
        "priority": item.priority,
        "reporter_id": people[item.author],
        "assignee_id": people[item.assignee] if item.assignee else None,
        "external_digest": item.digest,
        "updated_at": item.updated_at,
    }


def move(tx: Transaction, issue_id: UUID, status_id: str, resolved_at: datetime | None, at: datetime) -> None:
    tx.send(
        _MOVE,
        must_touch=conflict(),
        issue_id=issue_id,
        status_id=status_id,
        resolved_at=resolved_at,
        updated_at=at,
    )


def put_labels(tx: Transaction, issue_id: UUID, label_ids: Sequence[str], at: datetime) -> None:
    tx.send(_PUT_LABELS, issue_id=issue_id, label_id=label_ids, at=at)


def take_other_labels(tx: Transaction, issue_id: UUID, label_ids: Sequence[str], at: datetime) -> None:
    tx.send(_TAKE_LABELS, issue_id=issue_id, label_id=label_ids, at=at)


def add_comments(
    tx: Transaction,
    issue_id: UUID,
    comments: Sequence[tuple[UUID, str, Comment]],
    *,
    source: str,
    people: Mapping[str, str],
) -> None:
    tx.send(
        _ADD_COMMENTS,
        issue_id=issue_id,
        source=source,
        comment_id=[comment_id for comment_id, _, _ in comments],
        author_id=[people[comment.author] for _, _, comment in comments],
        visibility=[comment.visibility for _, _, comment in comments],
        body=[comment.body for _, _, comment in comments],
        external_id=[name for _, name, _ in comments],
        external_digest=[comment.digest for _, _, comment in comments],
        external_body_digest=[comment.body_digest for _, _, comment in comments],
        created_at=[comment.created_at for _, _, comment in comments],
        updated_at=[comment.updated_at for _, _, comment in comments],
    )


def edit_comment(tx: Transaction, edit: Edit, people: Mapping[str, str]) -> None:
    comment = edit.comment
    tx.send(
        _EDIT_COMMENT,
        must_touch=conflict(),
        comment_id=edit.comment_id,
        seen=edit.seen,
        visibility=comment.visibility,
        body=comment.body,
        author_id=people[comment.author],
        external_digest=comment.digest,
        external_body_digest=comment.body_digest,
        updated_at=comment.updated_at,
    )


def mark_gone(tx: Transaction, comment_ids: Sequence[str]) -> None:
    tx.send(_MARK_GONE, comment_ids=comment_ids)
