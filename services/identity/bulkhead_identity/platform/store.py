"""Tenants and plans as the role of the platform sees them: every query asks first whether the caller administers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from bulkhead_kit.db import Id, Query, QueryCache, Reader, Transaction
from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.filters import TEXT, TIMESTAMP, Filter, FilterField, FilterSchema, enum
from bulkhead_kit.page_tokens import KeyValue
from sqlalchemy import BigInteger, Integer, Text, bindparam, column, select, text, update

from bulkhead_identity.platform.rules import STATES, EntryRow, PlanChange, PlanRow, PlatformTenantRow, TenantLimitRow
from bulkhead_identity.store import PLANS, TENANTS, USAGE

FILTERS = FilterSchema(
    {
        "slug": FilterField(TEXT, TENANTS.c.slug),
        "name": FilterField(TEXT, TENANTS.c.name),
        "domain": FilterField(TEXT, TENANTS.c.domain),
        "plan_code": FilterField(TEXT, TENANTS.c.plan_code),
        "state": FilterField(enum(STATES), TENANTS.c.status),
        "create_time": FilterField(TIMESTAMP, TENANTS.c.created_at),
    }
)
_COUNTS = ("active_members", "open_invitations", "projects", "storage_bytes")
_WANTED = bindparam("wanted", type_=Id)
_SELECT = select(*((USAGE if name in _COUNTS else TENANTS).c[name] for name in PlatformTenantRow._fields)).join_from(
    TENANTS, USAGE, USAGE.c.tenant_id == TENANTS.c.tenant_id
)
_GET = Query(_SELECT.where(TENANTS.c.tenant_id == _WANTED), row=PlatformTenantRow)
_LISTS = QueryCache()
_CHECK: Query[Any] = Query(text("select identity.check_platform_admin()"))
_HOLD: Query[Any] = Query(text("select identity.hold_tenant(:held)").bindparams(bindparam("held", type_=Id)))
_PLANS = Query(select(*(PLANS.c[name] for name in PlanRow._fields)).order_by(PLANS.c.code), row=PlanRow)
_SET_STATUS: Query[Any] = Query(
    update(TENANTS)
    .where(TENANTS.c.tenant_id == _WANTED)
    .values(status=bindparam("status"), status_reason=bindparam("reason", type_=Text))
)
_SET_PLAN: Query[Any] = Query(
    update(TENANTS)
    .where(TENANTS.c.tenant_id == _WANTED)
    .values(
        plan_code=bindparam("plan"),
        max_users_override=bindparam("users", type_=Integer),
        max_projects_override=bindparam("most_projects", type_=Integer),
        max_storage_bytes_override=bindparam("bytes", type_=BigInteger),
    ),
    refuse={"tenants_plan_code_fkey": lambda: InvalidArgument.field("plan_code", "there is no such plan")},
)
_SET_TENANT_LIMIT = Query(
    text("select max_tenants, tenants from identity.set_tenant_limit(:person, :most)")
    .bindparams(bindparam("person", type_=Id), bindparam("most", type_=Integer))
    .columns(*map(column, TenantLimitRow._fields)),
    row=TenantLimitRow,
)
_ENTER = Query(
    text("select role, version, support_until from identity.enter_support(:entered, :session_id, :entry_id)")
    .bindparams(*(bindparam(name, type_=Id) for name in ("entered", "session_id", "entry_id")))
    .columns(*map(column, EntryRow._fields)),
    row=EntryRow,
)


async def list_tenants(
    tx: Reader, asked: Filter, *, deleted: bool, after: Sequence[KeyValue] | None, limit: int
) -> list[PlatformTenantRow]:
    shape = (asked.shape, deleted, after is not None)
    query = _LISTS.get(shape, lambda: _list(asked, deleted=deleted, after=after is not None))
    values: Mapping[str, Any] = {**asked.values, "limit": limit, "after": after[0] if after else None}
    _, rows = await tx.together(_CHECK.bind(), query.bind(**values))
    return rows


def _list(asked: Filter, *, deleted: bool, after: bool) -> Query[PlatformTenantRow]:
    statement = _SELECT.where(*asked.conditions()).order_by(TENANTS.c.tenant_id).limit(bindparam("limit"))
    if not deleted:
        statement = statement.where(TENANTS.c.status != "deleted")
    if after:
        statement = statement.where(TENANTS.c.tenant_id > bindparam("after", type_=Id))
    return Query(statement, row=PlatformTenantRow)


async def list_plans(tx: Reader) -> list[PlanRow]:
    _, rows = await tx.together(_CHECK.bind(), _PLANS.bind())
    return rows


async def hold(tx: Transaction, tenant_id: UUID) -> PlatformTenantRow | None:
    """Nobody writes in the tenant or counts against its limits from here to COMMIT."""
    tx.send(_HOLD, held=tenant_id)
    return await load(tx, tenant_id)


async def load(tx: Transaction, tenant_id: UUID) -> PlatformTenantRow | None:
    return await tx.one_or_none(_GET, wanted=tenant_id)


async def set_status(tx: Transaction, tenant_id: UUID, status: str, reason: str | None) -> None:
    await tx.execute(_SET_STATUS, wanted=tenant_id, status=status, reason=reason)


async def set_plan(tx: Transaction, tenant_id: UUID, change: PlanChange) -> None:
    await tx.execute(
        _SET_PLAN,
        wanted=tenant_id,
        plan=change.plan_code,
        users=change.max_users,
        most_projects=change.max_projects,
        bytes=change.max_storage_bytes,
    )


async def enter_support(tx: Transaction, tenant_id: UUID, session_id: UUID, entry_id: UUID) -> EntryRow:
    return await tx.one(_ENTER, entered=tenant_id, session_id=session_id, entry_id=entry_id)


async def set_tenant_limit(tx: Transaction, user_id: UUID, max_tenants: int) -> TenantLimitRow:
    return await tx.one(_SET_TENANT_LIMIT, person=user_id, most=max_tenants)
