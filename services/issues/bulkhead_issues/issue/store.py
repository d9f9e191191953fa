"""The tables of issues and their labels, and all SQL on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from bulkhead_kit.db import Id, Query, QueryCache, Reader, Time, Transaction, fitting
from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.filters import (
    ID,
    INTEGER,
    TEXT,
    TIMESTAMP,
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
from sqlalchemy import (
    ARRAY,
    BigInteger,
    BindParameter,
    ColumnElement,
    Integer,
    Select,
    Text,
    and_,
    any_,
    bindparam,
    cast,
    exists,
    func,
    insert,
    literal,
    literal_column,
    null,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from bulkhead_issues.issue.rules import CATEGORIES, PRIORITIES, TYPES, IssueRow, NewIssue
from bulkhead_issues.store import ISSUE_LABELS, ISSUES, PROJECTS

_TENANT = bindparam("tenant_id", type_=Id)
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

# The labels come with the issue, in the same round trip and for any number of rows.
_LABEL_IDS = (
    select(
        func.string_agg(cast(ISSUE_LABELS.c.label_id, Text), aggregate_order_by(literal(","), ISSUE_LABELS.c.label_id))
    )
    .where(
        ISSUE_LABELS.c.tenant_id == _TENANT,
        ISSUE_LABELS.c.issue_id == ISSUES.c.issue_id,
        ISSUE_LABELS.c.removed_at.is_(None),
    )
    .correlate(ISSUES)
    .scalar_subquery()
)
_KEY = (
    select(PROJECTS.c.key)
    .where(PROJECTS.c.tenant_id == _TENANT, PROJECTS.c.project_id == ISSUES.c.project_id)
    .correlate(ISSUES)
    .scalar_subquery()
)
_MADE = {
    "project_key": _KEY.label("project_key"),
    "label_ids": _LABEL_IDS.label("label_ids"),
    # Most have none; null is cheaper to read than {}.
    "metadata": func.nullif(ISSUES.c.metadata, literal_column("'{}'::jsonb", JSONB), type_=JSONB).label("metadata"),
}
_WRITTEN = tuple(_MADE[name] if name in _MADE else ISSUES.c[name] for name in IssueRow._fields)
_READ = tuple(
    PROJECTS.c.key.label(name) if name == "project_key" else column
    for name, column in zip(IssueRow._fields, _WRITTEN, strict=True)
)
_SELECT = (
    select(*_READ)
    .join_from(ISSUES, PROJECTS, and_(PROJECTS.c.tenant_id == _TENANT, PROJECTS.c.project_id == ISSUES.c.project_id))
    # A deleted project hides its issues.
    .where(ISSUES.c.tenant_id == _TENANT, PROJECTS.c.deleted_at.is_(None))
)
_THIS = and_(ISSUES.c.tenant_id == _TENANT, ISSUES.c.issue_id == _ISSUE_ID)
_THIS_LIVE = and_(_THIS, ISSUES.c.deleted_at.is_(None))
_REFUSE = {
    "issues_tenant_id_assignee_id_fkey": lambda: InvalidArgument.reference("issue.assignee_id", "member"),
    "issues_due_at_check": lambda: InvalidArgument.field("issue.due_time", "must not be before start_time"),
    "issues_metadata_check": lambda: InvalidArgument.field("issue.metadata", "is too long"),
}

_GET = Query(_SELECT.where(ISSUES.c.issue_id == _ISSUE_ID), row=IssueRow)
_GET_BY_KEY = Query(
    _SELECT.where(PROJECTS.c.key == bindparam("key"), ISSUES.c.number == bindparam("number", type_=BigInteger)),
    row=IssueRow,
)
_LONG = ("description", "metadata")
_GET_SEVERAL = Query(
    fitting(
        _SELECT.where(ISSUES.c.issue_id == any_(bindparam("issue_ids", type_=ARRAY(Id)))),
        lambda page: [page["issue_id"]],
        _LONG,
    ),
    row=IssueRow,
)
_LISTS = QueryCache()


async def load(tx: Reader, issue_id: UUID | str) -> IssueRow | None:
    return await tx.one_or_none(_GET, issue_id=issue_id)


async def load_by_key(tx: Reader, project_key: str, number: int) -> IssueRow | None:
    return await tx.one_or_none(_GET_BY_KEY, key=project_key, number=number)


async def load_several(tx: Reader, issue_ids: Sequence[str]) -> list[IssueRow]:
    """Without those that no longer fit into one message: then the others are too much for it already."""
    return await tx.all(_GET_SEVERAL, issue_ids=issue_ids)


def _carries(test: Test, label_id: BindParameter[Any] | None) -> ColumnElement[bool]:
    carried = exists(literal_column("1")).where(
        ISSUE_LABELS.c.tenant_id == _TENANT,
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
_NEVER = 2**63 - 1
"""PostgreSQL's infinity as microseconds since 2000."""
ORDERS = OrderSchema(
    {
        "issue_id": OrderField(ISSUES.c.issue_id, "issue_id"),
        "update_time": OrderField(ISSUES.c.updated_at, "updated_at"),
        "create_time": OrderField(ISSUES.c.created_at, "created_at"),
        "number": OrderField(ISSUES.c.number, "number"),
        "priority": OrderField(ISSUES.c.priority, "priority"),
        "due_time": OrderField(
            func.coalesce(ISSUES.c.due_at, literal_column("timestamptz 'infinity'"), type_=Time), "due_at", _NEVER
        ),
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
    statement: Select[Any] = _SELECT.where(*asked.conditions()).order_by(*order.clauses()).limit(bindparam("limit"))
    if of_project:
        statement = statement.where(ISSUES.c.project_id == bindparam("project_id"))
    if not show_deleted:
        statement = statement.where(ISSUES.c.deleted_at.is_(None))
    if after:
        statement = statement.where(order.beyond())
    return Query(fitting(statement, order.of, _LONG), row=IssueRow)


class _Found(NamedTuple):
    found: int


_PROJECT_EXISTS = Query(
    select(literal_column("1").label("found")).where(
        PROJECTS.c.tenant_id == _TENANT,
        PROJECTS.c.project_id == bindparam("project_id"),
        PROJECTS.c.deleted_at.is_(None),
    ),
    row=_Found,
)


async def project_exists(tx: Reader, project_id: str) -> bool:
    return await tx.one_or_none(_PROJECT_EXISTS, project_id=project_id) is not None


# Changes. Each answers with the row as it is afterwards, and with None when it touched none.

# A new row is no row of the table yet, as far as sub-selects of RETURNING are concerned.
_INSERTED = tuple(
    {
        "project_key": select(PROJECTS.c.key)
        .where(PROJECTS.c.tenant_id == _TENANT, PROJECTS.c.project_id == bindparam("project_id"))
        .scalar_subquery()
        .label("project_key"),
        "label_ids": null().cast(Text).label("label_ids"),
    }.get(name, column)
    for name, column in zip(IssueRow._fields, _WRITTEN, strict=True)
)
_INSERT = Query(
    insert(ISSUES)
    .values(
        {name: bindparam(name) for name in ("tenant_id", "issue_id", "project_id", "status_id", "assignee_id", *VALUES)}
        | {"reporter_id": bindparam("caller_id")}
    )
    .returning(*_INSERTED),
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
    return Query(statement.returning(*_WRITTEN), row=IssueRow, refuse=_REFUSE)


_ANY_VERSION = or_(bindparam("version", type_=Integer).is_(None), ISSUES.c.version == bindparam("version"))
_TRANSITION = Query(
    update(ISSUES)
    .where(_THIS_LIVE, _ANY_VERSION, ISSUES.c.status_id != bindparam("status_id"))
    .values(status_id=bindparam("status_id"))
    .returning(*_WRITTEN),
    row=IssueRow,
)
_ASSIGN = Query(
    update(ISSUES)
    .where(_THIS_LIVE, _ANY_VERSION, ISSUES.c.assignee_id.is_distinct_from(bindparam("assignee_id", type_=Id)))
    .values(assignee_id=bindparam("assignee_id"))
    .returning(*_WRITTEN),
    row=IssueRow,
    refuse={"issues_tenant_id_assignee_id_fkey": lambda: InvalidArgument.reference("assignee_id", "member")},
)
_DELETE = Query(
    update(ISSUES).where(_THIS_LIVE, _ANY_VERSION).values(deleted_at=func.now()).returning(*_WRITTEN), row=IssueRow
)
_UNDELETE = Query(
    update(ISSUES)
    .where(_THIS, ISSUES.c.deleted_at > func.now() - text("interval '30 days'"))
    .values(deleted_at=null())
    .returning(*_WRITTEN),
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
_TOUCH = Query(update(ISSUES).where(_THIS_LIVE).values(updated_at=func.now()).returning(*_WRITTEN), row=IssueRow)


async def touch(tx: Transaction, issue_id: UUID) -> IssueRow | None:
    return await tx.one_or_none(_TOUCH, issue_id=issue_id)
