"""The active relay: reads each tenant's rows in their order, appends them to audit, then removes them.

A row is removed after audit has acknowledged it and never before, and audit passes over what it has: so whatever is
killed in between, every change arrives once. A tenant has one batch under way at a time, which keeps its order; several
tenants are served side by side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from bulkhead_kit import clock
from bulkhead_kit.outbox.calls import Append, Failure, Meaning
from bulkhead_kit.outbox.messages import MAX_BATCH_BYTES, request_of
from bulkhead_kit.outbox.rows import Outbox, Row
from bulkhead_kit.outbox.tenants import FAULTS_BEFORE_PARKING, Gate, Tenant, Turns
from bulkhead_kit.telemetry import RelayMetrics

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.relay")

LOOK_SECONDS: Final = 0.25
"""A tenant that is new waits no longer than this for its turn, however many are being served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    parallel: int = 8
    """Tenants served at once."""
    poll_fastest: float = 0.05
    poll_slowest: float = 0.1
    """No NOTIFY: in every write transaction it would halve their rate."""
    gauge_every: float = 2.0
    parked_every: float = 1.0
    grace: float = 5.0
    """Seconds that deliveries under way get to end at a stop."""


class Relay:
    def __init__(self, outbox: Outbox, append: Append, metrics: RelayMetrics, tuning: Tuning) -> None:
        self._outbox = outbox
        self._append = append
        self._metrics = metrics
        self._tuning = tuning
        self._gate = Gate()
        self._tenants = Turns(max(1, tuning.parallel // 2))
        """Those known to have rows."""
        self._parked: set[UUID] = set()
        self._running: dict[asyncio.Task[bool], UUID] = {}
        self._poll_after = tuning.poll_fastest
        self._next_look = self._next_parked = self._next_gauge = 0.0
        self._horizon: tuple[int, float] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop. Raises what the database connection raises: with it the mandate is gone."""
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                now = clock.monotonic()
                await self._look_around(now)
                self._start_deliveries(now)
                await asyncio.wait(
                    [stopping, *self._running], timeout=self._rest(now), return_when=asyncio.FIRST_COMPLETED
                )
                self._reap()
            if self._running:
                await asyncio.wait(self._running, timeout=self._tuning.grace)
                self._reap()
        finally:
            stopping.cancel()
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _look_around(self, now: float) -> None:
        if now >= self._next_parked:
            self._next_parked = now + self._tuning.parked_every
            await self._look_at_parked(now)
        if now >= self._next_gauge:
            self._next_gauge = now + self._tuning.gauge_every
            await self._gauge(now)
        if now >= self._next_look and self._gate.width(now, 1):
            await self._look_for_rows(now)

    async def _look_at_parked(self, now: float) -> None:
        """The table counts, not our memory: an operator's retry is found here."""
        parked = await self._outbox.parked()
        self._metrics.parked.set(len(parked))
        self._parked = {one.tenant_id for one in parked}
        for one in parked:
            tenant = self._tenants.find(one.tenant_id) or self._tenants.know(one.tenant_id, None, Tenant(rows=1))
            tenant.attempts = one.attempts
            tenant.not_before = 0.0 if one.is_due else now + 2 * self._tuning.parked_every

    async def _look_for_rows(self, now: float) -> None:
        waiting = await self._outbox.waiting()
        known = {one.tenant_id for one in waiting} | self._parked | set(self._running.values())
        for tenant_id in [one for one in self._tenants if one not in known]:
            self._tenants.forget(tenant_id)
        for one in waiting:
            self._tenants.know(one.tenant_id, one.cause)
        oldest = min((one.oldest for one in waiting), default=None)
        self._metrics.oldest_seconds.set(0.0 if oldest is None else max(0.0, (clock.now() - oldest).total_seconds()))
        slower = min(self._tuning.poll_slowest, self._poll_after * 1.25)
        self._poll_after = self._tuning.poll_fastest if waiting else slower
        self._next_look = now + (LOOK_SECONDS if waiting else self._poll_after)

    def _start_deliveries(self, now: float) -> None:
        free = self._gate.width(now, self._tuning.parallel) - len(self._running)
        busy = set(self._running.values())
        while free > 0 and (chosen := self._tenants.next(now, busy)) is not None:
            tenant_id, tenant = chosen
            task = asyncio.create_task(self._deliver(tenant_id, tenant), name=f"deliver {tenant_id}")
            self._running[task] = tenant_id
            busy.add(tenant_id)
            free -= 1

    def _rest(self, now: float) -> float:
        """Seconds until something is due, if no delivery ends before."""
        opens = self._gate.open_at if self._gate.failures else now
        due = [max(opens, self._next_look), self._next_parked, self._next_gauge]
        if len(self._running) < max(1, self._gate.width(now, self._tuning.parallel)):
            busy = set(self._running.values())
            due += [max(opens, at) for at in self._tenants.due(busy)]
        return min(self._tuning.poll_slowest, max(0.001, min(due) - now))

    def _reap(self) -> None:
        for task in [one for one in self._running if one.done()]:
            tenant_id = self._running.pop(task)
            if not task.result():
                # Nothing of it is left; the next look finds it when there is something new.
                self._tenants.forget(tenant_id)
                if not self._tenants:
                    self._next_look = min(self._next_look, clock.monotonic() + self._tuning.poll_fastest)

    async def _deliver(self, tenant_id: UUID, tenant: Tenant) -> bool:
        """One batch. Whether the tenant may have more."""
        asked = tenant.rows
        rows = await self._outbox.batch(tenant_id, rows=asked, size_bytes=MAX_BATCH_BYTES)
        if not rows:
            if tenant_id in self._parked:
                await self._outbox.unpark(tenant_id)
            return False
        sent = rows
        try:
            request = request_of(rows)
            sent = rows[: len(request.events)]
            await self._append(tenant_id, request)
        except Failure as failure:
            self._metrics.failures.labels(failure.reason).inc()
            await self._failed(tenant_id, tenant, sent, failure)
            return True
        await self._outbox.remove(tenant_id, [row.outbox_id for row in sent])
        await self._delivered(tenant_id, tenant, len(sent))
        return len(sent) == asked or sum(len(row.changes) for row in rows) > MAX_BATCH_BYTES // 4

    async def _delivered(self, tenant_id: UUID, tenant: Tenant, count: int) -> None:
        self._metrics.delivered.inc(count)
        if self._gate.failures:
            log.info("audit_is_back", failures=self._gate.failures)
        self._gate.reached()
        tenant.delivered()
        if tenant_id in self._parked:
            await self._outbox.unpark(tenant_id)
            self._parked.discard(tenant_id)
            tenant.attempts = 0
            log.info("tenant_unparked", tenant_id=str(tenant_id))

    async def _failed(self, tenant_id: UUID, tenant: Tenant, sent: Sequence[Row], failure: Failure) -> None:
        now = clock.monotonic()
        tenant.rows = len(sent)
        if failure.meaning is Meaning.DOWN:
            if not self._gate.failures:
                log.warning("audit_is_down", reason=failure.reason, text=failure.text)
            self._gate.missed(now)
            return
        self._gate.reached()
        refused = failure.meaning is Meaning.REFUSED
        if refused or (failure.meaning is Meaning.FAULT and tenant.failures + 1 >= FAULTS_BEFORE_PARKING):
            if not tenant.refused(now):
                return
            await self._park(tenant_id, tenant, sent[0], failure)
            return
        log.warning("delivery_failed", tenant_id=str(tenant_id), reason=failure.reason, failures=tenant.failures + 1)
        tenant.failed(now, smaller=failure.meaning is Meaning.LATER)

    async def _park(self, tenant_id: UUID, tenant: Tenant, row: Row, failure: Failure) -> None:
        seconds = tenant.parked(clock.monotonic())
        text = f"event {row.event_id} (outbox_id {row.outbox_id}): {failure}"
        await self._outbox.park(tenant_id, seconds=seconds, error=text)
        self._parked.add(tenant_id)
        self._metrics.parked.set(len(self._parked))
        log.error(
            "tenant_parked",
            tenant_id=str(tenant_id),
            event_id=str(row.event_id),
            outbox_id=row.outbox_id,
            reason=failure.reason,
            text=failure.text,
            attempts=tenant.attempts,
            retry_in_s=round(seconds),
        )

    async def _gauge(self, now: float) -> None:
        backlog = await self._outbox.backlog()
        self._metrics.depth.set(backlog.depth)
        # Others' start times are hidden from this role: what can be seen is since when the horizon has stood still
        # although transactions went on.
        if backlog.horizon is None:
            self._horizon = None
        elif self._horizon is None or self._horizon[0] != backlog.horizon:
            self._horizon = (backlog.horizon, now)
        self._metrics.xmin_age_seconds.set(0.0 if self._horizon is None else now - self._horizon[1])
