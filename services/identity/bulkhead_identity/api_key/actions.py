"""What makes and ends API keys."""

from __future__ import annotations

from uuid import UUID

from bulkhead_kit import clock
from bulkhead_kit.db import Transaction
from bulkhead_kit.errors import NotFound
from bulkhead_kit.ids import new_id

from bulkhead_identity.api_key import rules, store
from bulkhead_identity.api_key.rules import ApiKeyRow, NewKey, Secret
from bulkhead_identity.membership import rules as membership


async def create_api_key(tx: Transaction, api_key_id: UUID, new: NewKey, secret: Secret) -> ApiKeyRow:
    rules.demand_later(new.expires_at, clock.now())
    user_id = new.user_id or new_id()
    if new.role is not None:
        membership.demand_not_above(tx.caller.role, new.role)
        store.create_account(tx, user_id, new.display_name, new.role)
    return await store.create(tx, api_key_id, user_id, new, secret)


async def revoke_api_key(tx: Transaction, api_key_id: UUID) -> ApiKeyRow:
    """The tenant's limits are locked, so nobody revokes it between this look and the write."""
    key = await _found(tx, api_key_id)
    if key.revoked_at is not None:
        return key
    if not await store.revoke(tx, api_key_id):
        raise NotFound("api_key")
    return await _found(tx, api_key_id)


async def _found(tx: Transaction, api_key_id: UUID) -> ApiKeyRow:
    key = await store.load(tx, api_key_id)
    if key is None:
        raise NotFound("api_key")
    return key
