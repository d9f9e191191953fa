"""A whole installation on this machine: PostgreSQL, migrations, keys, services, relays and workers."""

import os
import time
from types import TracebackType

import grpc
from bulkhead_kit import keyfiles
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bulkhead_cli import database, ports
from bulkhead_cli.endpoints import FILE, Endpoints
from bulkhead_cli.errors import MendableError
from bulkhead_cli.lock import Lock
from bulkhead_cli.postgres import EmbeddedPostgres, Server
from bulkhead_cli.programs import NAMES, SERVICES, folder, programs
from bulkhead_cli.settings import CliSettings
from bulkhead_cli.stopping import StoppedError, StopRequest
from bulkhead_cli.supervisor import Child, Say, Supervisor

SERVING_PATIENCE = 60.0
# So often may a program fall before the start is given up.
FALLS = 3


class Installation:
    """start() returns when every service answers; stop() ends services first, PostgreSQL last."""

    def __init__(self, settings: CliSettings, say: Say, stop: StopRequest | None = None) -> None:
        """`stop` also ends the waiting in start()."""
        self.settings = settings
        self.state = settings.state.resolve()
        self._say = say
        self._stop_request = stop or StopRequest()
        self._lock = Lock(self.state / "lock", "An installation")
        self._postgres: EmbeddedPostgres | None = None
        self._server: Server | None = None
        self._supervisor: Supervisor | None = None

    def __enter__(self) -> Endpoints:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Endpoints:
        folder(self.state)
        self._lock.take()
        try:
            return self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> Endpoints:
        addresses = {service: self.settings.listen(service) for service in SERVICES}
        for service, address in addresses.items():
            demand_free(service, address)
        admin = self._database()
        passwords = database.passwords_in(self.state)
        database.migrate(admin, passwords, lambda line: self._say("migrate", line))
        keys = self.state / "keys"
        keyfiles.generate_keys(keys)
        endpoints = Endpoints(
            pid=os.getpid(),
            file=str(self.state / FILE),
            services=addresses,
            metrics=self._metrics(),
            database_admin=admin,
            database_roles={role: database.dsn_as(admin, role, word) for role, word in passwords.items()},
            keys=str(keys),
            mail=str(folder(self.state / "mail")),
            logs=str(self.state / "logs"),
        )
        self._supervise(endpoints)
        endpoints.write()
        return endpoints

    def _metrics(self) -> dict[str, str]:
        memory = folder(self.state / "ports")
        chosen: dict[str, str] = {}
        for name in NAMES:
            own = ports.Ports(memory / name)
            port = next(port for port in own.offers() if f"{ports.HOST}:{port}" not in chosen.values())
            own.remember(port)
            chosen[name] = f"{ports.HOST}:{port}"
        return chosen

    def _database(self) -> str:
        if self.settings.given_database is not None:
            return self.settings.given_database
        self._postgres = EmbeddedPostgres(self.state / "postgres", port=self.settings.postgres_port)
        self._server = self._postgres.start()
        self._say("postgres", f"PostgreSQL {self._server.version} on {self._server.host}:{self._server.port}")
        return database.create(self._server.dsn)

    def _supervise(self, endpoints: Endpoints) -> None:
        made = Supervisor(programs(self.settings, endpoints), self.state / "logs", self._say)
        made.look_first(self._look_after_postgres)
        self._supervisor = made
        made.start()
        wait_until_serving(endpoints, made.children, self._stop_request)

    def _look_after_postgres(self) -> None:
        if self._postgres is None or self._server is None or self._postgres.running():
            return
        self._say("postgres", "has ended; starts again")
        self._server = self._postgres.restart(self._server)
        self._say("postgres", f"is back on {self._server.host}:{self._server.port}")

    def stop(self) -> None:
        (self.state / FILE).unlink(missing_ok=True)
        if self._supervisor is not None:
            self._supervisor.stop()
        if self._postgres is not None:
            self._postgres.stop()
        self._lock.release()


def demand_free(service: str, address: str) -> None:
    host, port = ports.parts(address)
    if port is not None and not ports.is_free(port, host):
        raise MendableError(f"Port {port}, wanted by {service}, is taken.", ports.listen_elsewhere(service, port))


def wait_until_serving(endpoints: Endpoints, children: list[Child], stop: StopRequest) -> None:
    deadline = time.monotonic() + SERVING_PATIENCE
    waiting = dict(endpoints.services)
    while waiting:
        if stop.wait(0.05):
            raise StoppedError
        for child in children:
            if child.lives > FALLS:
                raise MendableError(f"{child.program.name} does not stay up.", last_words(endpoints, child))
        waiting = {service: address for service, address in waiting.items() if health(address) != "SERVING"}
        if waiting and time.monotonic() > deadline:
            raise MendableError(f"{', '.join(waiting)} did not serve in time.", f"read the logs in {endpoints.logs}.")


def health(address: str, timeout: float = 1.0) -> str:
    host, port = ports.parts(address)
    with grpc.insecure_channel(address if port is None else f"{host}:{port}") as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout)
        except grpc.RpcError as error:
            return str(error.code().name)
    name: str = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return name


def last_words(endpoints: Endpoints, child: Child) -> str:
    return f"read {endpoints.logs}/{child.program.name}.log; it ends with: {' / '.join(child.log.last)}"
