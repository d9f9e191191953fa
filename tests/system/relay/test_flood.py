"""One person who writes in four hundred tenants at once delays nobody else's events."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable
from uuid import UUID

import psycopg
import pytest
from bulkhead.audit.v1 import audit_writer_service_pb2 as pb
from bulkhead_kit.ids import new_id
from bulkhead_kit.outbox.calls import Append
from bulkhead_kit.outbox.relay import Tuning

from tests.support.postgres import ScratchDatabase
from tests.system.relay.probe import Writer, waiting
from tests.system.relay.relays import Relays, until

pytestmark = pytest.mark.usefixtures("table", "clean")

TENANTS = 400
A_SECOND = 6
"""Transactions, each with a row in every tenant: so many calls of UpdateMe wrote that once."""
PARALLEL = 8
_FLOOD = """
insert into issues.outbox (tenant_id, action, entity_type, entity_id, changes, actor_id, actor_type, rpc)
select t, 'relay_probe.created', 'relay_probe', gen_random_uuid(), '{"n": [null, 1]}', %(actor)s, 'person', 'test/Flood'
from unnest(%(tenants)s::uuid[]) as t
"""
_DELAYS = """
select extract(epoch from recorded_at - occurred_at)::double precision from audit.events
where entity_type = 'relay_probe' and tenant_id = any(%s) order by occurred_at
"""


class Flood:
    def __init__(self, database: ScratchDatabase) -> None:
        self._dsn = database.admin_dsn
        self.actor = new_id()
        self.tenants = [new_id() for _ in range(TENANTS)]

    async def once(self) -> None:
        async with await psycopg.AsyncConnection.connect(self._dsn) as connection:
            await connection.execute(_FLOOD, {"actor": self.actor, "tenants": self.tenants})

    async def keep_on(self, seconds: float) -> None:
        for _ in range(int(seconds * A_SECOND)):
            await asyncio.gather(self.once(), asyncio.sleep(1 / A_SECOND))


def delays(database: ScratchDatabase, *tenants: UUID) -> list[float]:
    with psycopg.connect(database.admin_dsn) as connection:
        return [seconds for (seconds,) in connection.execute(_DELAYS, (list(tenants),)).fetchall()]


async def under_flood(
    relays: Relays, database: ScratchDatabase, writer: Writer, seconds: float
) -> tuple[list[float], list[float]]:
    """The delays of another tenant's events, and of those of the flood."""
    flood = Flood(database)
    # By the shipped intervals: to count what waits ten times a second, as other tests do, would be a load of our own.
    shipped = Tuning()
    async with relays.running(gauge_every=shipped.gauge_every, parked_every=shipped.parked_every):
        flooding = asyncio.create_task(flood.keep_on(seconds))
        while not flooding.done():
            writer.change(new_id())
            await asyncio.sleep(0.2)
        await flooding
        await until(lambda: waiting(database) == 0, seconds=60 + 10 * seconds)
    others, theirs = delays(database, writer.tenant_id), delays(database, *flood.tenants)
    assert len(theirs) == int(seconds * A_SECOND) * TENANTS
    print(
        f"{len(theirs)} events of one person in {TENANTS} tenants within {seconds:.0f} s came after "
        f"{statistics.median(theirs):.2f} s, at most {max(theirs):.2f} s; {len(others)} of another tenant meanwhile "
        f"after {statistics.median(others):.2f} s, at most {max(others):.2f} s"
    )
    return others, theirs


async def test_another_tenants_event_is_among_the_first(
    relays: Relays, database: ScratchDatabase, write: Callable[[], Writer]
) -> None:
    """By their order, on whatever machine."""
    flood, writer = Flood(database), write()
    for _ in range(3):
        await flood.once()
    writer.change(new_id())
    order: list[UUID] = []

    async def note(append: Append, tenant: UUID, request: pb.AppendEventsRequest) -> pb.AppendEventsResponse:
        order.append(tenant)
        return await append(tenant, request)

    async with relays.running(note):
        await until(lambda: waiting(database) == 0, seconds=60)
    assert len(order) == TENANTS + 1
    assert order.index(writer.tenant_id) <= PARALLEL


async def test_others_do_not_wait_for_a_flood(
    relays: Relays, database: ScratchDatabase, write: Callable[[], Writer]
) -> None:
    others, theirs = await under_flood(relays, database, write(), 2)
    assert statistics.median(others) < statistics.median(theirs)


@pytest.mark.soak
async def test_others_wait_less_than_a_second_for_a_long_flood(
    relays: Relays, database: ScratchDatabase, write: Callable[[], Writer]
) -> None:
    others, _ = await under_flood(relays, database, write(), 30)
    assert max(others) < 1.0
