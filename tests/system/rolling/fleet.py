"""Two processes of each service, by mTLS, behind one name each: at two addresses, or at one port."""

from __future__ import annotations

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

Layout = Literal["two addresses", "one port"]
LAYOUTS: Final[tuple[Layout, ...]] = ("two addresses", "one port")
HOSTS: Final = ("127.0.0.1", "127.0.0.2")
SOON: Final = 60.0
UNCOUNTED: Final = "999999999/minute"


@dataclass
class Replica:
    service: str
    settings: dict[str, str]
    metrics: str
    path: Path
    """Of its log."""
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        prefix = f"BULKHEAD_{self.service.upper()}_"
        with self.path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"bulkhead_{self.service}", "serve"],
                env=inherited_environment() | {prefix + key: value for key, value in self.settings.items()},
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
        self.replicas: dict[str, list[Replica]] = {}

    @contextmanager
    def started(self) -> Iterator[Fleet]:
        with ExitStack() as stack:
            hosts = HOSTS if self.layout == "two addresses" else HOSTS[:1]
            names = stack.enter_context(name_server(dict.fromkeys(self.services, hosts)))
            ports = Ports(self.folder / "port").offers()
            for name in self.services:
                port = next(ports)
                self.targets[name] = f"dns://{names}/{name}:{port}"
                self.replicas[name] = [self._replica(name, number, port, next(ports)) for number in range(2)]
            replicas = [replica for each in self.replicas.values() for replica in each]
            for replica in replicas:
                replica.start()
                stack.callback(replica.kill)
            for replica in replicas:
                replica.wait_serving()
            yield self

    def _replica(self, name: str, number: int, port: int, metrics: int) -> Replica:
        """Nothing is set that bears on restarts but what makes the layout."""
        shared = self.layout == "one port"
        files = self.tls[name]
        settings = {
            "LISTEN": f"{HOSTS[0 if shared else number]}:{port}",
            "METRICS_LISTEN": f"127.0.0.1:{metrics}",
            "SHARE_PORT": str(shared).lower(),
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
        return Replica(name, settings, f"127.0.0.1:{metrics}", self.folder / f"{name}-{number}.log")
