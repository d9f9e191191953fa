"""Refused calls as events of the audit log: who tried what, and how often.

They are written behind the answer, so that a refusal is not slower than a permission, and together: a caller who tries
a thousand times in a second makes one event that says 1,000. What a crash of this process may lose is that second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
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
"""Different refusals kept at once, of all tenants and callers."""
MAX_OF_CALLER: Final = 50
MAX_OF_TENANT: Final = 250
OTHERS: Final = "OTHERS"
"""In place of a reason: the calls that did not fit, as one number of a caller in a tenant."""
MAX_OTHERS: Final = 200
OTHERS_OF_CALLER: Final = 5
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


Key = tuple[UUID | None, UUID | str | None, str, str]
"""Tenant, caller, method, reason."""
Group = tuple[str, UUID | str | None]


class Noted:
    """What was refused in one moment. No flood of one caller, over however many tenants, and of one tenant, by however
    many callers, pushes out what others were refused."""

    def __init__(self) -> None:
        self.left_out = 0
        """Calls that are in none of the denials."""
        self._denials: dict[Key, Denial] = {}
        self._by: dict[Group, dict[Key, None]] = {}
        """The keys of each caller and of each tenant, the newest last."""
        self._others: dict[tuple[UUID | None, UUID | str | None], Denial] = {}
        self._others_of: dict[UUID | str | None, int] = {}

    def add_to_others(self, caller: Caller) -> None:
        """One of so many that its reason is not told any more."""
        self._leave_out(_key(caller, OTHERS), Denial(caller, OTHERS, 1))

    def add(self, caller: Caller, reason: str) -> None:
        key = _key(caller, reason)
        known = self._denials.get(key)
        if known is not None:
            self._denials[key] = replace(known, calls=known.calls + 1)
            return
        groups = _groups(key)
        denial = Denial(caller, reason, 1)
        if any(len(self._by.get(group, ())) >= _MOST[group[0]] for group in groups):
            self._leave_out(key, denial)
            return
        self._denials[key] = denial
        for group in groups:
            self._by.setdefault(group, {})[key] = None
        if len(self._denials) > MAX_KINDS:
            self._drop(groups)

    def denials(self) -> list[Denial]:
        """In turns, as writing them down may come to no end: of each caller the first, then of each the second."""
        turns = [
            (turn, key) for group, keys in self._by.items() if group[0] == _CALLER for turn, key in enumerate(keys)
        ]
        turns.sort(key=lambda one: one[0])
        return [*(self._denials[key] for _, key in turns), *self._others.values()]

    def _drop(self, newcomers: Sequence[Group]) -> None:
        """The newest of the caller or tenant that has most of what it may; of several as full the newcomer itself."""
        most = max(self._by, key=lambda group: (len(self._by[group]) / _MOST[group[0]], group in newcomers))
        key = next(reversed(self._by[most]))
        for group in _groups(key):
            del self._by[group][key]
            if not self._by[group]:
                del self._by[group]
        self._leave_out(key, self._denials.pop(key))

    def _leave_out(self, key: Key, denial: Denial) -> None:
        place, caller = key[:2], key[1]
        known = self._others.get(place)
        if known is not None:
            self._others[place] = replace(known, calls=known.calls + denial.calls)
        elif len(self._others) < MAX_OTHERS and self._others_of.get(caller, 0) < OTHERS_OF_CALLER:
            self._others[place] = replace(denial, reason=OTHERS)
            self._others_of[caller] = self._others_of.get(caller, 0) + 1
        else:
            self.left_out += denial.calls


_CALLER: Final = "caller"
_TENANT: Final = "tenant"
_MOST: Final = {_CALLER: MAX_OF_CALLER, _TENANT: MAX_OF_TENANT}


def _key(caller: Caller, reason: str) -> Key:
    return caller.tenant_id, caller.user_id or caller.service, caller.rpc, reason


def _groups(key: Key) -> Sequence[Group]:
    """Those a kind counts in."""
    return ((_CALLER, key[1]),) if key[0] is None else ((_CALLER, key[1]), (_TENANT, key[0]))


class Denials:
    def __init__(self, record: Record, lost: Counter) -> None:
        """`lost` counts refused calls that did not become events."""
        self._record = record
        self._lost = lost
        self._noted = Noted()
        self._flushing: set[asyncio.Task[None]] = set()
        self._flush_is_due = False

    def note(self, caller: Caller, reason: str) -> None:
        """Never waits."""
        self._noted.add(caller, reason)
        self._flush_later()

    def note_one_of_many(self, caller: Caller) -> None:
        """Of a caller who is refused so often that it is told RATE_LIMITED; their number stays on record."""
        self._noted.add_to_others(caller)
        self._flush_later()

    def _flush_later(self) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            asyncio.get_running_loop().call_later(FLUSH_AFTER, self._flush_soon)

    async def flush(self) -> None:
        """What has been noted, written down."""
        noted, self._noted = self._noted, Noted()
        if noted.left_out:
            self._lost.inc(noted.left_out)
            log.warning("denials_left_out", calls=noted.left_out)
        deadline = clock.monotonic() + WRITE_SECONDS
        for denial in noted.denials():
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
