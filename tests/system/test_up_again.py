"""`bulkhead up` with the real programs: what is killed with -9 is back, and what people did is still there."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import psutil
import psycopg
import pytest
from bulkhead_cli.programs import SERVICES
from bulkhead_kit import clock
from bulkhead_kit.caller import Role

from tests.cli.test_up import child_named, free_port, of_state
from tests.support import people
from tests.support.builders import make_issue, make_project
from tests.support.client import Client
from tests.support.tokens import Mint

PATIENCE = 90.0
SOON = 20.0
"""On a busy machine; on a quiet one it is three."""


@dataclass
class Installation:
    process: subprocess.Popen[str]
    state: Path
    endpoints: dict[str, Any]


@pytest.fixture
def installation() -> Iterator[Installation]:
    folder = Path(tempfile.mkdtemp(prefix="bh-"))
    listens = {f"BULKHEAD_{service.upper()}_LISTEN": f"127.0.0.1:{free_port()}" for service in SERVICES}
    process = subprocess.Popen(
        [sys.executable, "-m", "bulkhead_cli", "up", "--json"],
        env={**os.environ, **listens, "BULKHEAD_STATE": str(folder / "run")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield Installation(process, folder / "run", wait_for_endpoints(process, folder / "run" / "endpoints.json"))
    finally:
        process.kill()
        process.wait()
        for left in of_state(folder / "run"):
            left.kill()
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_endpoints(process: subprocess.Popen[str], file: Path) -> dict[str, Any]:
    ends = clock.monotonic() + PATIENCE
    while not file.exists():
        assert process.poll() is None, "it did not come up"
        assert clock.monotonic() < ends, "it did not come up in time"
        time.sleep(0.1)
    found: dict[str, Any] = json.loads(file.read_text())
    return found


@asynccontextmanager
async def somebody(installation: Installation) -> AsyncIterator[Client]:
    """The owner of a company."""
    endpoints = installation.endpoints
    roles = endpoints["database_roles"]
    connection = await psycopg.AsyncConnection.connect(roles["bulkhead_identity_app"], autocommit=True)
    owner = await people.make_person(connection)
    tenant_id = await people.make_tenant(connection, owner, slug="acme")
    await connection.close()
    token = Mint.open(Path(endpoints["keys"])).person(owner.user_id, tenant_id=tenant_id, role=Role.OWNER)
    options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 300)]
    channels = {name: grpc.aio.insecure_channel(address, options) for name, address in endpoints["services"].items()}
    yield Client(channels, lambda _: (("authorization", f"Bearer {token}"),))
    for channel in channels.values():
        await channel.close()


async def until_answered(client: Client, issue_id: str) -> Any:
    """Calls until one goes through; meanwhile there is no other answer than UNAVAILABLE."""
    ends = clock.monotonic() + SOON
    while clock.monotonic() < ends:
        calling = client.issues.GetIssue(issue_id=issue_id)
        code = await calling.code()
        if code == grpc.StatusCode.OK:
            return await calling
        assert code == grpc.StatusCode.UNAVAILABLE
        await asyncio.sleep(0.1)
    raise AssertionError("nobody answers")


async def kill_postgres(installation: Installation) -> None:
    """And waits for the next one. The dead one's sessions may still answer for a moment."""
    dsn = installation.endpoints["database_admin"]
    question = "select pg_postmaster_start_time()"
    with psycopg.connect(dsn) as admin:
        before = admin.execute(question).fetchall()
    child_named(installation.process, "/postgres").kill()
    ends = clock.monotonic() + SOON
    while clock.monotonic() < ends:
        with suppress(psycopg.OperationalError), psycopg.connect(dsn) as admin:
            if admin.execute(question).fetchall() != before:
                return
        await asyncio.sleep(0.1)
    raise AssertionError("PostgreSQL does not come back")


def pids(installation: Installation) -> dict[int, str]:
    """The services' programs, without PostgreSQL."""
    children = psutil.Process(installation.process.pid).children()
    return {child.pid: " ".join(child.cmdline()[-2:]) for child in children if "-m" in child.cmdline()}


@pytest.mark.soak
async def test_what_is_killed_is_back(installation: Installation) -> None:
    async with somebody(installation) as client:
        issue = await make_issue(client, (await make_project(client)).project_id)
        before = pids(installation)

        victim = child_named(installation.process, "bulkhead_issues serve")
        victim.kill()
        assert await until_answered(client, issue.issue_id) == issue
        after = pids(installation)
        assert sorted(after.values()) == sorted(before.values())
        assert before.keys() - after.keys() == {victim.pid}

        await kill_postgres(installation)
        # It has been away, and no call since is told so.
        await make_issue(client, issue.project_id)
        assert await client.issues.GetIssue(issue_id=issue.issue_id) == issue
        assert before.keys() - pids(installation).keys() == {victim.pid}
        await until_logged(client)

    installation.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(installation.process.wait, 40) == 0
    assert not of_state(installation.state)


async def until_logged(client: Client) -> None:
    """Both issues have arrived in the log, so the relays and audit have outlived it too."""
    ends = clock.monotonic() + SOON
    while len((await client.audit.ListEvents(filter='action = "issue.created"')).events) < 2:
        assert clock.monotonic() < ends, "nothing arrives in the log"
        await asyncio.sleep(0.1)
