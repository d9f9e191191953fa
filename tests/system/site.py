"""A whole installation in processes of its own, each of which can be killed: PostgreSQL, issues, audit, two relays."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import grpc
import psutil
import psycopg
from bulkhead_cli.ports import Ports
from bulkhead_cli.postgres import EmbeddedPostgres
from bulkhead_cli.postgres import Server as ServerOfCluster
from bulkhead_kit import clock
from bulkhead_kit.settings import inherited_environment
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.postgres import Databases, PostgresServer, ScratchDatabase
from tests.support.tokens import Mint

SERVICES = ("issues", "audit")
RELAYS = ("relay one", "relay two")
PATIENCE = 60.0


@dataclass
class Running:
    command: list[str]
    environment: dict[str, str]
    log: IO[bytes]
    process: subprocess.Popen[bytes] = field(init=False)
    meant_to_run: bool = False

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command, env=self.environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        self.meant_to_run = True

    def kill(self) -> None:
        """-9, and it is gone when this returns."""
        self.meant_to_run = False
        self.process.kill()
        self.process.wait()


class Site:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.postgres = EmbeddedPostgres(folder / "postgres", durable=False)
        self.mint = Mint.open(folder / "keys")
        self.addresses: dict[str, str] = {}
        self.running: dict[str, Running] = {}
        self.cluster: ServerOfCluster
        self.database: ScratchDatabase

    @contextmanager
    def started(self) -> Iterator[Site]:
        self.cluster = server = self.postgres.start()
        try:
            made = PostgresServer("embedded", server.superuser, server.password, server.host, server.port)
            self.database = Databases(made).clone()
            self._start_programs()
            yield self
        finally:
            for program in self.running.values():
                program.kill()
                program.log.close()
            self.postgres.stop()

    def _start_programs(self) -> None:
        for name in SERVICES:
            port = next(iter(Ports(self.folder / f"{name}.port").offers()))
            self.addresses[name] = f"127.0.0.1:{port}"
        for name in SERVICES:
            self._add(name, name, "serve", {"DATABASE_URL": self.database.dsn(f"bulkhead_{name}_app")})
        for name in RELAYS:
            self._add(name, "issues", "relay", {"RELAY_DATABASE_URL": self.database.dsn("bulkhead_issues_relay")})
        for name in SERVICES:
            self.wait_serving(name)

    def _add(self, name: str, service: str, command: str, own: dict[str, str]) -> None:
        own |= {
            "LISTEN": self.addresses[service],
            "AUDIT_ADDRESS": self.addresses["audit"],
            "KEYS_DIR": str(self.mint.keys),
            "POOL_MAX": "8",
            "RATE_PER_PRINCIPAL": "999999999/minute",
            "RATE_PER_TENANT": "999999999/minute",
            "LOG_LEVEL": "warning",
            "LOG_FORMAT": "json",
        }
        self.running[name] = Running(
            [sys.executable, "-m", f"bulkhead_{service}", command],
            inherited_environment() | {f"BULKHEAD_{service.upper()}_{key}": value for key, value in own.items()},
            (self.folder / f"{name.replace(' ', '-')}.log").open("ab"),
        )
        self.running[name].start()

    def wait_serving(self, name: str) -> None:
        with grpc.insecure_channel(self.addresses[name]) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            ends = clock.monotonic() + PATIENCE
            while True:
                reply = stub.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=PATIENCE)
                if reply.status == health_pb2.HealthCheckResponse.SERVING:
                    return
                assert clock.monotonic() < ends, f"{name} does not serve: {self.words(name)}"

    def demand_alive(self) -> None:
        """What we did not kill must not have ended by itself."""
        for name, program in self.running.items():
            ended = program.meant_to_run and program.process.poll() is not None
            assert not ended, f"{name} ended by itself: {self.words(name)}"

    def words(self, name: str) -> str:
        """The end of what a program has said."""
        return (self.folder / f"{name.replace(' ', '-')}.log").read_text()[-4000:]

    def admin(self) -> psycopg.Connection:
        return psycopg.connect(self.database.admin_dsn, autocommit=True)

    def kill(self, name: str) -> None:
        if name == "postgres":
            self.postgres.kill()
        else:
            self.running[name].kill()

    def start_again(self, name: str) -> None:
        if name == "postgres":
            self.cluster = self.postgres.restart(self.cluster)
        else:
            self.running[name].start()

    def active_relay(self, connection: psycopg.Connection) -> str | None:
        """By the port from which the holder of the lock is connected."""
        row = connection.execute(
            "select a.client_port from pg_locks as l join pg_stat_activity as a on a.pid = l.pid"
            " where l.locktype = 'advisory' and l.granted and a.usename = 'bulkhead_issues_relay'"
        ).fetchone()
        for name in RELAYS if row is not None else ():
            for socket in psutil.Process(self.running[name].process.pid).net_connections("tcp"):
                if row is not None and socket.laddr.port == row[0]:
                    return name
        return None
