"""Counts the tries of passwords. In the database: what one process has counted, all others know."""

from __future__ import annotations

from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database, Transaction

from bulkhead_identity.throttle import rules, store


async def claim(database: Database, caller: Caller, bucket: bytes, email: str) -> None:
    """Before any work is done for the try. Raises ResourceExhausted RATE_LIMITED."""
    async with database.transaction(caller) as tx:
        wait = await store.claim(tx, bucket, email)
    # After COMMIT: that somebody was refused is kept as an event.
    rules.demand_turn(wait)


def forget(tx: Transaction, bucket: bytes) -> None:
    """The password was right: whoever knows it starts with a clean slate."""
    store.forget(tx, bucket)


async def record_failure(database: Database, caller: Caller, action: str) -> None:
    """An event: the caller's own password was wrong."""
    async with database.transaction(caller) as tx:
        store.record_failure(tx, action)
