"""The relay in this process, from a captured table to the log: order, refusals, outages, takeover."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

import psycopg
import pytest
import structlog
from bulkhead.audit.v1 import audit_writer_service_pb2 as pb
from bulkhead_kit import clock
from bulkhead_kit.ids import new_id
from bulkhead_kit.outbox import relay
from bulkhead_kit.outbox.calls import Append, AuditClient, Failure, Meaning
from bulkhead_kit.outbox.process import keep_delivering
from bulkhead_kit.outbox.relay import Tuning
from bulkhead_kit.outbox.rows import Outbox, connect
from bulkhead_kit.settings import inherited_environment
from bulkhead_kit.telemetry import RelayMetrics
from prometheus_client import CollectorRegistry
from structlog.testing import LogCapture

from tests.support.house import House
from tests.support.postgres import ScratchDatabase
from tests.system import probe
from tests.system.probe import Writer, delivered, demand_ledger, waiting

Wrap = Callable[[Append, UUID, pb.AppendEventsRequest], Awaitable[pb.AppendEventsResponse]]


@pytest.fixture(scope="module", autouse=True)
def table(database: ScratchDatabase) -> None:
    probe.make_table(database)


@pytest.fixture
def write(database: ScratchDatabase) -> Iterator[Callable[[], Writer]]:
    """A writer of a tenant of its own, each time."""
    with psycopg.connect(database.dsn("issues_app")) as connection:
        connection.autocommit = True
        yield lambda: Writer(connection, new_id())


@pytest.fixture(autouse=True)
def clean(database: ScratchDatabase) -> Iterator[None]:
    """What one test leaves undelivered is no other's trouble."""
    yield
    with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
        connection.execute("truncate issues.outbox, issues.outbox_parked")


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

        url = self.house.database.dsn("issues_relay")
        settings = Tuning(**{"parked_every": 0.1, "gauge_every": 0.1, **tuning})  # type: ignore[arg-type]  # by name
        task = asyncio.create_task(keep_delivering(url, "issues", append, gauges.metrics, stop, settings))
        try:
            yield gauges
        finally:
            stop.set()
            await task
            await client.close()


@pytest.fixture
def relays(house: House) -> Relays:
    return Relays(house)


async def until(holds: Callable[[], bool], seconds: float = 10.0) -> float:
    """Waits for it; how long it took."""
    began = clock.monotonic()
    while not holds():
        assert clock.monotonic() - began < seconds, "it did not happen in time"
        await asyncio.sleep(0.02)
    return clock.monotonic() - began


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


async def test_a_refused_event_parks_its_tenant_alone(
    relays: Relays, database: ScratchDatabase, write: Callable[[], Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = LogCapture()
    monkeypatch.setattr(relay, "log", structlog.wrap_logger(structlog.PrintLogger(), processors=[words]))
    poisoned, healthy = write(), write()
    before, after = new_id(), new_id()
    for _ in range(7):
        poisoned.change(before)
    poison(database, poisoned.tenant_id)
    poisoned.change(after)
    async with relays.running() as gauges:
        await until(lambda: gauges("bulkhead_outbox_parked_tenants") == 1)
        (said,) = [entry for entry in words.entries if entry["event"] == "tenant_parked"]
        assert (said["log_level"], said["tenant_id"]) == ("error", str(poisoned.tenant_id))
        # What came before it is delivered, what came after waits: order is kept.
        assert len(delivered(database, poisoned.tenant_id)) == 7
        healthy.change(new_id(), new_id())
        await until(lambda: len(delivered(database, healthy.tenant_id)) == 2)
        await until(lambda: waiting(database) == 2)
        attempts, error, due = parked(database, poisoned.tenant_id)
        assert (attempts, due) == (1, False)
        assert error.startswith("event ")
        assert "INVALID_FIELD" in error

        # Tried again before it is mended, it is parked again, for longer.
        assert await retry(database, poisoned.tenant_id) == 1
        await until(lambda: parked(database, poisoned.tenant_id)[0] == 2)
        mend(database, poisoned.tenant_id)
        assert '"tenants":1' in await retry_command(relays.house)
        await until(lambda: waiting(database) == 0)
        await until(lambda: gauges("bulkhead_outbox_parked_tenants") == 0)
    demand_ledger(delivered(database, poisoned.tenant_id), poisoned.numbers)
    assert len(delivered(database, poisoned.tenant_id, "mended")) == 1


async def test_a_parked_tenant_is_known_to_the_next_relay(
    relays: Relays, database: ScratchDatabase, write: Callable[[], Writer]
) -> None:
    writer = write()
    poison(database, writer.tenant_id)
    async with relays.running() as gauges:
        await until(lambda: gauges("bulkhead_outbox_parked_tenants") == 1)
    async with relays.running() as gauges:
        await until(lambda: gauges("bulkhead_outbox_parked_tenants") == 1)
        await asyncio.sleep(0.5)
        assert gauges("bulkhead_relay_failures_total", reason="INVALID_FIELD") == 0
        assert parked(database, writer.tenant_id)[0] == 1
        mend(database, writer.tenant_id)
        await retry(database, writer.tenant_id)
        await until(lambda: waiting(database) == 0)


async def test_a_fault_over_one_tenants_batch_parks_it_after_some_tries(
    relays: Relays, database: ScratchDatabase, write: Callable[[], Writer]
) -> None:
    broken, healthy = write(), write()
    broken.change(new_id())

    async def faulty(audit: Append, tenant_id: UUID, request: pb.AppendEventsRequest) -> pb.AppendEventsResponse:
        if tenant_id == broken.tenant_id:
            raise Failure(Meaning.FAULT, "INTERNAL", "a fault on our side")
        return await audit(tenant_id, request)

    async with relays.running(faulty) as gauges:
        await until(lambda: gauges("bulkhead_outbox_parked_tenants") == 1)
        assert gauges("bulkhead_relay_failures_total", reason="INTERNAL") == 5
        healthy.change(new_id())
        await until(lambda: len(delivered(database, healthy.tenant_id)) == 1)
    async with relays.running():
        await retry(database, None)
        await until(lambda: waiting(database) == 0)


async def test_a_value_too_large_for_an_event_is_cut_and_says_so(
    relays: Relays, database: ScratchDatabase, write: Callable[[], Writer]
) -> None:
    writer, large = write(), 'Grüße "漢字" \n' * 300_000
    probe_id = new_id()
    writer.change(probe_id, body=large)
    writer.change(probe_id, body="short again")
    async with relays.running() as gauges:
        await until(lambda: waiting(database) == 0)
        assert gauges("bulkhead_outbox_parked_tenants") == 0
    created, updated = delivered(database, writer.tenant_id)
    text = json.dumps(large, ensure_ascii=False).encode()
    cut = {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    old, new, cuts = created.changes["body"]
    assert (old, cuts) == (None, {"new": cut})
    assert text.decode().startswith(new)
    assert 1000 < len(new.encode()) <= 2000
    assert updated.changes["body"] == [new, "short again", {"old": cut}]
    assert updated.changes["n"] == [1, 2]


@pytest.mark.parametrize(("rows", "length"), [(12, 200_000), (480, 1_900)])
async def test_batches_keep_within_the_length_of_a_message(
    relays: Relays, database: ScratchDatabase, write: Callable[[], Writer], rows: int, length: int
) -> None:
    """Whether it is the values that fill it or all the rest."""
    writer, sizes = write(), []
    writer.change(*[new_id() for _ in range(rows)], body="x" * length)

    async def measuring(audit: Append, tenant_id: UUID, request: pb.AppendEventsRequest) -> pb.AppendEventsResponse:
        sizes.append(request.ByteSize())
        return await audit(tenant_id, request)

    async with relays.running(measuring) as gauges:
        await until(lambda: waiting(database) == 0)
        assert gauges("bulkhead_relay_failures_total", reason="RESOURCE_EXHAUSTED") == 0
    demand_ledger(delivered(database, writer.tenant_id), writer.numbers)
    assert 500_000 < max(sizes) < 1 << 20


async def test_no_more_is_read_than_a_message_can_hold(database: ScratchDatabase, write: Callable[[], Writer]) -> None:
    writer = write()
    writer.change(*[new_id() for _ in range(6)], body="x" * 200_000)
    connection = await connect(database.dsn("issues_relay"))
    try:
        outbox = Outbox(connection, "issues")
        for size, count in ((500_000, 2), (100, 1), (5_000_000, 6)):
            assert len(await outbox.batch(writer.tenant_id, rows=500, size_bytes=size)) == count
        assert len(await outbox.batch(writer.tenant_id, rows=3, size_bytes=5_000_000)) == 3
    finally:
        await connection.close()


async def test_a_tenant_with_many_rows_does_not_hold_up_the_others(
    relays: Relays, database: ScratchDatabase, write: Callable[[], Writer]
) -> None:
    busy, quiet = write(), write()
    probes = [new_id() for _ in range(500)]
    for _ in range(8):
        busy.change(*probes)
    async with relays.running() as gauges:
        await until(lambda: gauges("bulkhead_relay_delivered_total") >= 500)
        quiet.change(new_id())
        await until(lambda: len(delivered(database, quiet.tenant_id)) == 1)
        assert gauges("bulkhead_relay_delivered_total") < 3500
        await until(lambda: waiting(database) == 0)
    demand_ledger(delivered(database, busy.tenant_id), busy.numbers)


async def test_a_relay_that_stands_by_takes_over_within_seconds(
    relays: Relays, database: ScratchDatabase, write: Callable[[], Writer]
) -> None:
    writer, one = write(), new_id()
    async with AsyncExitStack() as stack:
        gauges = [await stack.enter_async_context(relays.running()) for _ in range(3)]

        def active() -> list[int]:
            return [i for i, of_relay in enumerate(gauges) if of_relay("bulkhead_relay_active")]

        for _ in range(4):
            await until(lambda: len(active()) == 1)
            (was,) = active()
            writer.change(one)
            kill_active_session(database)
            writer.change(one)
            took = await until(lambda: waiting(database) == 0)
            assert took < 3, f"{was} was followed after {took:.1f} s"
    demand_ledger(delivered(database, writer.tenant_id), writer.numbers)


async def test_two_relays_are_never_active_together(relays: Relays, database: ScratchDatabase) -> None:
    first, second = await connect(database.dsn("issues_relay")), await connect(database.dsn("issues_relay"))
    try:
        assert await Outbox(first, "issues").try_lock()
        assert not await Outbox(second, "issues").try_lock()
        # Another service's relay is nobody's rival.
        assert await Outbox(second, "identity").try_lock()
        await first.close()
        await until_locked(second)
    finally:
        await first.close()
        await second.close()


async def until_locked(connection: psycopg.AsyncConnection[object]) -> None:
    async with asyncio.timeout(3):
        while not await Outbox(connection, "issues").try_lock():  # noqa: ASYNC110 - a lock sends no event
            await asyncio.sleep(0.05)


async def test_an_open_snapshot_shows(relays: Relays, database: ScratchDatabase, write: Callable[[], Writer]) -> None:
    writer = write()
    with psycopg.connect(database.dsn("issues_app")) as old:
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


# Rows that no trigger writes, by the administrator.


def poison(database: ScratchDatabase, tenant_id: UUID) -> None:
    with psycopg.connect(database.admin_dsn) as connection:
        connection.execute(
            "insert into issues.outbox (tenant_id, action, entity_type, entity_id)"
            " values (%s, 'Not an action', 'x', %s)",
            (tenant_id, new_id()),
        )


def mend(database: ScratchDatabase, tenant_id: UUID) -> None:
    with psycopg.connect(database.admin_dsn) as connection:
        connection.execute(
            "update issues.outbox set action = 'mended.created', entity_type = 'mended'"
            " where tenant_id = %s and entity_type = 'x'",
            (tenant_id,),
        )


def parked(database: ScratchDatabase, tenant_id: UUID) -> tuple[int, str, bool]:
    with psycopg.connect(database.admin_dsn) as connection:
        row = connection.execute(
            "select attempts, last_error, retry_at <= now() from issues.outbox_parked where tenant_id = %s",
            (tenant_id,),
        ).fetchone()
        assert row is not None
        return row


async def retry(database: ScratchDatabase, tenant_id: UUID | None) -> int:
    connection = await connect(database.dsn("issues_relay"))
    try:
        return await Outbox(connection, "issues").retry(tenant_id)
    finally:
        await connection.close()


async def retry_command(house: House) -> str:
    """What the command says that the runbook names."""
    given = {"LISTEN": "127.0.0.1:0", "LOG_FORMAT": "json", "KEYS_DIR": str(house.mint.keys)}
    given["RELAY_DATABASE_URL"] = house.database.dsn("issues_relay")
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bulkhead_issues", "retry"),
        env=inherited_environment() | {f"BULKHEAD_ISSUES_{name}": value for name, value in given.items()},
        stderr=asyncio.subprocess.PIPE,
    )
    _, words = await command.communicate()
    assert command.returncode == 0, words
    return words.decode()


def kill_active_session(database: ScratchDatabase) -> None:
    with psycopg.connect(database.admin_dsn) as connection:
        killed = connection.execute(
            "select pg_terminate_backend(l.pid) from pg_locks as l join pg_database as d on d.oid = l.database"
            " where l.locktype = 'advisory' and l.granted and d.datname = current_database()"
            " and l.pid in (select pid from pg_stat_activity where usename = 'issues_relay')"
        ).fetchall()
        assert killed == [(True,)]
