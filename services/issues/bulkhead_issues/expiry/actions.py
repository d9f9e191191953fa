"""Removes what has been kept long enough, in small transactions."""

from __future__ import annotations

from typing import Final

from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database

from bulkhead_issues.expiry import store

BATCH: Final = 1000


async def expire(database: Database, caller: Caller, batch: int = BATCH) -> int:
    """How many answered calls were removed: a batch at most."""
    async with database.transaction(caller) as tx:
        return await store.remove_answered_calls(tx, batch)
