"""Of several relays one is active, and another soon after it is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import psycopg
import pytest
from bulkhead_kit.ids import new_id
from bulkhead_kit.outbox.rows import Outbox, connect

from tests.support.postgres import ScratchDatabase
from tests.system.relay.probe import Writer, delivered, demand_ledger, waiting
from tests.system.relay.relays import Relays, until

pytestmark = pytest.mark.usefixtures("table", "clean")


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
    first, second = (
        await connect(database.dsn("bulkhead_issues_relay")),
        await connect(database.dsn("bulkhead_issues_relay")),
    )
    other = await connect(database.dsn("bulkhead_identity_relay"))
    try:
        assert await Outbox(first, "issues").try_lock()
        assert not await Outbox(second, "issues").try_lock()
        # Another service's relay is nobody's rival.
        assert await Outbox(other, "identity").try_lock()
        await first.close()
        await until_locked(second)
    finally:
        await first.close()
        await second.close()
        await other.close()


async def until_locked(connection: psycopg.AsyncConnection[object]) -> None:
    async with asyncio.timeout(3):
        while not await Outbox(connection, "issues").try_lock():  # noqa: ASYNC110 - a lock sends no event
            await asyncio.sleep(0.05)


def kill_active_session(database: ScratchDatabase) -> None:
    with psycopg.connect(database.admin_dsn) as connection:
        killed = connection.execute(
            "select pg_terminate_backend(l.pid) from pg_locks as l join pg_database as d on d.oid = l.database"
            " where l.locktype = 'advisory' and l.granted and d.datname = current_database()"
            " and l.pid in (select pid from pg_stat_activity where usename = 'bulkhead_issues_relay')"
        ).fetchall()
        assert killed == [(True,)]
