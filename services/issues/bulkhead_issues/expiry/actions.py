"""Removes what has been kept long enough, in small transactions."""

from __future__ import annotations

from typing import Final

from bulkhead_kit import clock
from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database
from bulkhead_kit.ids import new_id

from bulkhead_issues.expiry import store

BATCH: Final = 1000
_DEADLINE: Final = 30.0


async def expire(database: Database, batch: int = BATCH) -> int:
    """How many answered calls were removed."""
    removed = 0
    while True:
        async with database.transaction(_caller()) as tx:
            count = await store.remove_answered_calls(tx, batch)
        removed += count
        if count < batch:
            return removed


def _caller() -> Caller:
    return Caller(
        actor_type="system",
        rpc="issues/work",
        request_id=str(new_id()),
        deadline=clock.monotonic() + _DEADLINE,
    )
