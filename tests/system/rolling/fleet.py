"""Two processes of each service, by mTLS, behind one name each: at two addresses, at one port, or at an address that is
new with each start, as a cluster gives them."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from bulkhead_cli.ports import Ports
from bulkhead_kit import clock
from bulkhead_kit.settings import inherited_environment

from tests.support.certificates import Authority
from tests.support.postgres import ScratchDatabase
from tests.support.tokens import Mint
from tests.system.rolling.names import name_server

Layout = Literal["two addresses", "one port", "new addresses"]
LAYOUTS: Final[tuple[Layout, ...]] = ("two addresses", "one port", "new addresses")
SOON: Final = 60.0
UNCOUNTED: Final = "999999999/minute"


@dataclass
class Replica:
    service: str
    host: str
    port: int
    settings: dict[str, str]
    metrics: str
    path: Path
    """Of its log."""
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        prefix = f"BULKHEAD_{self.service.upper()}_"
        settings = self.settings | {"LISTEN": f"{self.host}:{self.port}"}
        with self.path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"bulkhead_{self.service}", "serve"],
                env=inherited_environment() | {prefix + key: value for key, value in settings.items()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def restart(self) -> None:
        """As the runbook has it; what comes next is the next process."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(SOON) == 0, self.words()
        self.start()
        self.wait_serving()

    def wait_serving(self) -> None:
        ends = clock.monotonic() + SOON
        while not self._serves():
            assert self.process.poll() is None, self.words()
            assert clock.monotonic() < ends, self.words()
            time.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def words(self) -> str:
        return f"{self.service} has a trouble: {self.path.read_text()[-3000:]}"

    def _serves(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=5) as answer:
                return b"\nbulkhead_serving 1.0\n" in answer.read()
        except (urllib.error.URLError, ConnectionError):
            return False


class Fleet:
    def __init__(self, folder: Path, database: ScratchDatabase, layout: Layout, services: Sequence[str]) -> None:
        self.folder, self.database, self.layout, self.services = folder, database, layout, services
        self.mint = Mint.open(folder / "keys")
        authority = Authority(folder)
        self.tls = {name: authority.issue(name) for name in (*services, "client")}
        self.targets: dict[str, str] = {}
        """By service: what clients are given."""
        self._hosts = (f"127.0.0.{number}" for number in itertools.count(1))
        self._named: dict[str, list[str]] = {}
        """What the name of each service leads to."""
        self.replicas: dict[str, list[Replica]] = {}

    @contextmanager
    def started(self) -> Iterator[Fleet]:
        with ExitStack() as stack:
            names = stack.enter_context(name_server(self._named))
            ports = Ports(self.folder / "port").offers()
            for name in self.services:
                port = next(ports)
                self.targets[name] = f"dns://{names}/{name}:{port}"
                hosts = [next(self._hosts)] * 2 if self.layout == "one port" else [next(self._hosts), next(self._hosts)]
                self.replicas[name] = [self._replica(name, host, port, next(ports)) for host in hosts]
                self._named[name] = sorted(set(hosts))
            replicas = [replica for each in self.replicas.values() for replica in each]
            for replica in replicas:
                replica.start()
                stack.callback(replica.kill)
            for replica in replicas:
                replica.wait_serving()
            yield self

    def restart(self, replica: Replica) -> None:
        moves, named = self.layout == "new addresses", self._named[replica.service]
        if moves:
            named.remove(replica.host)
            replica.host = next(self._hosts)
        replica.restart()
        if moves:
            named.append(replica.host)

    def _replica(self, name: str, host: str, port: int, metrics: int) -> Replica:
        """Nothing is set that bears on restarts but what makes the layout."""
        files = self.tls[name]
        settings = {
            "METRICS_LISTEN": f"127.0.0.1:{metrics}",
            "SHARE_PORT": str(self.layout == "one port").lower(),
            "DATABASE_URL": self.database.dsn(f"bulkhead_{name}_app"),
            "KEYS_DIR": str(self.mint.keys),
            "POOL_MAX": "8",
            "TLS_CERTIFICATE": str(files.certificate),
            "TLS_KEY": str(files.key),
            "TLS_CA": str(files.ca),
            "RATE_PER_PRINCIPAL": UNCOUNTED,
            "RATE_PER_TENANT": UNCOUNTED,
            "LOG_FORMAT": "json",
        }
        log = self.folder / f"{name}-{metrics}.log"
        return Replica(name, host, port, settings, f"127.0.0.1:{metrics}", log)
