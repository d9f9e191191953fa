"""A process works under the login that the walls are written for, or not at all."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import structlog
from bulkhead_cli import database as installation
from bulkhead_cli.postgres import EmbeddedPostgres, Server
from bulkhead_issues.settings import IssuesSettings
from bulkhead_kit import clock
from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database, PoolSettings
from bulkhead_kit.errors import Unavailable
from bulkhead_kit.outbox.process import keep_delivering
from bulkhead_kit.outbox.relay import Tuning
from bulkhead_kit.readiness import Readiness
from bulkhead_kit.roles import LOGINS
from bulkhead_kit.telemetry import RelayMetrics
from bulkhead_kit.worker import wait_for_roles
from prometheus_client import CollectorRegistry

WORDS = {name: secrets.token_urlsafe(8) for name in LOGINS}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One of its own: what is tried here is done to roles, and they belong to the whole server."""
    with tempfile.TemporaryDirectory(prefix="bh-") as folder:
        Path(folder).chmod(0o755)
        with EmbeddedPostgres(Path(folder) / "pg", durable=False) as made:
            with psycopg.connect(made.dsn, autocommit=True) as admin:
                admin.execute("create database bulkhead template template0")
                admin.execute("create role other login superuser password 'other'")
            installation.migrate(made.dsn_for("bulkhead"), WORDS, lambda _: None)
            yield made


def run(server: Server, *statements: str) -> None:
    with psycopg.connect(server.dsn_for("bulkhead"), autocommit=True) as admin:
        for statement in statements:
            admin.execute(statement.encode())


def url(server: Server, login: str) -> str:
    return server.dsn_for("bulkhead", login, WORDS.get(login, "other"))


def caller() -> Caller:
    return Caller(actor_type="system", rpc="test", request_id="test", deadline=clock.monotonic() + 30)


class Process:
    """What serve and work ask before they do anything, on one pool."""

    def __init__(self, dsn: str, wanted: str = "bulkhead_issues_app") -> None:
        self._database = Database(dsn, PoolSettings(login=wanted))
        self._ready = Readiness(IssuesSettings.model_construct(), self._database)

    async def __aenter__(self) -> Process:
        await self._database.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._database.close()

    async def health(self) -> str | None:
        async with asyncio.timeout(60):
            while (said := await self._ready()) == "the database cannot be reached":  # noqa: ASYNC110 - a balancer asks so
                await asyncio.sleep(0.1)
            return said

    async def reads(self) -> bool:
        """Whether a call would be answered."""
        try:
            await self._database.state("issues", caller())
        except Unavailable:
            return False
        return True

    async def complaint_of_worker(self) -> str:
        """Empty where it begins to work."""
        with structlog.testing.capture_logs() as lines:
            waiting = asyncio.create_task(wait_for_roles("issues", self._database))
            async with asyncio.timeout(60):
                while not waiting.done() and "not to be trusted" not in str(lines):  # noqa: ASYNC110 - a log tells nobody
                    await asyncio.sleep(0.02)
            waiting.cancel()
        return str(lines) if lines else ""


@pytest.mark.parametrize(
    ("login", "said"),
    [
        ("other", "other is a superuser"),
        ("bulkhead_backup", "bulkhead_backup is logged in where bulkhead_issues_app is wanted"),
        ("bulkhead_ops", "bulkhead_ops is logged in where bulkhead_issues_app is wanted"),
        ("bulkhead_identity_app", "bulkhead_identity_app is logged in where bulkhead_issues_app is wanted"),
        ("bulkhead_issues_worker", "bulkhead_issues_worker is logged in where bulkhead_issues_app is wanted"),
    ],
)
async def test_another_login_serves_nothing_and_is_named(server: Server, login: str, said: str) -> None:
    async with Process(url(server, login)) as process:
        assert said in (await process.health() or "")
        assert not await process.reads()


async def test_the_wanted_login_serves(server: Server) -> None:
    async with Process(url(server, "bulkhead_issues_app")) as process:
        assert await process.health() is None
        assert await process.reads()


@pytest.mark.parametrize(
    ("power", "back", "said"),
    [
        ("bypassrls", "nobypassrls", "bulkhead_issues_app has BYPASSRLS"),
        ("superuser", "nosuperuser", "bulkhead_issues_app is a superuser"),
    ],
)
async def test_a_power_given_later_is_seen_at_the_next_look(server: Server, power: str, back: str, said: str) -> None:
    async with Process(url(server, "bulkhead_issues_app")) as process:
        assert await process.health() is None
        run(server, f"alter role bulkhead_issues_app {power}")
        try:
            assert said in (await process.health() or "")
        finally:
            run(server, f"alter role bulkhead_issues_app {back}")
        assert await process.health() is None


async def test_a_login_that_owns_something_is_refused(server: Server) -> None:
    async with Process(url(server, "bulkhead_issues_app")) as process:
        run(server, "create table public.planted (n int)", "alter table public.planted owner to bulkhead_issues_app")
        try:
            assert "owns something" in (await process.health() or "")
        finally:
            run(server, "drop table public.planted")
        assert await process.health() is None


async def test_a_login_that_becomes_another_role_is_refused(server: Server) -> None:
    run(
        server,
        "grant bulkhead_audit_app to bulkhead_issues_app",
        "alter role bulkhead_issues_app set role = bulkhead_audit_app",
    )
    try:
        async with Process(url(server, "bulkhead_issues_app")) as process:
            assert "acts as bulkhead_audit_app" in (await process.health() or "")
    finally:
        run(
            server,
            "alter role bulkhead_issues_app reset role",
            "revoke bulkhead_audit_app from bulkhead_issues_app",
        )


@pytest.mark.parametrize("login", ["other", "bulkhead_issues_app", "bulkhead_identity_worker"])
async def test_a_worker_and_a_relay_wait_for_the_right_login(server: Server, login: str) -> None:
    async with Process(url(server, login), wanted="bulkhead_issues_worker") as process:
        assert f"{login} is logged in where bulkhead_issues_worker is wanted" in await process.complaint_of_worker()
    stop = asyncio.Event()
    with structlog.testing.capture_logs() as lines:
        metrics = RelayMetrics(CollectorRegistry())
        relay = keep_delivering(url(server, login), "issues", _append, metrics, stop, Tuning())  # type: ignore[arg-type]  # never called
        delivering = asyncio.create_task(relay)
        async with asyncio.timeout(60):
            while not lines:  # noqa: ASYNC110 - a log tells nobody
                await asyncio.sleep(0.02)
        stop.set()
        await delivering
    assert lines[0]["event"] == "roles_refused"
    assert f"{login} is logged in where bulkhead_issues_relay is wanted" in lines[0]["detail"]


async def test_the_right_worker_works(server: Server) -> None:
    async with Process(url(server, "bulkhead_issues_worker"), wanted="bulkhead_issues_worker") as process:
        assert await process.complaint_of_worker() == ""


async def _append(*_: object) -> None:
    raise AssertionError("there is nothing to deliver")
