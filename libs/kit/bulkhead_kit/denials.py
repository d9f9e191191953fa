"""Refused calls as events of the audit log: who tried what, and how often.

They are written behind the answer, so that a refusal is not slower than a permission, and together: a caller who tries
a thousand times in a second makes one event that says 1,000. What a crash of this process may lose is that second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import psycopg
import structlog
from prometheus_client import Counter
from sqlalchemy import bindparam, func, select
from sqlalchemy.dialects.postgresql import JSONB

from bulkhead_kit import clock
from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database, Id, Query
from bulkhead_kit.errors import DomainError

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.denials")

ACTION: Final = "call.denied"
FLUSH_AFTER: Final = 1.0
WRITE_SECONDS: Final = 5.0
"""For all that was noted in one second: behind a database that does not answer it must not pile up, nor hold up the
end of the process."""
MAX_KINDS: Final = 1000
"""Different refusals kept at once. More are counted by the metric and stand in the access log only."""
NOBODY: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Denial:
    caller: Caller
    """Of the first of them."""
    reason: str
    calls: int

    @property
    def entity_type(self) -> str:
        return "user" if self.caller.user_id is not None else "service"

    @property
    def entity_id(self) -> UUID:
        return self.caller.user_id or NOBODY

    @property
    def facts(self) -> dict[str, Any]:
        """As an event's changes: nothing before, this after."""
        return {"reason": [None, self.reason], "calls": [None, self.calls]}


Record = Callable[[Denial], Awaitable[None]]
"""Puts one into the audit log, or on its way there."""


def through_outbox(schema: str, database: Database) -> Record:
    """By the service's own function for events that leave no row; the relay delivers them like any other."""
    record = getattr(func, schema).record_event
    query: Query[Any] = Query(
        select(
            record(
                bindparam("action"),
                bindparam("entity_type"),
                bindparam("entity_id", type_=Id),
                bindparam("outcome"),
                bindparam("changes", type_=JSONB),
            )
        )
    )

    async def write(denial: Denial) -> None:
        # Unchecked: what a member without rights tries is what is to be written down.
        async with database.transaction(denial.caller, checked=False) as tx:
            tx.send(
                query,
                action=ACTION,
                entity_type=denial.entity_type,
                entity_id=denial.entity_id,
                outcome="denied",
                changes=denial.facts,
            )

    return write


class Denials:
    def __init__(self, record: Record, lost: Counter) -> None:
        """`lost` counts refused calls that did not become events."""
        self._record = record
        self._lost = lost
        self._noted: dict[tuple[Any, ...], Denial] = {}
        self._flushing: set[asyncio.Task[None]] = set()
        self._flush_is_due = False

    def note(self, caller: Caller, reason: str) -> None:
        """Never waits."""
        who = caller.user_id or caller.service
        key = (caller.tenant_id, who, caller.rpc, reason)
        known = self._noted.get(key)
        if known is not None:
            self._noted[key] = replace(known, calls=known.calls + 1)
        elif len(self._noted) < MAX_KINDS:
            self._noted[key] = Denial(caller, reason, 1)
        else:
            self._lost.inc()
        if not self._flush_is_due:
            self._flush_is_due = True
            asyncio.get_running_loop().call_later(FLUSH_AFTER, self._flush_soon)

    async def flush(self) -> None:
        """What has been noted, written down."""
        noted, self._noted = list(self._noted.values()), {}
        deadline = clock.monotonic() + WRITE_SECONDS
        for denial in noted:
            caller = replace(denial.caller, deadline=deadline)
            try:
                await self._record(replace(denial, caller=caller))
            except (DomainError, psycopg.Error) as error:
                self._lost.inc(denial.calls)
                log.warning("denial_not_recorded", rpc=caller.rpc, reason=denial.reason, error=str(error))

    async def close(self) -> None:
        """What is under way, then the rest."""
        await asyncio.gather(*self._flushing, return_exceptions=True)
        await self.flush()

    def _flush_soon(self) -> None:
        self._flush_is_due = False
        task = asyncio.get_running_loop().create_task(self.flush())
        self._flushing.add(task)
        task.add_done_callback(self._flushing.discard)
