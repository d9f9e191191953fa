"""Clients that go away, and databases a service must not work with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc.aio
import psycopg
import pytest
from bulkhead_kit import clock
from bulkhead_kit.caller import Role
from bulkhead_kit.db import database as kit_database
from bulkhead_kit.server import Service
from grpc_health.v1 import health_pb2, health_pb2_grpc
from psycopg import sql

from tests.isolation.world import Company
from tests.support.client import Client, refused
from tests.support.house import House
from tests.support.postgres import Databases, ScratchDatabase
from tests.system.contents import Tables, difference

GONE_WITHIN = 1.0


@contextmanager
def locked(database: ScratchDatabase, table: str) -> Iterator[None]:
    """Nobody reads or writes the table meanwhile: who tries waits."""
    with psycopg.connect(database.admin_dsn) as holder:
        holder.execute(sql.SQL("lock table {} in access exclusive mode").format(sql.Identifier(*table.split("."))))
        yield
        holder.rollback()


def waiting(admin: psycopg.Connection) -> int:
    """Statements of services that wait for a lock."""
    question = (
        "select count(*) from pg_stat_activity where datname = current_database() and usename like '%_app'"
        " and state = 'active' and wait_event_type = 'Lock'"
    )
    return int(admin.execute(question).fetchall()[0][0])


async def until(holds: Callable[[], bool], seconds: float = 10.0) -> float:
    """Waits for it; how long it took."""
    began = clock.monotonic()
    while not holds():
        assert clock.monotonic() - began < seconds, "it did not happen in time"
        await asyncio.sleep(0.01)
    return clock.monotonic() - began


async def cancel(calling: Any, _channel: grpc.aio.Channel) -> None:
    calling.cancel()


async def close(_calling: Any, channel: grpc.aio.Channel) -> None:
    await channel.close()


async def lose_patience(calling: Any, _channel: grpc.aio.Channel) -> None:
    """Its own deadline passes."""
    assert (await calling.code()).name == "DEADLINE_EXCEEDED"


LEAVING = [cancel, close, lose_patience]


@asynccontextmanager
async def alone(client: Client, house: House, service: str) -> AsyncIterator[tuple[Client, grpc.aio.Channel]]:
    """The same caller on a connection of her own."""
    channel = grpc.aio.insecure_channel(house.running[service].address)
    yield Client({service: channel}, client.metadata), channel
    await channel.close()


@pytest.mark.parametrize("leave", LEAVING)
@pytest.mark.parametrize(
    ("service", "method", "table"),
    [
        ("issues", "ListIssues", "issues.issues"),
        ("issues", "CreateIssue", "issues.issues"),
        ("identity", "ListMembers", "identity.memberships"),
        ("audit", "ListEvents", "audit.events"),
    ],
)
async def test_a_call_whose_client_is_gone_leaves_the_database(
    service: str,
    method: str,
    table: str,
    leave: Callable[[Any, grpc.aio.Channel], Any],
    house: House,
    ours: Company,
    admin: psycopg.Connection,
    tables: Tables,
) -> None:
    fields: dict[str, Any] = {}
    if method == "CreateIssue":
        fields = {"issue": {"project_id": ours.one("project"), "title": "never made", "type": 1}}
    before = tables.contents()
    async with alone(ours.client(Role.OWNER), house, service) as (client, channel):
        patience = 0.5 if leave is lose_patience else 20.0
        with locked(house.database, table):
            calling = getattr(getattr(client, service), method)(timeout=patience, **fields)
            await until(lambda: waiting(admin) == 1)
            await leave(calling, channel)
            took = await until(lambda: waiting(admin) == 0)
            calling.cancel()
    assert took < GONE_WITHIN
    assert not difference(before, tables.contents())
    await getattr(getattr(ours.client(Role.OWNER), service), method)(**fields)


async def test_many_clients_that_leave_cost_no_connection(
    house: House, ours: Company, admin: psycopg.Connection
) -> None:
    """More than the pool has for her, twice over; those who come after are served."""
    owner = ours.client(Role.OWNER)
    with locked(house.database, "issues.issues"):
        for _ in range(2):
            calls = [owner.issues.ListIssues(timeout=20) for _ in range(12)]
            # One of the eight connections is kept for another tenant.
            await until(lambda: waiting(admin) == 7)
            for calling in calls:
                calling.cancel()
            await until(lambda: waiting(admin) == 0, GONE_WITHIN + 1)
    await asyncio.gather(*(owner.issues.ListIssues() for _ in range(12)))


async def health_of(service: Service) -> str:
    async with grpc.aio.insecure_channel(service.address) as channel:
        reply = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))


@asynccontextmanager
async def started(house: House, **settings: Any) -> AsyncIterator[Service]:
    """Another issues service beside the house's own."""
    service = house.build("issues", {}, **settings)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


@contextmanager
def revision(admin: psycopg.Connection, number: str) -> Iterator[None]:
    before = admin.execute("select version_num from issues.alembic_version").fetchall()
    admin.execute("update issues.alembic_version set version_num = %s", (number,))
    yield
    admin.execute("update issues.alembic_version set version_num = %s", before[0])


async def test_an_older_schema_is_not_served(house: House, admin: psycopg.Connection) -> None:
    with revision(admin, "0000"):
        async with started(house) as service:
            assert await health_of(service) == "NOT_SERVING"
            assert service.health.missing is not None
            assert service.health.missing.startswith("schema issues is at 0000, this code needs ")
            assert service.health.missing.endswith(": run bulkhead migrate")


async def test_a_service_serves_when_its_schema_is_migrated(house: House, admin: psycopg.Connection) -> None:
    with revision(admin, "0000"):
        await until(lambda: not house.running["issues"].health.serving)
    await until(lambda: house.running["issues"].health.serving)


async def test_a_newer_schema_is_served(house: House, admin: psycopg.Connection) -> None:
    with revision(admin, "9999"):
        async with started(house) as service:
            assert await health_of(service) == "SERVING"


async def test_a_database_without_the_schema_is_named(house: House, databases: Databases) -> None:
    empty = databases.empty()
    async with started(house, database_url=empty.dsn("bulkhead_issues_app")) as service:
        assert await health_of(service) == "NOT_SERVING"
        assert service.health.missing is not None
        assert service.health.missing.startswith("schema issues is not there, this code needs ")
    databases.drop(empty)


async def test_production_refuses_a_server_with_known_holes(
    house: House, ours: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kit_database, "MINIMUM_VERSIONS", dict.fromkeys(range(15, 30), 10**6 - 1))
    async with started(house, environment="production") as service:
        assert await health_of(service) == "NOT_SERVING"
        assert service.health.missing is not None
        assert "known holes in row-level security" in service.health.missing
        async with grpc.aio.insecure_channel(service.address) as channel:
            client = Client({"issues": channel}, ours.client(Role.OWNER).metadata)
            with refused("UNAVAILABLE", "DATABASE_UNAVAILABLE") as refusal:
                await client.issues.ListIssues()
            # Who attacks is not told of the hole.
            assert "holes" not in refusal.message
    async with started(house, environment="development") as service:
        assert await health_of(service) == "SERVING"
