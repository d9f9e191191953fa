"""What audit refuses holds up its own tenant and nobody else's."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from uuid import UUID

import psycopg
import pytest
import structlog
from bulkhead.audit.v1 import audit_writer_service_pb2 as pb
from bulkhead_kit.ids import new_id
from bulkhead_kit.outbox import relay
from bulkhead_kit.outbox.calls import Append, Failure, Meaning
from bulkhead_kit.outbox.rows import Outbox, connect
from bulkhead_kit.settings import inherited_environment
from structlog.testing import LogCapture

from tests.support.house import House
from tests.support.postgres import ScratchDatabase
from tests.system.relay.probe import Writer, delivered, demand_ledger, waiting
from tests.system.relay.relays import Relays, until

pytestmark = pytest.mark.usefixtures("table", "clean")


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
    connection = await connect(database.dsn("bulkhead_issues_relay"))
    try:
        return await Outbox(connection, "issues").retry(tenant_id)
    finally:
        await connection.close()


async def retry_command(house: House) -> str:
    """What the command says that the runbook names."""
    given = {"LISTEN": "127.0.0.1:0", "LOG_FORMAT": "json", "KEYS_DIR": str(house.mint.keys)}
    given["RELAY_DATABASE_URL"] = house.database.dsn("bulkhead_issues_relay")
    command = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bulkhead_issues", "retry"),
        env=inherited_environment() | {f"BULKHEAD_ISSUES_{name}": value for name, value in given.items()},
        stderr=asyncio.subprocess.PIPE,
    )
    _, words = await command.communicate()
    assert command.returncode == 0, words
    return words.decode()
