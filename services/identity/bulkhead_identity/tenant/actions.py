"""What makes a tenant."""

from __future__ import annotations

from bulkhead_kit.db import Transaction
from bulkhead_kit.ids import new_id

from bulkhead_identity.tenant import rules, store
from bulkhead_identity.tenant.rules import NewTenant, TenantRow


async def create_tenant(tx: Transaction, new: NewTenant) -> TenantRow:
    rules.demand_free_slug(new.slug)
    return await store.create(tx, new_id(), new)
