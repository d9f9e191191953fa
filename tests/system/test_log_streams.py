"""A service whose log nobody takes: it answers all the same, counts what is lost, and ends when it is told to."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import grpc.aio
import psycopg
import pytest
import pytest_asyncio
from bulkhead_cli.ports import Ports
from bulkhead_kit import clock
from bulkhead_kit.caller import Role
from bulkhead_kit.settings import inherited_environment
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support import people
from tests.support.client import Client
from tests.support.postgres import ScratchDatabase
from tests.support.tokens import Mint

CALLS = 600
"""A line each: more than twice what a pipe of 64 KiB takes."""


Stream = Callable[[list[str]], AbstractContextManager[int]]
"""Opens what standard error is; may change how the command is started."""


@dataclass(frozen=True)
class Setting:
    folder: Path
    database: ScratchDatabase
    mint: Mint
    owner: UUID
    tenant: UUID

    def environment(self, address: str, metrics: str) -> dict[str, str]:
        own = {
            "LISTEN": address,
            "METRICS_LISTEN": metrics,
            "DATABASE_URL": self.database.dsn("bulkhead_issues_app"),
            "KEYS_DIR": str(self.mint.keys),
            "AUDIT_ADDRESS": "127.0.0.1:9",
            "RATE_PER_PRINCIPAL": "999999999/minute",
            "RATE_PER_TENANT": "999999999/minute",
            "DRAIN_SECONDS": "0.1",
            "LOG_FORMAT": "json",
        }
        return inherited_environment() | {f"BULKHEAD_ISSUES_{key}": value for key, value in own.items()}


@pytest_asyncio.fixture(scope="module")
async def setting(database: ScratchDatabase, tmp_path_factory: pytest.TempPathFactory) -> Setting:
    folder = tmp_path_factory.mktemp("streams")
    async with await psycopg.AsyncConnection.connect(database.dsn("bulkhead_identity_app"), autocommit=True) as app:
        owner = await people.make_person(app)
        tenant = await people.make_tenant(app, owner, slug="streams")
    return Setting(folder, database, Mint.open(folder / "keys"), owner.user_id, tenant)


@contextmanager
def full(_: list[str]) -> Iterator[int]:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


@contextmanager
def closed(_: list[str]) -> Iterator[int]:
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@contextmanager
def stuck(_: list[str]) -> Iterator[int]:
    reading, writing = os.pipe()
    yield writing
    os.close(reading)
    os.close(writing)


@contextmanager
def missing(command: list[str]) -> Iterator[int]:
    command[:0] = ["/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    yield subprocess.DEVNULL


@pytest.mark.parametrize(
    ("stream", "loses"),
    [(full, True), (closed, True), (stuck, False), (missing, False)],
    ids=["full", "closed", "stuck", "missing"],
)
async def test_a_stream_that_takes_nothing_neither_ends_nor_holds_up_a_service(
    setting: Setting, stream: Stream, loses: bool
) -> None:
    offers = Ports(setting.folder / "port").offers()
    address, metrics = (f"127.0.0.1:{next(offers)}" for _ in range(2))
    command = [sys.executable, "-m", "bulkhead_issues", "serve"]
    with ExitStack() as stack:
        descriptor = stack.enter_context(stream(command))
        process = start(command, setting.environment(address, metrics), descriptor)
        stack.callback(process.wait)
        stack.callback(process.kill)
        async with grpc.aio.insecure_channel(address) as channel:
            await until_serving(channel)
            await call_often(setting, channel)
            assert process.poll() is None
            assert await asked(channel) == health_pb2.HealthCheckResponse.SERVING
        # The lines of the last moment may still be gathered.
        assert dropped(metrics) > CALLS / 2 if loses else dropped(metrics) == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def start(command: list[str], environment: dict[str, str], log: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=log)


async def asked(channel: grpc.aio.Channel) -> int:
    stub = health_pb2_grpc.HealthStub(channel)
    reply = await stub.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=60)
    return int(reply.status)


async def until_serving(channel: grpc.aio.Channel) -> None:
    ends = clock.monotonic() + 60
    while await asked(channel) != health_pb2.HealthCheckResponse.SERVING:
        assert clock.monotonic() < ends
        await asyncio.sleep(0.1)


async def call_often(setting: Setting, channel: grpc.aio.Channel) -> None:
    token = setting.mint.person(setting.owner, tenant_id=setting.tenant, role=Role.OWNER)
    client = Client({"issues": channel}, lambda _: (("authorization", f"Bearer {token}"),))
    for _ in range(CALLS):
        await client.issues.ListWorkspaces()


def dropped(metrics: str) -> int:
    with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=60) as reply:
        lines = reply.read().decode().splitlines()
    return int(sum(float(one.split()[1]) for one in lines if one.startswith("bulkhead_log_lines_dropped_total{")))
