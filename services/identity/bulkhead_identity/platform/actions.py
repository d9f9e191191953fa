"""What the platform's administrators do with tenants."""

from __future__ import annotations

from uuid import UUID

from bulkhead_kit import etags
from bulkhead_kit.caller import Caller, Role
from bulkhead_kit.db import Database, Transaction
from bulkhead_kit.errors import NotFound
from bulkhead_kit.ids import new_id
from bulkhead_kit.moments import unix_seconds

from bulkhead_identity.platform import rules, store
from bulkhead_identity.platform.rules import EntryRow, PlanChange, PlatformTenantRow
from bulkhead_identity.session.actions import own_end, own_session
from bulkhead_identity.session.rules import Issued
from bulkhead_identity.session.tokens import AccessTokens


async def suspend_tenant(tx: Transaction, tenant_id: UUID, reason: str) -> PlatformTenantRow:
    return await _set_status(tx, tenant_id, "suspended", reason)


async def resume_tenant(tx: Transaction, tenant_id: UUID) -> PlatformTenantRow:
    return await _set_status(tx, tenant_id, "active", None)


async def change_plan(tx: Transaction, tenant_id: UUID, change: PlanChange) -> PlatformTenantRow:
    etags.demand(change.version, (await _held(tx, tenant_id)).version)
    await store.set_plan(tx, tenant_id, change)
    return _found(await store.load(tx, tenant_id))


async def enter_support(
    database: Database, tokens: AccessTokens, caller: Caller, tenant_id: UUID, request_id: UUID | None
) -> tuple[Issued, EntryRow]:
    session_id, ends_by = own_session(caller), own_end(caller)
    async with database.transaction(caller) as tx:
        entry = await store.enter_support(tx, tenant_id, session_id, request_id or new_id())
    issued = tokens.of_member(
        caller.user(),
        session_id,
        tenant_id,
        Role(entry.role),
        entry.version,
        # Who helps in a tenant administers nothing from there.
        is_platform_admin=False,
        ends_by=min(ends_by, unix_seconds(entry.support_until)),
    )
    return issued, entry


async def _set_status(tx: Transaction, tenant_id: UUID, status: str, reason: str | None) -> PlatformTenantRow:
    tenant = await _held(tx, tenant_id)
    if tenant.status == status:
        return tenant
    await store.set_status(tx, tenant_id, status, reason)
    return _found(await store.load(tx, tenant_id))


async def _held(tx: Transaction, tenant_id: UUID) -> PlatformTenantRow:
    tenant = _found(await store.hold(tx, tenant_id))
    rules.demand_not_deleted(tenant)
    return tenant


def _found(tenant: PlatformTenantRow | None) -> PlatformTenantRow:
    if tenant is None:
        raise NotFound("tenant")
    return tenant
