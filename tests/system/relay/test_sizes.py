"""However large a value and however many rows: a batch is a message, and tenants take turns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from uuid import UUID

import pytest
from bulkhead.audit.v1 import audit_writer_service_pb2 as pb
from bulkhead_kit.ids import new_id
from bulkhead_kit.outbox.calls import Append
from bulkhead_kit.outbox.rows import Outbox, connect

from tests.support.postgres import ScratchDatabase
from tests.system.relay.probe import Writer, delivered, demand_ledger, waiting
from tests.system.relay.relays import Relays, until

pytestmark = pytest.mark.usefixtures("table", "clean")


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
    connection = await connect(database.dsn("bulkhead_issues_relay"))
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
