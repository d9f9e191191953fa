"""Removes tokens, sessions, answers and mails that have had their time, and settles invitations nobody took."""

from __future__ import annotations

from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database

from bulkhead_identity.expiry import store


async def expire(database: Database, caller: Caller) -> int:
    """The number of rows removed or settled: of each kind a batch at most, so that none waits for another's backlog."""
    settled = 0
    for kind in store.kinds():
        # In small transactions: nobody waits for a large one.
        async with database.transaction(caller) as tx:
            settled += await store.remove_some(tx, kind)
    for tenant in await store.tenants_with_expired_invitations(database.read(caller)):
        # One tenant at a time: whoever holds the limits of two can be in the way of somebody who does too.
        async with database.transaction(caller) as tx:
            settled += await store.expire_invitations(tx, tenant)
    return settled
