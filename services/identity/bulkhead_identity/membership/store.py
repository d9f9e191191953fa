"""The table of memberships, and the functions that reach across tenants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from bulkhead_kit.db import Id, Query, QueryCache, Reader, Transaction
from bulkhead_kit.filters import ID, TEXT, TIMESTAMP, Filter, FilterField, FilterSchema, enum
from bulkhead_kit.ids import new_id
from bulkhead_kit.page_tokens import KeyValue
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Text,
    and_,
    bindparam,
    column,
    func,
    select,
    text,
    update,
)

from bulkhead_identity.membership.rules import (
    KINDS,
    ROLES,
    STATES,
    Author,
    Imported,
    MemberRow,
)
from bulkhead_identity.store import MEMBERSHIPS

_MEMBER = tuple(MEMBERSHIPS.c[name] for name in MemberRow._fields)
_THIS = and_(MEMBERSHIPS.c.tenant_id == bindparam("tenant_id"), MEMBERSHIPS.c.user_id == bindparam("user_id"))
_GET = Query(select(*_MEMBER).where(_THIS), row=MemberRow)
_SET_ROLE = Query(update(MEMBERSHIPS).where(_THIS).values(role=bindparam("role")).returning(*_MEMBER), row=MemberRow)
_SET_STATUS = Query(
    update(MEMBERSHIPS).where(_THIS).values(status=bindparam("status")).returning(*_MEMBER), row=MemberRow
)
FILTERS = FilterSchema(
    {
        "user_id": FilterField(ID, MEMBERSHIPS.c.user_id, words=frozenset({"me"})),
        "role": FilterField(enum(ROLES, ordered=True), MEMBERSHIPS.c.role),
        "state": FilterField(enum(STATES), MEMBERSHIPS.c.status),
        "kind": FilterField(enum(KINDS), MEMBERSHIPS.c.kind),
        "display_name": FilterField(TEXT, MEMBERSHIPS.c.display_name),
        "external_source": FilterField(TEXT, MEMBERSHIPS.c.external_source),
        "external_id": FilterField(TEXT, MEMBERSHIPS.c.external_id),
        "join_time": FilterField(TIMESTAMP, MEMBERSHIPS.c.joined_at),
    }
)
_LISTS = QueryCache()
_LEAVE: Query[Any] = Query(select(func.identity.leave_tenant(bindparam("tenant", type_=Id))))
_IMPORT = Query(
    text("""
    select external_id, cast(user_id as text) as user_id, is_new
    from identity.import_members(:source, :user_ids, :external_ids, :names, :avatar_urls)
    """)
    .bindparams(
        bindparam("user_ids", type_=ARRAY(Id)),
        bindparam("external_ids", type_=ARRAY(Text)),
        bindparam("names", type_=ARRAY(Text)),
        bindparam("avatar_urls", type_=ARRAY(Text)),
    )
    .columns(*map(column, Imported._fields)),
    row=Imported,
)


async def load(tx: Reader, user_id: UUID) -> MemberRow | None:
    return await tx.one_or_none(_GET, user_id=user_id)


async def set_role(tx: Transaction, user_id: UUID, role: int) -> MemberRow | None:
    """None when the database hides the member from the caller's hand."""
    return await tx.one_or_none(_SET_ROLE, user_id=user_id, role=role)


async def set_status(tx: Transaction, user_id: UUID, status: str) -> MemberRow | None:
    """None when the database hides the member from the caller's hand."""
    return await tx.one_or_none(_SET_STATUS, user_id=user_id, status=status)


async def list_members(tx: Reader, asked: Filter, after: tuple[KeyValue, ...] | None, rows: int) -> list[MemberRow]:
    """In the order of their ids, beyond the one given."""
    query = _LISTS.get((asked.shape, after is not None), lambda: _list(asked, continued=after is not None))
    return await tx.all(query, rows=rows, after=after[0] if after else None, **asked.values)


def _list(asked: Filter, *, continued: bool) -> Query[MemberRow]:
    found = select(*_MEMBER).where(MEMBERSHIPS.c.tenant_id == bindparam("tenant_id"), *asked.conditions())
    if continued:
        found = found.where(MEMBERSHIPS.c.user_id > bindparam("after", type_=Id))
    return Query(found.order_by(MEMBERSHIPS.c.user_id).limit(bindparam("rows", type_=BigInteger)), row=MemberRow)


async def leave(tx: Transaction, tenant_id: UUID) -> None:
    tx.send(_LEAVE, tenant=tenant_id)


async def import_members(tx: Transaction, source: str, authors: Sequence[Author]) -> list[Imported]:
    return await tx.all(
        _IMPORT,
        source=source,
        user_ids=[new_id() for _ in authors],
        external_ids=[author.external_id for author in authors],
        names=[author.display_name for author in authors],
        avatar_urls=[author.avatar_url for author in authors],
    )
