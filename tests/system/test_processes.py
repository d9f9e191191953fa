"""Processes stopped, killed or without a database: what was answered holds, what was not is whole or nothing."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import grpc.aio
import psycopg
import pytest
import pytest_asyncio
from bulkhead_kit import clock
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from grpc_health.v1 import health_pb2, health_pb2_grpc
from psycopg import sql

from tests.support import people
from tests.support.builders import make_label, make_project
from tests.support.client import Client, reason_of, refused
from tests.system.site import Site

SOON = 60.0
"""On a busy machine; on a quiet one it is two."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site")).started() as made:
        yield made


@dataclass
class Desk:
    """Somebody who works at the site, and what she was told."""

    site: Site
    client: Client
    tenant_id: UUID
    project_id: str = ""
    label_id: str = ""
    made: dict[str, str] = field(default_factory=dict)
    """By title: the issue's id, as answered."""

    async def create(self, title: str, request_id: str) -> str:
        """The reason, or OK."""
        issue = {"project_id": self.project_id, "title": title, "type": 1, "label_ids": [self.label_id]}
        try:
            made = await self.client.issues.CreateIssue(issue=issue, request_id=request_id)
        except grpc.aio.AioRpcError as error:
            return reason_of(error) or error.code().name
        self.made[title] = made.issue_id
        return "OK"

    def rows(self, title: str) -> dict[str, int]:
        """What there is of an issue, by table; events are those still waiting and those delivered, each once."""
        with self.site.admin() as admin:
            found = admin.execute(
                "select (select count(*) from issues.issue_status_history as h where h.issue_id = i.issue_id),"
                " (select count(*) from issues.issue_labels as l where l.issue_id = i.issue_id),"
                " (select count(*) from ("
                "   select o.event_id from issues.outbox as o"
                "   where o.entity_id = i.issue_id and o.action = 'issue.created'"
                "   union select e.event_id from audit.events as e"
                "   where e.entity_id = i.issue_id and e.action = 'issue.created'"
                " ) as events)"
                " from issues.issues as i where i.tenant_id = %s and i.title = %s",
                (self.tenant_id, title),
            ).fetchall()
        history, labels, events = found[0] if found else (0, 0, 0)
        return {"issues": len(found), "history": history, "labels": labels, "events": events}

    def requests(self, request_id: str) -> int:
        with self.site.admin() as admin:
            found = admin.execute("select count(*) from issues.request_ids where request_id = %s", (request_id,))
            return int(found.fetchall()[0][0])


NOTHING = {"issues": 0, "history": 0, "labels": 0, "events": 0}
WHOLE = {"issues": 1, "history": 1, "labels": 1, "events": 1}


@pytest_asyncio.fixture(scope="module")
async def desk(site: Site) -> AsyncIterator[Desk]:
    connection = await psycopg.AsyncConnection.connect(site.database.dsn("bulkhead_identity_app"), autocommit=True)
    owner = await people.make_person(connection)
    tenant_id = await people.make_tenant(connection, owner, slug="desk")
    await connection.close()
    options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 300)]
    channels = {name: grpc.aio.insecure_channel(address, options) for name, address in site.addresses.items()}

    def metadata(_service: str) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {site.mint.person(owner.user_id, tenant_id=tenant_id, role=Role.OWNER)}"),)

    made = Desk(site, Client(channels, metadata), tenant_id)
    made.project_id = (await make_project(made.client)).project_id
    made.label_id = (await make_label(made.client)).label_id
    yield made
    for channel in channels.values():
        await channel.close()


async def health(site: Site, name: str) -> str:
    async with grpc.aio.insecure_channel(site.addresses[name]) as channel:
        try:
            reply = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
        except grpc.aio.AioRpcError as error:
            return str(error.code().name)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))


async def until_health(site: Site, name: str, wanted: str) -> float:
    """How long it took."""
    began = clock.monotonic()
    while (found := await health(site, name)) != wanted:
        assert clock.monotonic() - began < SOON, f"{name} is {found}: {site.words(name)}"
        await asyncio.sleep(0.1)
    return clock.monotonic() - began


async def until(holds: Callable[[], bool], seconds: float = SOON) -> float:
    began = clock.monotonic()
    while not holds():
        assert clock.monotonic() - began < seconds, "it did not happen in time"
        await asyncio.sleep(0.02)
    return clock.monotonic() - began


def sessions(site: Site, *, waiting: bool) -> int:
    """Those of the issues service's RPCs."""
    with site.admin() as admin:
        found = admin.execute(
            "select count(*) filter (where wait_event_type = 'Lock'), count(*) from pg_stat_activity"
            " where usename = 'bulkhead_issues_app'"
        ).fetchall()
    return int(found[0][0 if waiting else 1])


@contextmanager
def locked(site: Site, table: str) -> Iterator[None]:
    """Nobody reads or writes the table meanwhile."""
    with psycopg.connect(site.database.admin_dsn) as holder:
        holder.execute(sql.SQL("lock table {} in access exclusive mode").format(sql.Identifier("issues", table)))
        yield
        holder.rollback()


@contextmanager
def dead(site: Site, name: str) -> Iterator[None]:
    """Killed with -9 and, at the end, started again."""
    site.kill(name)
    try:
        yield
    finally:
        site.start_again(name)


def log_of(site: Site, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in site.words(name).splitlines() if line.startswith("{")]


async def test_a_service_without_a_database_starts_and_serves_when_it_comes(site: Site, desk: Desk) -> None:
    with dead(site, "postgres"):
        with dead(site, "issues"):
            pass  # only to be started anew
        await until_health(site, "issues", "NOT_SERVING")
        with refused("UNAVAILABLE", "DATABASE_UNAVAILABLE"):
            await desk.client.issues.ListIssues()
        said = [entry for entry in log_of(site, "issues") if entry["event"] == "not_serving"]
        assert said[-1]["missing"] == "the database cannot be reached"
    await until_health(site, "issues", "SERVING")
    await desk.client.issues.ListIssues()


async def work(desk: Desk, worker: int, done: asyncio.Event, answers: Counter[str]) -> None:
    """Creates one issue after the other, each again until it is answered."""
    number = 0
    while not done.is_set():
        title, request_id = f"during the kill {worker} {number}", str(new_id())
        while (answer := await desk.create(title, request_id)) != "OK":
            answers[answer] += 1
            await asyncio.sleep(0.05)
        answers["OK"] += 1
        number += 1


async def test_a_database_killed_during_work_costs_only_time(site: Site, desk: Desk) -> None:
    pids = {name: program.process.pid for name, program in site.running.items()}
    answers: Counter[str] = Counter()
    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for worker in range(6):
            group.create_task(work(desk, worker, done, answers))
        await until(lambda: answers["OK"] > 10)
        with dead(site, "postgres"):
            await until(lambda: answers["DATABASE_UNAVAILABLE"] > 10)
        before = answers["OK"]
        await until(lambda: answers["OK"] > before + 10)
        done.set()
    assert set(answers) == {"OK", "DATABASE_UNAVAILABLE"}, answers
    assert all(desk.rows(title) == WHOLE for title in desk.made)
    assert {name: program.process.pid for name, program in site.running.items()} == pids
    assert all(program.process.poll() is None for program in site.running.values())
    await until_health(site, "issues", "SERVING")
    await until_health(site, "audit", "SERVING")


def outbox(site: Site) -> int:
    with site.admin() as admin:
        return int(admin.execute("select count(*) from issues.outbox").fetchall()[0][0])


async def test_without_audit_work_goes_on_and_the_log_follows(site: Site, desk: Desk) -> None:
    await until(lambda: outbox(site) == 0)
    with dead(site, "audit"):
        times = []
        for number in range(20):
            started = clock.monotonic()
            assert await desk.create(f"without audit {number}", str(new_id())) == "OK"
            times.append(clock.monotonic() - started)
        await asyncio.sleep(1)
        # An issue and its label each.
        assert outbox(site) == 40
        assert max(times) < 2
        assert await health(site, "issues") == "SERVING"
        with refused("UNAVAILABLE"):
            await desk.client.audit.ListEvents(timeout=5)
    await until_health(site, "audit", "SERVING")
    await until(lambda: outbox(site) == 0)
    assert all(desk.rows(f"without audit {number}") == WHOLE for number in range(20))
    events = (await desk.client.audit.ListEvents(filter='action = "issue.created"', page_size=200)).events
    assert {desk.made[f"without audit {number}"] for number in range(20)} <= {event.entity_id for event in events}


async def test_a_stop_lets_the_running_call_end(site: Site, desk: Desk) -> None:
    program = site.running["issues"].process
    with locked(site, "issue_labels"):
        running = asyncio.create_task(desk.create("while stopping", str(new_id())))
        await until(lambda: sessions(site, waiting=True) == 1)
        program.send_signal(signal.SIGTERM)
        # New calls are refused before the running one has ended.
        await until_health(site, "issues", "UNAVAILABLE")
        assert not running.done()
    assert await running == "OK"
    assert await asyncio.to_thread(program.wait, 10) == 0
    assert desk.rows("while stopping") == WHOLE
    assert sessions(site, waiting=False) == 0
    site.start_again("issues")
    await until_health(site, "issues", "SERVING")


@pytest.mark.parametrize("table", ["request_ids", "projects", "issue_status_history", "issue_labels", "outbox"])
async def test_a_service_killed_between_statements_leaves_nothing_half_done(table: str, site: Site, desk: Desk) -> None:
    title, request_id = f"killed at {table}", str(new_id())
    with ExitStack() as stack:
        with locked(site, table):
            running = asyncio.create_task(desk.create(title, request_id))
            await until(lambda: sessions(site, waiting=True) == 1)
            stack.enter_context(dead(site, "issues"))
            assert await running == "UNAVAILABLE"
        await until(lambda: sessions(site, waiting=False) == 0)
        # What the server had been sent to its COMMIT it may have carried out; nothing in between.
        found = desk.rows(title)
        assert found in (NOTHING, WHOLE)
        assert desk.requests(request_id) == found["issues"]
    await until_health(site, "issues", "SERVING")
    assert await desk.create(title, request_id) == "OK"
    assert desk.rows(title) == WHOLE
    assert desk.requests(request_id) == 1
