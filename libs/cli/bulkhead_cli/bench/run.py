"""The rounds of a bench: fresh processes each, ours and the bare server's next to each other, call by call."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import grpc.aio
import psutil
from bulkhead_kit import metadata
from bulkhead_kit.settings import inherited_environment
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bulkhead_cli import ports
from bulkhead_cli.bench import report
from bulkhead_cli.bench.doors import at_the_door
from bulkhead_cli.bench.load import Load, Metadata, Meter, Method, run
from bulkhead_cli.bench.scene import Call, furnish
from bulkhead_cli.demo.company import Company
from bulkhead_cli.endpoints import Endpoints
from bulkhead_cli.errors import MendableError
from bulkhead_cli.person import Person
from bulkhead_cli.programs import shared
from bulkhead_cli.settings import CliSettings
from bulkhead_cli.up import Installation, health

IN_FLIGHT = (1, 16)
COUNTED_CALLS = 50
START_PATIENCE = 30.0


@dataclass(frozen=True)
class Extent:
    """How long and how often each call is measured."""

    rounds: int = 3
    seconds: float = 2.0


@dataclass(frozen=True)
class Serving:
    """A server process of one round."""

    address: str
    process: psutil.Process
    metrics: str | None = None


def bench(settings: CliSettings, extent: Extent, console: Console) -> list[report.Result]:
    """In an installation of its own; everything it started has ended when it returns."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as folder:
        own = settings.model_copy(
            update={
                "state": Path(folder) / "run",
                **{f"{name}_listen": f"127.0.0.1:{ports.free()}" for name in ("identity", "issues", "audit")},
            }
        )
        with Installation(own, lambda name, text: None) as endpoints:
            return asyncio.run(_Bench(own, endpoints, extent, console, Path(folder)).all())


class _Bench:
    def __init__(
        self, settings: CliSettings, endpoints: Endpoints, extent: Extent, console: Console, folder: Path
    ) -> None:
        self._settings = settings
        self._endpoints = endpoints
        self._extent = extent
        self._console = console
        self._folder = folder
        self._postgres = _postgres_of(endpoints)
        self._requests: dict[str, bytes] = {}

    async def all(self) -> list[report.Result]:
        async with Person(self._endpoints, "Bench", "bench@example.com", "the-tide-is-low-at-4") as owner:
            company = Company(owner, "bench")
            await company.found("Bench")
            await company.start_project("PUMP", "Pumps")
            calls = [*await furnish(company), *await at_the_door(self._endpoints, company)]
            await self._record(calls, owner)
            return await self._rounds(calls, owner)

    async def _record(self, calls: list[Call], owner: Person) -> None:
        """What the bare server is to answer: the very bytes of ours."""
        for call in calls:
            async with grpc.aio.insecure_channel(self._endpoints.services[call.service]) as channel:
                method: Method = channel.unary_unary(call.path)
                request = self._requests[call.name] = call.following()
                answer = await method(request, metadata=_metadata(call, owner))
                call.heard(answer)
                self._replies(call).write_text(json.dumps({call.path: answer.hex()}), encoding="utf-8")

    def _replies(self, call: Call) -> Path:
        return self._folder / f"{call.name}.json"

    async def _rounds(self, calls: list[Call], owner: Person) -> list[report.Result]:
        pairs: dict[tuple[str, int], list[tuple[Load, Load]]] = {}
        counted: dict[str, tuple[float, float]] = {}
        steps = self._extent.rounds * len(calls) * len(IN_FLIGHT)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console) as progress:
            task = progress.add_task("measuring", total=steps)
            for _ in range(self._extent.rounds):
                for call in calls:
                    await owner.stay_logged_in()
                    with self._ours(call.service) as ours, self._bare(call) as bare:
                        counted[call.name] = await _traffic(ours, call, owner)
                        for in_flight in IN_FLIGHT:
                            pair = await self._pair(ours, bare, call, owner, in_flight)
                            pairs.setdefault((call.name, in_flight), []).append(pair)
                            progress.advance(task)
        return [report.summed_up(name, in_flight, found, *counted[name]) for (name, in_flight), found in pairs.items()]

    async def _pair(self, ours: Serving, bare: Serving, call: Call, owner: Person, in_flight: int) -> tuple[Load, Load]:
        first = await self._load(ours, call, owner, in_flight)
        # The bare server's answers are one and the same: no next request can come of them.
        echo = replace(call, following=lambda: self._requests[call.name], heard=lambda _: None)
        return first, await self._load(bare, echo, owner, in_flight)

    async def _load(self, serving: Serving, call: Call, owner: Person, in_flight: int) -> Load:
        async with grpc.aio.insecure_channel(serving.address) as channel:
            return await run(
                channel,
                call.path,
                call.following,
                _metadata(call, owner),
                in_flight=in_flight,
                seconds=self._extent.seconds,
                serving=serving.process,
                database=self._postgres,
                heard=call.heard,
                apart=_password_cpu(serving.metrics) if call.hashes and serving.metrics else None,
            )

    @contextmanager
    def _ours(self, service: str) -> Iterator[Serving]:
        port, metrics = ports.free(), ports.free()
        told = {
            **shared(self._settings, self._endpoints, service),
            "LISTEN": f"127.0.0.1:{port}",
            "DATABASE_URL": self._endpoints.database_roles[f"bulkhead_{service}_app"],
            "METRICS_LISTEN": f"127.0.0.1:{metrics}",
            # Counted, so that it costs what it costs, but out of reach.
            **dict.fromkeys(("RATE_PER_IP", "RATE_PER_PRINCIPAL", "RATE_PER_TENANT"), "999999999/minute"),
            "RATE_PER_METHOD": "*=999999999/minute",
            "LOG_LEVEL": "warning",
            "LOG_FORMAT": "json",
        }
        prefix = f"BULKHEAD_{service.upper()}_"
        environment = inherited_environment() | {f"{prefix}{name}": value for name, value in told.items()}
        address, command = f"127.0.0.1:{port}", [sys.executable, "-m", f"bulkhead_{service}", "serve"]
        with _started(command, environment, self._folder / "ours.log", lambda: health(address) == "SERVING") as process:
            yield Serving(address, process, f"http://127.0.0.1:{metrics}/metrics")

    @contextmanager
    def _bare(self, call: Call) -> Iterator[Serving]:
        port = ports.free()
        command = [sys.executable, "-m", "bulkhead_cli.bench.bare", str(port), str(self._replies(call))]
        address, words = f"127.0.0.1:{port}", self._folder / "bare.log"
        # It has no health service, and says so once it listens.
        with _started(command, inherited_environment(), words, lambda: health(address) == "UNIMPLEMENTED") as process:
            yield Serving(address, process)


async def _traffic(serving: Serving, call: Call, owner: Person) -> tuple[float, float]:
    """Statements and round trips of one call."""
    assert serving.metrics is not None
    async with grpc.aio.insecure_channel(serving.address) as channel:
        method: Method = channel.unary_unary(call.path)
        call.heard(await method(call.following(), metadata=_metadata(call, owner)))
        before = await asyncio.to_thread(_counters, serving.metrics)
        for _ in range(COUNTED_CALLS):
            call.heard(await method(call.following(), metadata=_metadata(call, owner)))
        after = await asyncio.to_thread(_counters, serving.metrics)
    return (after[0] - before[0]) / COUNTED_CALLS, (after[1] - before[1]) / COUNTED_CALLS


def _counters(url: str) -> tuple[float, float]:
    lines = _lines(url)
    return _counter(lines, "bulkhead_db_statements_total{"), _counter(lines, "bulkhead_db_round_trips_total{")


def _password_cpu(url: str) -> Meter:
    return lambda: _counter(_lines(url), "bulkhead_password_cpu_seconds_total ")


def _lines(url: str) -> list[str]:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own process, by http
        text: str = answer.read().decode()
    return text.splitlines()


def _counter(lines: list[str], start: str) -> float:
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(start))


def _metadata(call: Call, owner: Person) -> Metadata:
    if call.is_public:
        return ()
    return metadata.outgoing(token=owner.token, tenant_id=UUID(owner.tenant_id))


@contextmanager
def _started(
    command: list[str], told: dict[str, str], words: Path, answers: Callable[[], bool]
) -> Iterator[psutil.Process]:
    """Yields when the server answers; it is killed in the end. What it says goes to the file `words`."""
    with (
        words.open("w", encoding="utf-8") as said,
        subprocess.Popen(command, env=told, stdout=said, stderr=said) as process,
    ):
        try:
            ends = time.monotonic() + START_PATIENCE
            while not answers():
                if time.monotonic() > ends or process.poll() is not None:
                    last = words.read_text(encoding="utf-8").strip().rpartition("\n")[2]
                    raise MendableError(f"A server to measure did not come up: {last}", "`bulkhead up` shows more.")
                time.sleep(0.05)
            yield psutil.Process(process.pid)
        finally:
            process.kill()


def _postgres_of(endpoints: Endpoints) -> psutil.Process | None:
    """The server's first process, when it runs on this machine."""
    for child in psutil.Process().children(recursive=True):
        try:
            if child.name() == "postgres" and child.parent() is not None:
                return child
        except psutil.NoSuchProcess:
            continue
    return None
