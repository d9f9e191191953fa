"""PostgreSQL on a disk of its own that is really full: services say so, go on reading, and mend by themselves."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import grpc.aio
import pytest
import pytest_asyncio
import structlog
from bulkhead_cli.postgres import EmbeddedPostgres, Server
from bulkhead_kit import clock
from bulkhead_kit.db import refusals
from prometheus_client import REGISTRY

from tests.support.house import House, Tenant
from tests.support.parts import PARTS
from tests.support.postgres import Databases, PostgresServer, ScratchDatabase

SIZE = "160m"
LEFT = 64 * 1024
"""Bytes that the ballast leaves: some pages of tables."""
SETTINGS = {"min_wal_size": "32MB", "max_wal_size": "48MB"}
PATIENCE = 60.0


@dataclass
class Disk:
    place: Path
    postgres: EmbeddedPostgres
    server: Server

    @property
    def ballast(self) -> Path:
        return self.place / "ballast"

    def fill(self) -> None:
        free = os.statvfs(self.place)
        with self.ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - LEFT)

    def make_room(self) -> None:
        self.ballast.unlink(missing_ok=True)

    @property
    def database_server(self) -> PostgresServer:
        server = self.server
        return PostgresServer("embedded", server.superuser, server.password, server.host, server.port)


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        PARTS.absent["A disk to mount"] = "no test filled the disk of a PostgreSQL"
        pytest.skip("no disk can be mounted here; the last lines of pytest say so too")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def disk() -> Iterator[Disk]:
    with tempfile.TemporaryDirectory(prefix="bulkhead-disk-") as name:
        # Who runs PostgreSQL here may be somebody else.
        Path(name).chmod(0o755)
        place = Path(name) / "disk"
        place.mkdir()
        with mounted(place):
            postgres = EmbeddedPostgres(place, durable=False, settings=SETTINGS)
            with postgres as server:
                yield Disk(place, postgres, server)


@pytest.fixture(scope="module")
def database(disk: Disk) -> ScratchDatabase:
    return ScratchDatabase(disk.database_server, Databases(disk.database_server).template())


@pytest_asyncio.fixture
async def tenant(house: House, disk: Disk) -> AsyncIterator[Tenant]:
    made = await house.tenant("acme")
    made.lift_limits()
    yield made
    disk.make_room()


async def write(tenant: Tenant) -> None:
    await tenant.owner.issues.CreateWorkspace(workspace={"name": str(uuid4())})


async def write_until_refused(tenant: Tenant) -> str | None:
    for _ in range(5_000):
        try:
            await write(tenant)
        except grpc.aio.AioRpcError as error:
            return error.details()
    return None


async def writes_again(tenant: Tenant) -> None:
    ends = clock.monotonic() + PATIENCE
    while True:
        try:
            return await write(tenant)
        except grpc.aio.AioRpcError:
            if clock.monotonic() > ends:
                raise
            await asyncio.sleep(0.05)


def refused() -> float:
    return REGISTRY.get_sample_value("bulkhead_db_refused_total", {"sqlstate": "53100"}) or 0.0


async def test_a_full_disk_is_named_reads_go_on_and_writes_come_back(house: House, tenant: Tenant, disk: Disk) -> None:
    health, before = house.running["issues"].health, refused()
    refusals._said.clear()
    await write(tenant)
    disk.fill()
    with structlog.testing.capture_logs() as lines:
        assert await write_until_refused(tenant) == "the database's disk is full; try again"
        assert len((await tenant.owner.issues.ListWorkspaces()).workspaces) > 0
    assert (health.serving, health.missing) == (True, None)
    assert refused() >= before + 1
    line = next(line for line in lines if line["event"] == "database_refuses")
    assert (line["sqlstate"], line["log_level"]) == ("53100", "error")
    assert "No space left on device" in line["message"]
    disk.make_room()
    await writes_again(tenant)
