"""What makes, changes and ends a tenant."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from bulkhead_kit import clock, etags
from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Transaction
from bulkhead_kit.errors import NotFound
from bulkhead_kit.ids import new_id

from bulkhead_identity.tenant import rules, store
from bulkhead_identity.tenant.rules import GrantRow, NewGrant, NewTenant, TenantRow


async def create_tenant(tx: Transaction, new: NewTenant) -> TenantRow:
    rules.demand_free_slug(new.slug)
    return await store.create(tx, new_id(), new)


async def update_tenant(
    tx: Transaction, tenant_id: UUID, values: Mapping[str, object], version: int | None
) -> TenantRow:
    slug = values.get("slug")
    current = await store.load(tx, tenant_id)
    if current is None:
        raise NotFound("tenant")
    if isinstance(slug, str) and slug != current.slug:
        rules.demand_free_slug(slug)
    etags.demand(version, current.version)
    row = await store.update_fields(tx, tenant_id, values, version) if values else current
    if row is None:
        raise etags.mismatch()
    return row


async def delete_tenant(tx: Transaction, member: Caller, slug: str) -> TenantRow:
    """The transaction is the person's, outside the tenant: within it, her repeat of the call would not be answered."""
    return await store.end(tx, member, slug)


async def undelete_tenant(tx: Transaction, tenant_id: UUID) -> TenantRow:
    return await store.bring_back(tx, tenant_id)


async def grant_support(tx: Transaction, new: NewGrant) -> GrantRow:
    return await store.grant_support(tx, new_id(), new.role, new.reason, clock.now() + new.life)


async def revoke_support(tx: Transaction, grant_id: UUID | None) -> GrantRow:
    grant = await store.find_grant(tx, grant_id)
    if grant is None:
        raise NotFound("support_grant")
    if grant.revoked_at is not None:
        return grant
    return await store.revoke_support(tx, grant.grant_id)
