"""Relays in this process, against the audit service of a house."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID

from bulkhead.audit.v1 import audit_writer_service_pb2 as pb
from bulkhead_kit import clock
from bulkhead_kit.outbox.calls import Append, AuditClient
from bulkhead_kit.outbox.process import keep_delivering
from bulkhead_kit.outbox.relay import Tuning
from bulkhead_kit.telemetry import RelayMetrics
from prometheus_client import CollectorRegistry

from tests.support.house import House

Wrap = Callable[[Append, UUID, pb.AppendEventsRequest], Awaitable[pb.AppendEventsResponse]]


class Gauges:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = RelayMetrics(self.registry)

    def __call__(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


class Relays:
    """Starts relays against the house's audit service; `wrap` stands between a relay and audit."""

    def __init__(self, house: House) -> None:
        self.house = house

    @asynccontextmanager
    async def running(self, wrap: Wrap | None = None, **tuning: float) -> AsyncIterator[Gauges]:
        gauges = Gauges()
        stop = asyncio.Event()
        client = AuditClient(self.house.running["audit"].address, self.house.mint.services["issues"])

        async def append(tenant_id: UUID, request: pb.AppendEventsRequest) -> pb.AppendEventsResponse:
            return await (client(tenant_id, request) if wrap is None else wrap(client, tenant_id, request))

        url = self.house.database.dsn("bulkhead_issues_relay")
        settings = Tuning(**{"parked_every": 0.1, "gauge_every": 0.1, **tuning})  # type: ignore[arg-type]  # by name
        task = asyncio.create_task(keep_delivering(url, "issues", append, gauges.metrics, stop, settings))
        try:
            yield gauges
        finally:
            stop.set()
            await task
            await client.close()


async def until(holds: Callable[[], bool], seconds: float = 10.0) -> float:
    """Waits for it; how long it took."""
    began = clock.monotonic()
    while not holds():
        assert clock.monotonic() - began < seconds, "it did not happen in time"
        await asyncio.sleep(0.02)
    return clock.monotonic() - began
