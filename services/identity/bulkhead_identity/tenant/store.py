"""The table of tenants, and the functions that a person uses before she has entered one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Id, Query, QueryCache, Reader, Time, Transaction
from bulkhead_kit.errors import AlreadyExists, InvalidArgument
from bulkhead_kit.structs import too_deep
from sqlalchemy import (
    Boolean,
    Column,
    Integer,
    SmallInteger,
    Table,
    Text,
    and_,
    bindparam,
    column,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from bulkhead_identity.store import METADATA, PLANS, TENANTS, USAGE
from bulkhead_identity.tenant.rules import CardRow, GrantRow, MyTenantRow, NewTenant, TenantRow, UsageRow

GRANTS = Table(
    "support_grants",
    METADATA,
    Column("tenant_id", Id),
    Column("grant_id", Id),
    Column("role", SmallInteger),
    Column("reason", Text),
    Column("expires_at", Time),
    Column("created_by", Id),
    Column("created_at", Time),
    Column("revoked_at", Time),
    Column("revoked_by", Id),
)

_TAKEN = {"tenants_slug_key": lambda: AlreadyExists.field("tenant.slug", "another tenant has this slug")}
# The checks count what is kept, which for many numbers is more than their JSON.
_TOO_MUCH = "takes too much room with so many numbers or names"
_REFUSE = {
    **_TAKEN,
    "tenants_branding_check": lambda: InvalidArgument.field("tenant.branding", _TOO_MUCH),
    "tenants_settings_check": lambda: InvalidArgument.field("tenant.settings", _TOO_MUCH),
    "tenants_branding_depth_check": lambda: too_deep("tenant.branding"),
    "tenants_settings_depth_check": lambda: too_deep("tenant.settings"),
}
_TENANT = bindparam("tenant_id", type_=Id)
_COLUMNS = tuple(TENANTS.c[name] for name in TenantRow._fields)


def _made_by(function: Any) -> Query[TenantRow]:
    """Of a function that returns rows of the table."""
    made = function.table_valued(*(Column(column.name, column.type) for column in TENANTS.c)).alias("made")
    return Query(select(*(made.c[name] for name in TenantRow._fields)), row=TenantRow, refuse=_TAKEN)


_CREATE = _made_by(func.identity.create_tenant(bindparam("new_tenant", type_=Id), bindparam("slug"), bindparam("name")))
_END = _made_by(
    func.identity.delete_tenant(
        bindparam("ended", type_=Id),
        bindparam("slug"),
        bindparam("role", type_=SmallInteger),
        bindparam("membership_version", type_=Integer),
    )
)
_BRING_BACK = _made_by(func.identity.undelete_tenant(bindparam("ended", type_=Id)))
_THIS = and_(TENANTS.c.tenant_id == _TENANT, TENANTS.c.tenant_id == bindparam("wanted", type_=Id))
_GET = Query(select(*_COLUMNS).where(_THIS), row=TenantRow)
_USAGE = Query(
    select(
        TENANTS.c.plan_code,
        PLANS.c.name.label("plan_name"),
        *(USAGE.c[name] for name in ("active_members", "open_invitations", "projects", "storage_bytes")),
        *(PLANS.c[name] for name in ("max_users", "max_projects", "max_storage_bytes")),
        *(TENANTS.c[f"{name}_override"] for name in ("max_users", "max_projects", "max_storage_bytes")),
    )
    .join_from(TENANTS, USAGE, USAGE.c.tenant_id == _TENANT)
    .join(PLANS, PLANS.c.code == TENANTS.c.plan_code)
    .where(TENANTS.c.tenant_id == _TENANT),
    row=UsageRow,
)
_GRANT = tuple(GRANTS.c[name] for name in GrantRow._fields)
_ADD_GRANT = Query(
    insert(GRANTS)
    .values(
        tenant_id=_TENANT,
        grant_id=bindparam("grant_id"),
        role=bindparam("role"),
        reason=bindparam("reason"),
        expires_at=bindparam("expires_at"),
    )
    .returning(*_GRANT),
    row=GrantRow,
)
_THIS_GRANT = and_(GRANTS.c.tenant_id == _TENANT, GRANTS.c.grant_id == bindparam("grant_id"))
_GET_GRANT = Query(select(*_GRANT).where(_THIS_GRANT), row=GrantRow)
_OPEN_GRANT = Query(
    select(*_GRANT).where(
        GRANTS.c.tenant_id == _TENANT, GRANTS.c.revoked_at.is_(None), GRANTS.c.expires_at > func.now()
    ),
    row=GrantRow,
)
_REVOKE_GRANT = Query(update(GRANTS).where(_THIS_GRANT).values(revoked_at=func.now()).returning(*_GRANT), row=GrantRow)
_CARD = Query(
    text("select name, logo_url, branding from identity.lookup_tenant(:slug)")
    .bindparams(bindparam("slug", type_=Text))
    .columns(column("name"), column("logo_url"), column("branding", JSONB)),
    row=CardRow,
)
_UPDATES = QueryCache()
_MINE = Query(
    text("""
    select cast(tenant_id as text) as tenant_id, slug, name, status, role, joined_at, purge_after
    from identity.my_tenants(:after, :rows, :deleted)
    """)
    .bindparams(bindparam("after", type_=Id), bindparam("rows", type_=Integer), bindparam("deleted", type_=Boolean))
    .columns(*map(column, MyTenantRow._fields)),
    row=MyTenantRow,
)


async def create(tx: Transaction, tenant_id: UUID, new: NewTenant) -> TenantRow:
    return await tx.one(_CREATE, new_tenant=tenant_id, slug=new.slug, name=new.name)


async def load(tx: Reader, tenant_id: UUID) -> TenantRow | None:
    """Of the caller's own tenant; there is no other."""
    return await tx.one_or_none(_GET, wanted=tenant_id)


async def look_up(tx: Reader, slug: str) -> CardRow:
    return await tx.one(_CARD, slug=slug)


async def usage(tx: Reader) -> UsageRow:
    return await tx.one(_USAGE)


async def list_mine(tx: Reader, after: str | None, rows: int, *, deleted: bool) -> list[MyTenantRow]:
    return await tx.all(_MINE, after=after, rows=rows, deleted=deleted)


async def update_fields(
    tx: Transaction, tenant_id: UUID, values: Mapping[str, Any], version: int | None
) -> TenantRow | None:
    """None when somebody else was faster."""
    query = _UPDATES.get((*sorted(values), version is None), lambda: _update(sorted(values), version is not None))
    return await tx.one_or_none(query, wanted=tenant_id, expected=version, **values)


def _update(columns: list[str], of_version: bool) -> Query[TenantRow]:
    statement = update(TENANTS).where(_THIS).values({name: bindparam(name) for name in columns})
    if of_version:
        statement = statement.where(TENANTS.c.version == bindparam("expected"))
    return Query(statement.returning(*_COLUMNS), row=TenantRow, refuse=_REFUSE)


async def end(tx: Transaction, member: Caller, slug: str) -> TenantRow:
    """As the member her token names, whatever the transaction's own caller is."""
    return await tx.one(
        _END, ended=member.tenant(), slug=slug, role=member.role, membership_version=member.membership_version
    )


async def bring_back(tx: Transaction, tenant_id: UUID) -> TenantRow:
    return await tx.one(_BRING_BACK, ended=tenant_id)


async def grant_support(tx: Transaction, grant_id: UUID, role: int, reason: str, expires_at: datetime) -> GrantRow:
    return await tx.one(_ADD_GRANT, grant_id=grant_id, role=role, reason=reason, expires_at=expires_at)


async def find_grant(tx: Transaction, grant_id: UUID | None) -> GrantRow | None:
    """None for the one that is open."""
    if grant_id is None:
        return await tx.one_or_none(_OPEN_GRANT)
    return await tx.one_or_none(_GET_GRANT, grant_id=grant_id)


async def revoke_support(tx: Transaction, grant_id: str) -> GrantRow:
    return await tx.one(_REVOKE_GRANT, grant_id=grant_id)
