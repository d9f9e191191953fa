"""The table of tenants, and the functions that a person uses before she has entered one."""

from __future__ import annotations

from uuid import UUID

from bulkhead_kit.db import Id, Query, Reader, Time, Transaction
from bulkhead_kit.errors import AlreadyExists
from sqlalchemy import Column, Integer, MetaData, Table, Text, bindparam, column, select, text

from bulkhead_identity.tenant.rules import MyTenantRow, NewTenant, TenantRow

TENANTS = Table(
    "tenants",
    MetaData(schema="identity"),
    Column("tenant_id", Id),
    Column("slug", Text),
    Column("name", Text),
    Column("status", Text),
    Column("plan_code", Text),
    Column("created_at", Time),
    Column("updated_at", Time),
    Column("version", Integer),
)

_CREATE = Query(
    text("""
    select
        cast(tenant_id as text) as tenant_id, slug, name, status, plan_code, created_at, updated_at, version
    from identity.create_tenant(:new_tenant, :slug, :name)
    """).columns(*map(column, TenantRow._fields)),
    row=TenantRow,
    refuse={"tenants_slug_key": lambda: AlreadyExists.field("tenant.slug", "another tenant has this slug")},
)
_GET = Query(
    select(*(TENANTS.c[name] for name in TenantRow._fields)).where(
        TENANTS.c.tenant_id == bindparam("tenant_id"), TENANTS.c.tenant_id == bindparam("wanted", type_=Id)
    ),
    row=TenantRow,
)
_MINE = Query(
    text("""
    select cast(tenant_id as text) as tenant_id, slug, name, status, role, joined_at
    from identity.my_tenants(:after, :rows)
    """)
    .bindparams(bindparam("after", type_=Id), bindparam("rows", type_=Integer))
    .columns(*map(column, MyTenantRow._fields)),
    row=MyTenantRow,
)


async def create(tx: Transaction, tenant_id: UUID, new: NewTenant) -> TenantRow:
    return await tx.one(_CREATE, new_tenant=tenant_id, slug=new.slug, name=new.name)


async def load(tx: Reader, tenant_id: UUID) -> TenantRow | None:
    """Of the caller's own tenant; there is no other."""
    return await tx.one_or_none(_GET, wanted=tenant_id)


async def list_mine(tx: Reader, after: str | None, rows: int) -> list[MyTenantRow]:
    return await tx.all(_MINE, after=after, rows=rows)
