"""The SQL of issues one by one: read, made and changed. Lists are in lists.py, the past is in history.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from bulkhead_kit.db import Id, Query, QueryCache, Reader, Transaction, fitting
from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.structs import too_deep
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Integer,
    and_,
    any_,
    bindparam,
    func,
    insert,
    null,
    or_,
    update,
)

from bulkhead_issues.issue.columns import INSERTED, LONG, SELECT, TENANT, WRITTEN
from bulkhead_issues.issue.rules import DAYS_KEPT, IssueRow, NewIssue
from bulkhead_issues.store import ISSUES, PROJECTS

_ISSUE_ID = bindparam("issue_id", type_=Id)
VALUES = (
    "type",
    "title",
    "description",
    "priority",
    "parent_id",
    "estimate_minutes",
    "spent_minutes",
    "start_at",
    "due_at",
    "metadata",
)
"""What Create and Update write."""

_THIS = and_(ISSUES.c.tenant_id == TENANT, ISSUES.c.issue_id == _ISSUE_ID)
_THIS_LIVE = and_(_THIS, ISSUES.c.deleted_at.is_(None))
_REFUSE = {
    "issues_tenant_id_assignee_id_fkey": lambda: InvalidArgument.reference("issue.assignee_id", "member"),
    "issues_due_at_check": lambda: InvalidArgument.field("issue.due_time", "must not be before start_time"),
    "issues_metadata_check": lambda: InvalidArgument.field("issue.metadata", "is too long"),
    "issues_metadata_depth_check": lambda: too_deep("issue.metadata"),
}

_GET = Query(SELECT.where(ISSUES.c.issue_id == _ISSUE_ID), row=IssueRow)
_GET_BY_KEY = Query(
    SELECT.where(PROJECTS.c.key == bindparam("key"), ISSUES.c.number == bindparam("number", type_=BigInteger)),
    row=IssueRow,
)
_GET_SEVERAL = Query(
    fitting(
        SELECT.where(ISSUES.c.issue_id == any_(bindparam("issue_ids", type_=ARRAY(Id)))),
        lambda page: [page["issue_id"]],
        LONG,
    ),
    row=IssueRow,
)


async def load(tx: Reader, issue_id: UUID | str) -> IssueRow | None:
    return await tx.one_or_none(_GET, issue_id=issue_id)


async def load_by_key(tx: Reader, project_key: str, number: int) -> IssueRow | None:
    return await tx.one_or_none(_GET_BY_KEY, key=project_key, number=number)


async def load_several(tx: Reader, issue_ids: Sequence[str]) -> list[IssueRow]:
    """Without those that no longer fit into one message: then the others are too much for it already."""
    return await tx.all(_GET_SEVERAL, issue_ids=issue_ids)


# Changes. Each answers with the row as it is afterwards, and with None when it touched none.

_INSERT = Query(
    insert(ISSUES)
    .values(
        {name: bindparam(name) for name in ("tenant_id", "issue_id", "project_id", "status_id", "assignee_id", *VALUES)}
        | {"reporter_id": bindparam("caller_id")}
    )
    .returning(*INSERTED),
    row=IssueRow,
    refuse=_REFUSE,
)
_UPDATES = QueryCache()


async def add(tx: Transaction, issue_id: UUID, new: NewIssue) -> IssueRow:
    return await tx.one(
        _INSERT,
        issue_id=issue_id,
        project_id=new.project_id,
        status_id=new.status_id,
        assignee_id=new.assignee_id,
        **new.values,
    )


async def update_fields(
    tx: Transaction, issue_id: UUID, values: Mapping[str, Any], version: int | None
) -> IssueRow | None:
    query = _UPDATES.get((*sorted(values), version is None), lambda: _update(sorted(values), version is not None))
    return await tx.one_or_none(query, issue_id=issue_id, version=version, **values)


def _update(columns: list[str], of_version: bool) -> Query[IssueRow]:
    statement = update(ISSUES).where(_THIS_LIVE).values({name: bindparam(name) for name in columns})
    if of_version:
        statement = statement.where(ISSUES.c.version == bindparam("version"))
    return Query(statement.returning(*WRITTEN), row=IssueRow, refuse=_REFUSE)


_ANY_VERSION = or_(bindparam("version", type_=Integer).is_(None), ISSUES.c.version == bindparam("version"))
_TRANSITION = Query(
    update(ISSUES)
    .where(_THIS_LIVE, _ANY_VERSION, ISSUES.c.status_id != bindparam("status_id"))
    .values(status_id=bindparam("status_id"))
    .returning(*WRITTEN),
    row=IssueRow,
)
_ASSIGN = Query(
    update(ISSUES)
    .where(_THIS_LIVE, _ANY_VERSION, ISSUES.c.assignee_id.is_distinct_from(bindparam("assignee_id", type_=Id)))
    .values(assignee_id=bindparam("assignee_id"))
    .returning(*WRITTEN),
    row=IssueRow,
    refuse={"issues_tenant_id_assignee_id_fkey": lambda: InvalidArgument.reference("assignee_id", "member")},
)
_DELETE = Query(
    update(ISSUES).where(_THIS_LIVE, _ANY_VERSION).values(deleted_at=func.now()).returning(*WRITTEN), row=IssueRow
)
_UNDELETE = Query(
    update(ISSUES)
    .where(_THIS, ISSUES.c.deleted_at > func.now() - func.make_interval(0, 0, 0, DAYS_KEPT))
    .values(deleted_at=null())
    .returning(*WRITTEN),
    row=IssueRow,
)


async def transition(tx: Transaction, issue_id: UUID, status_id: UUID, version: int | None) -> IssueRow | None:
    return await tx.one_or_none(_TRANSITION, issue_id=issue_id, status_id=status_id, version=version)


async def assign(tx: Transaction, issue_id: UUID, assignee_id: UUID | None, version: int | None) -> IssueRow | None:
    return await tx.one_or_none(_ASSIGN, issue_id=issue_id, assignee_id=assignee_id, version=version)


async def delete(tx: Transaction, issue_id: UUID, version: int | None) -> IssueRow | None:
    return await tx.one_or_none(_DELETE, issue_id=issue_id, version=version)


async def undelete(tx: Transaction, issue_id: UUID) -> IssueRow | None:
    return await tx.one_or_none(_UNDELETE, issue_id=issue_id)


# The labels are part of the issue: its etag and its update_time say that they changed.
_TOUCH = Query(update(ISSUES).where(_THIS_LIVE).values(updated_at=func.now()).returning(*WRITTEN), row=IssueRow)


async def touch(tx: Transaction, issue_id: UUID) -> IssueRow | None:
    return await tx.one_or_none(_TOUCH, issue_id=issue_id)
