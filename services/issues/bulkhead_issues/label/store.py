"""The table of labels and all SQL on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from bulkhead_kit.db import Id, Query, QueryCache, Reader, Transaction
from bulkhead_kit.errors import AlreadyExists, NotFound
from bulkhead_kit.page_tokens import KeyValue
from sqlalchemy import ARRAY, and_, any_, bindparam, func, null, select, update
from sqlalchemy.dialects.postgresql import insert

from bulkhead_issues.label.rules import LabelRow, NewLabel
from bulkhead_issues.store import ISSUE_LABELS, LABELS

_ROW = tuple(LABELS.c[name] for name in LabelRow._fields)
_THIS = and_(LABELS.c.tenant_id == bindparam("tenant_id"), LABELS.c.label_id == bindparam("label_id"))
_REFUSE = {"labels_tenant_id_name_key_key": lambda: AlreadyExists.field("label.name", "another label has this name")}

_INSERT = Query(
    insert(LABELS)
    .values({name: bindparam(name) for name in ("tenant_id", "label_id", "name", "description", "color")})
    .returning(*_ROW),
    row=LabelRow,
    refuse=_REFUSE,
)
_GET = Query(select(*_ROW).where(_THIS), row=LabelRow)
_ARCHIVE = Query(
    update(LABELS).where(_THIS, LABELS.c.archived_at.is_(None)).values(archived_at=func.now()).returning(*_ROW),
    row=LabelRow,
)
_UNARCHIVE = Query(
    update(LABELS).where(_THIS, LABELS.c.archived_at.is_not(None)).values(archived_at=null()).returning(*_ROW),
    row=LabelRow,
)
_LISTS = QueryCache()
_UPDATES = QueryCache()


async def add(tx: Transaction, label_id: UUID, new: NewLabel) -> LabelRow:
    return await tx.one(_INSERT, label_id=label_id, name=new.name, description=new.description, color=new.color)


async def load(tx: Reader, label_id: UUID | str) -> LabelRow | None:
    return await tx.one_or_none(_GET, label_id=label_id)


async def update_fields(
    tx: Transaction, label_id: UUID, values: Mapping[str, str], version: int | None
) -> LabelRow | None:
    """None when there is no such label, or not of that version."""
    query = _UPDATES.get((*sorted(values), version is None), lambda: _update(sorted(values), version is not None))
    return await tx.one_or_none(query, label_id=label_id, version=version, **values)


def _update(columns: list[str], of_version: bool) -> Query[LabelRow]:
    statement = update(LABELS).where(_THIS).values({name: bindparam(name) for name in columns})
    if of_version:
        statement = statement.where(LABELS.c.version == bindparam("version"))
    return Query(statement.returning(*_ROW), row=LabelRow, refuse=_REFUSE)


async def archive(tx: Transaction, label_id: UUID) -> LabelRow | None:
    """None when there is nothing to do."""
    return await tx.one_or_none(_ARCHIVE, label_id=label_id)


async def unarchive(tx: Transaction, label_id: UUID) -> LabelRow | None:
    """None when there is nothing to do."""
    return await tx.one_or_none(_UNARCHIVE, label_id=label_id)


async def list_labels(
    tx: Reader, *, show_archived: bool, after: tuple[KeyValue, ...] | None, limit: int
) -> list[LabelRow]:
    query = _LISTS.get((show_archived, after is None), lambda: _list(show_archived, after is not None))
    (name_key,) = after or ("",)
    return await tx.all(query, after=name_key, limit=limit)


def _list(show_archived: bool, after: bool) -> Query[LabelRow]:
    statement = select(*_ROW).where(LABELS.c.tenant_id == bindparam("tenant_id"))
    if not show_archived:
        statement = statement.where(LABELS.c.archived_at.is_(None))
    if after:
        statement = statement.where(LABELS.c.name_key > bindparam("after"))
    return Query(statement.order_by(LABELS.c.name_key).limit(bindparam("limit")), row=LabelRow)


# Labels on issues.

_PUT: Query[Any] = Query(
    insert(ISSUE_LABELS)
    .from_select(
        ["tenant_id", "issue_id", "label_id"],
        select(LABELS.c.tenant_id, bindparam("issue_id", type_=Id), LABELS.c.label_id.label("label_id")).where(
            _THIS, LABELS.c.archived_at.is_(None)
        ),
    )
    .on_conflict_do_update(
        index_elements=["tenant_id", "issue_id", "label_id"],
        set_={"removed_at": null()},
        where=ISSUE_LABELS.c.removed_at.is_not(None),
    ),
    refuse={"issue_labels_tenant_id_issue_id_fkey": lambda: NotFound("issue")},
)
_PUT_SEVERAL: Query[Any] = Query(
    insert(ISSUE_LABELS).from_select(
        ["tenant_id", "issue_id", "label_id"],
        select(LABELS.c.tenant_id, bindparam("issue_id", type_=Id), LABELS.c.label_id.label("label_id")).where(
            LABELS.c.tenant_id == bindparam("tenant_id"),
            LABELS.c.label_id == any_(bindparam("label_ids", type_=ARRAY(Id))),
            LABELS.c.archived_at.is_(None),
        ),
    )
)
_TAKE: Query[Any] = Query(
    update(ISSUE_LABELS)
    .where(
        ISSUE_LABELS.c.tenant_id == bindparam("tenant_id"),
        ISSUE_LABELS.c.issue_id == bindparam("issue_id"),
        ISSUE_LABELS.c.label_id == bindparam("label_id"),
        ISSUE_LABELS.c.removed_at.is_(None),
    )
    .values(removed_at=func.now())
)


async def put(tx: Transaction, issue_id: UUID, label_id: UUID) -> bool:
    """False when the issue carries the label, or the label is archived or not there."""
    return await tx.execute(_PUT, issue_id=issue_id, label_id=label_id) > 0


async def put_several(tx: Transaction, issue_id: UUID, label_ids: Sequence[UUID]) -> int:
    """On a new issue: how many of the labels there are, in use."""
    return await tx.execute(_PUT_SEVERAL, issue_id=issue_id, label_ids=label_ids)


async def take(tx: Transaction, issue_id: UUID, label_id: UUID) -> bool:
    """False when the issue does not carry the label."""
    return await tx.execute(_TAKE, issue_id=issue_id, label_id=label_id) > 0
