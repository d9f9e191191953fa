"""The tables of comments and their revisions and all SQL on them.

Nothing here looks at visibility: the policies of both tables keep internal comments from viewers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from bulkhead_kit.db import Id, Query, QueryCache, Reader, Time, Transaction, fitting
from bulkhead_kit.page_tokens import KeyValue
from sqlalchemy import (
    Column,
    Integer,
    Select,
    SmallInteger,
    Table,
    Text,
    bindparam,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from bulkhead_issues.comment.rules import CommentRow, NewComment, RevisionRow
from bulkhead_issues.store import COMMENTS, ISSUES, METADATA

_REVISIONS = Table(
    "comment_revisions",
    METADATA,
    Column("tenant_id", Id, nullable=False),
    Column("comment_id", Id, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Column("replaced_at", Time, nullable=False),
    Column("replaced_by", Id),
)
_TENANT = bindparam("tenant_id", type_=Id)
_ROW = tuple(COMMENTS.c[name] for name in CommentRow._fields)
_THIS = (COMMENTS.c.tenant_id == _TENANT, COMMENTS.c.comment_id == bindparam("comment_id"))
_THIS_LIVE = (
    *_THIS,
    COMMENTS.c.deleted_at.is_(None),
    or_(bindparam("version", type_=Integer).is_(None), COMMENTS.c.version == bindparam("version")),
)

# Only on an issue that is there.
_INSERT = Query(
    insert(COMMENTS)
    .from_select(
        ["tenant_id", "comment_id", "issue_id", "author_id", "visibility", "body"],
        select(
            _TENANT,
            bindparam("comment_id", type_=Id).label("comment_id"),
            ISSUES.c.issue_id.label("issue_id"),
            bindparam("caller_id", type_=Id).label("author_id"),
            bindparam("visibility", type_=SmallInteger).label("visibility"),
            bindparam("body", type_=Text).label("body"),
        ).where(
            ISSUES.c.tenant_id == _TENANT, ISSUES.c.issue_id == bindparam("issue_id"), ISSUES.c.deleted_at.is_(None)
        ),
    )
    .returning(*_ROW),
    row=CommentRow,
)
_GET = Query(select(*_ROW).where(*_THIS), row=CommentRow)
_EDIT = Query(
    update(COMMENTS).where(*_THIS_LIVE).values(body=bindparam("body")).returning(*_ROW),
    row=CommentRow,
)
_DELETE = Query(
    update(COMMENTS).where(*_THIS_LIVE).values(deleted_at=func.now()).returning(*_ROW),
    row=CommentRow,
)
_LISTS = QueryCache()
_LIST_REVISIONS = Query(
    fitting(
        select(*(_REVISIONS.c[name] for name in RevisionRow._fields))
        .where(
            _REVISIONS.c.tenant_id == _TENANT,
            _REVISIONS.c.comment_id == bindparam("comment_id"),
            _REVISIONS.c.revision < bindparam("before"),
        )
        .order_by(_REVISIONS.c.revision.desc())
        .limit(bindparam("limit")),
        lambda page: [page["revision"].desc()],
        ("body",),
    ),
    row=RevisionRow,
)
_LAST_REVISION = 2**31 - 1
_ISSUE_EXISTS: Query[Any] = Query(
    select(ISSUES.c.issue_id).where(ISSUES.c.tenant_id == _TENANT, ISSUES.c.issue_id == bindparam("issue_id"))
)


async def add(tx: Transaction, comment_id: UUID, new: NewComment) -> CommentRow | None:
    """None when there is no such issue."""
    return await tx.one_or_none(
        _INSERT, comment_id=comment_id, issue_id=new.issue_id, visibility=new.visibility, body=new.body
    )


async def load(tx: Reader, comment_id: UUID | str) -> CommentRow | None:
    return await tx.one_or_none(_GET, comment_id=comment_id)


async def edit(tx: Transaction, comment_id: UUID, body: str, version: int | None) -> CommentRow | None:
    return await tx.one_or_none(_EDIT, comment_id=comment_id, body=body, version=version)


async def delete(tx: Transaction, comment_id: UUID, version: int | None) -> CommentRow | None:
    return await tx.one_or_none(_DELETE, comment_id=comment_id, version=version)


async def list_comments(
    tx: Reader, issue_id: str, *, show_deleted: bool, after: Sequence[KeyValue] | None, limit: int
) -> list[CommentRow]:
    query = _LISTS.get((show_deleted, after is None), lambda: _list(show_deleted, after is not None))
    created_at, comment_id = after or (None, None)
    return await tx.all(query, issue_id=issue_id, created_at=created_at, comment_id=comment_id, limit=limit)


def _list(show_deleted: bool, after: bool) -> Query[CommentRow]:
    statement: Select[Any] = (
        select(*_ROW)
        .where(COMMENTS.c.tenant_id == _TENANT, COMMENTS.c.issue_id == bindparam("issue_id"))
        .order_by(COMMENTS.c.created_at, COMMENTS.c.comment_id)
        .limit(bindparam("limit"))
    )
    if not show_deleted:
        statement = statement.where(COMMENTS.c.deleted_at.is_(None))
    if after:
        last = tuple_(bindparam("created_at", type_=Time), bindparam("comment_id", type_=Id))
        statement = statement.where(tuple_(COMMENTS.c.created_at, COMMENTS.c.comment_id) > last)
    statement = fitting(statement, lambda page: [page["created_at"], page["comment_id"]], ("body",))
    return Query(statement, row=CommentRow)


async def list_revisions(
    tx: Reader, comment_id: str, *, after: Sequence[KeyValue] | None, limit: int
) -> list[RevisionRow]:
    (revision,) = after or (_LAST_REVISION,)
    return await tx.all(_LIST_REVISIONS, comment_id=comment_id, before=revision, limit=limit)


async def issue_exists(tx: Reader, issue_id: str) -> bool:
    return bool(await tx.all(_ISSUE_EXISTS, issue_id=issue_id))
