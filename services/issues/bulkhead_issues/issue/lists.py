"""Lists of issues: what they can be filtered and ordered by, and the SQL of their pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from bulkhead_kit.db import Query, QueryCache, Reader, fitting
from bulkhead_kit.filters import (
    ID,
    INTEGER,
    TEXT,
    TIMESTAMP,
    End,
    Ends,
    Filter,
    FilterField,
    FilterSchema,
    Order,
    OrderField,
    OrderSchema,
    Test,
    enum,
)
from bulkhead_kit.page_tokens import KeyValue
from sqlalchemy import BindParameter, ColumnElement, Select, bindparam, exists, literal_column, select

from bulkhead_issues.issue.columns import LONG, SELECT, TENANT
from bulkhead_issues.issue.rules import CATEGORIES, PRIORITIES, TYPES, IssueRow
from bulkhead_issues.store import ISSUE_LABELS, ISSUES, PROJECTS

_LISTS = QueryCache()


def _carries(test: Test, label_id: BindParameter[Any] | None) -> ColumnElement[bool]:
    carried = exists(literal_column("1")).where(
        ISSUE_LABELS.c.tenant_id == TENANT,
        ISSUE_LABELS.c.issue_id == ISSUES.c.issue_id,
        ISSUE_LABELS.c.removed_at.is_(None),
    )
    return carried if test == "present" else carried.where(ISSUE_LABELS.c.label_id == label_id)


_ME = frozenset(("me",))
FILTERS = FilterSchema(
    {
        "assignee_id": FilterField(ID, ISSUES.c.assignee_id, words=_ME),
        "reporter_id": FilterField(ID, ISSUES.c.reporter_id, words=_ME),
        "parent_id": FilterField(ID, ISSUES.c.parent_id),
        "status_id": FilterField(ID, ISSUES.c.status_id),
        "label_id": FilterField(ID, build=_carries),
        "status_category": FilterField(enum(CATEGORIES), ISSUES.c.status_category),
        "priority": FilterField(enum(PRIORITIES, ordered=True), ISSUES.c.priority),
        "type": FilterField(enum(TYPES), ISSUES.c.type),
        "number": FilterField(INTEGER, ISSUES.c.number),
        "create_time": FilterField(TIMESTAMP, ISSUES.c.created_at),
        "update_time": FilterField(TIMESTAMP, ISSUES.c.updated_at),
        "due_time": FilterField(TIMESTAMP, ISSUES.c.due_at),
        "resolve_time": FilterField(TIMESTAMP, ISSUES.c.resolved_at),
        "title": FilterField(TEXT, ISSUES.c.title),
    }
)
_TIMES = Ends(
    # PostgreSQL's infinities, and how they are sent: as microseconds since 2000.
    least=End(literal_column("timestamptz '-infinity'"), -(2**63)),
    greatest=End(literal_column("timestamptz 'infinity'"), 2**63 - 1),
)
ORDERS = OrderSchema(
    {
        "issue_id": OrderField(ISSUES.c.issue_id, "issue_id"),
        "update_time": OrderField(ISSUES.c.updated_at, "updated_at"),
        "create_time": OrderField(ISSUES.c.created_at, "created_at"),
        "number": OrderField(ISSUES.c.number, "number"),
        "priority": OrderField(ISSUES.c.priority, "priority"),
        "due_time": OrderField(ISSUES.c.due_at, "due_at", _TIMES),
    },
    default="update_time desc",
    unique="issue_id",
)


async def list_issues(
    tx: Reader,
    *,
    project_id: str,
    asked: Filter,
    order: Order,
    show_deleted: bool,
    after: Sequence[KeyValue] | None,
    limit: int,
) -> list[IssueRow]:
    shape = (bool(project_id), asked.shape, order.shape, show_deleted, after is not None)
    query = _LISTS.get(shape, lambda: _list(bool(project_id), asked, order, show_deleted, after is not None))
    return await tx.all(query, project_id=project_id, limit=limit, **asked.values, **order.values(after or ()))


def _list(of_project: bool, asked: Filter, order: Order, show_deleted: bool, after: bool) -> Query[IssueRow]:
    statement: Select[Any] = SELECT.where(*asked.conditions()).order_by(*order.clauses()).limit(bindparam("limit"))
    if of_project:
        statement = statement.where(ISSUES.c.project_id == bindparam("project_id"))
    if not show_deleted:
        statement = statement.where(ISSUES.c.deleted_at.is_(None))
    if after:
        statement = statement.where(order.beyond())
    return Query(fitting(statement, order.of, LONG), row=IssueRow)


class _Found(NamedTuple):
    found: int


_PROJECT_EXISTS = Query(
    select(literal_column("1").label("found")).where(
        PROJECTS.c.tenant_id == TENANT,
        PROJECTS.c.project_id == bindparam("project_id"),
        PROJECTS.c.deleted_at.is_(None),
    ),
    row=_Found,
)


async def project_exists(tx: Reader, project_id: str) -> bool:
    return await tx.one_or_none(_PROJECT_EXISTS, project_id=project_id) is not None
