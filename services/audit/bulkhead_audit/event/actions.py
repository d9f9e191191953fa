"""The log's one state change: events are appended."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from bulkhead_kit import clock
from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database
from bulkhead_kit.moments import us_since_2000

from bulkhead_audit.event import encoding, rules, store
from bulkhead_audit.event.rules import NewEvent
from bulkhead_audit.partition import actions as partition


@dataclass(frozen=True, slots=True)
class Appended:
    count: int
    log_size: int


class Appender:
    def __init__(self, db: Database) -> None:
        self._db = db
        self._months = partition.Months(db)

    async def append_events(self, caller: Caller, events: Sequence[NewEvent]) -> Appended:
        """Numbers what is new and passes over the rest; whatever the tenant's state, as its end is logged too."""
        await self._months.ensure(caller, rules.months(events))
        async with self._db.transaction(caller, checked=False) as tx:
            size, known = await store.lock_log(tx, events)
            fresh = rules.only_new(events, known)
            if fresh:
                leaves = encoding.number(
                    str(caller.tenant()),
                    fresh,
                    size=size,
                    recorded_at=us_since_2000(clock.now()),
                    salts=secrets.token_bytes(encoding.SALT_BYTES * len(fresh)),
                )
                store.append(tx, leaves)
        return Appended(len(fresh), size + len(fresh))
