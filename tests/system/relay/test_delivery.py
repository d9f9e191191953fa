"""From a captured table to the log: once, in order, whatever fails on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

import psycopg
import pytest
from bulkhead.audit.v1 import audit_writer_service_pb2 as pb
from bulkhead_kit.ids import new_id
from bulkhead_kit.outbox.calls import Append, Failure, Meaning

from tests.support.postgres import ScratchDatabase
from tests.system.relay.probe import Writer, delivered, demand_ledger, waiting
from tests.system.relay.relays import Relays, until

pytestmark = pytest.mark.usefixtures("table", "clean")


async def test_every_change_arrives_once_in_order_and_its_row_goes(
    relays: Relays, database: ScratchDatabase, write: Callable[[], Writer]
) -> None:
    writers = [write() for _ in range(3)]
    async with relays.running() as gauges:
        for writer in writers:
            probes = [new_id() for _ in range(5)]
            for _ in range(4):
                writer.change(*probes)
        await until(lambda: waiting(database) == 0)
    for writer in writers:
        events = delivered(database, writer.tenant_id)
        demand_ledger(events, writer.numbers)
        assert [event.seq for event in events] == list(range(1, 21))
    assert gauges("bulkhead_relay_delivered_total") == 60
    assert gauges("bulkhead_relay_active") == 0


async def test_an_event_says_who_and_where(
    relays: Relays, database: ScratchDatabase, write: Callable[[], Writer]
) -> None:
    writer = write()
    writer.change(new_id())
    async with relays.running():
        await until(lambda: waiting(database) == 0)
    with psycopg.connect(database.admin_dsn) as connection:
        row = connection.execute(
            "select e.actor_type, e.rpc, e.actor_id is not null, v.user_agent from audit.events as e"
            " join audit.event_values as v using (tenant_id, occurred_at, event_id) where e.tenant_id = %s",
            (writer.tenant_id,),
        ).fetchone()
    assert row == ("person", "test/Change", True, "u" * 512)


async def test_audit_down_delays_and_loses_nothing(
    relays: Relays, database: ScratchDatabase, write: Callable[[], Writer]
) -> None:
    writer, calls, is_down = write(), 0, True

    async def flaky(audit: Append, tenant_id: UUID, request: pb.AppendEventsRequest) -> pb.AppendEventsResponse:
        nonlocal calls
        calls += 1
        if is_down:
            raise Failure(Meaning.DOWN, "UNAVAILABLE", "connection refused")
        return await audit(tenant_id, request)

    async with relays.running(flaky) as gauges:
        probes = [new_id() for _ in range(3)]
        for _ in range(10):
            writer.change(*probes)
        await asyncio.sleep(2)
        await until(lambda: gauges("bulkhead_outbox_depth") == 30)
        # Backed off: polling at its usual pace would have tried twenty times.
        assert 2 <= calls <= 8
        await until(lambda: gauges("bulkhead_outbox_oldest_seconds") > 1)
        assert gauges("bulkhead_relay_failures_total", reason="UNAVAILABLE") >= 2
        assert gauges("bulkhead_outbox_parked_tenants") == 0
        is_down = False
        await until(lambda: waiting(database) == 0)
        demand_ledger(delivered(database, writer.tenant_id), writer.numbers)
        await until(lambda: gauges("bulkhead_outbox_oldest_seconds") == 0)


async def test_a_lost_answer_doubles_nothing(
    relays: Relays, database: ScratchDatabase, write: Callable[[], Writer]
) -> None:
    writers = [write() for _ in range(3)]
    seen: dict[UUID, int] = {}

    async def forgetful(audit: Append, tenant_id: UUID, request: pb.AppendEventsRequest) -> pb.AppendEventsResponse:
        reply = await audit(tenant_id, request)
        seen[tenant_id] = seen.get(tenant_id, 0) + 1
        if seen[tenant_id] % 2:
            raise Failure(Meaning.LATER, "DEADLINE_EXCEEDED", "the answer was lost")
        return reply

    async with relays.running(forgetful):
        for writer in writers:
            probes = [new_id() for _ in range(4)]
            for _ in range(5):
                writer.change(*probes)
        await until(lambda: waiting(database) == 0)
    for writer in writers:
        demand_ledger(delivered(database, writer.tenant_id), writer.numbers)
    assert min(seen.values()) >= 2


async def test_an_open_snapshot_shows(relays: Relays, database: ScratchDatabase, write: Callable[[], Writer]) -> None:
    writer = write()
    with psycopg.connect(database.dsn("bulkhead_issues_app")) as old:
        old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        old.execute("select 1")
        async with relays.running() as gauges:
            for _ in range(20):
                writer.change(new_id())
                await asyncio.sleep(0.1)
            assert gauges("bulkhead_db_oldest_xmin_seconds") > 1
            old.rollback()
            await until(lambda: gauges("bulkhead_db_oldest_xmin_seconds") < 1)


async def test_a_stop_waits_for_what_is_under_way(
    relays: Relays, database: ScratchDatabase, write: Callable[[], Writer]
) -> None:
    writer, started = write(), asyncio.Event()
    writer.change(new_id())

    async def slow(audit: Append, tenant_id: UUID, request: pb.AppendEventsRequest) -> pb.AppendEventsResponse:
        started.set()
        await asyncio.sleep(0.5)
        return await audit(tenant_id, request)

    async with relays.running(slow):
        await started.wait()
    assert waiting(database) == 0
    assert len(delivered(database, writer.tenant_id)) == 1
