"""Load on one method and what it cost: latencies seen here, CPU seen on the processes that served."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import grpc.aio
import psutil

Metadata = Sequence[tuple[str, str]]
Method: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]"
Next = Callable[[], bytes]
"""The next request, in wire form."""
Heard = Callable[[bytes], None]
"""Is told each answer, for calls whose next request depends on it."""
Meter = Callable[[], float]
"""CPU seconds of the serving process that a counter of its own names apart."""


@dataclass(frozen=True)
class Load:
    """What one method cost one server in one stretch of time."""

    calls: int
    seconds: float
    cpu_us: float
    """Of the serving process, a call."""
    database_cpu_us: float
    """Of all of PostgreSQL's processes, a call."""
    latencies: list[float]
    """Sorted, in seconds."""
    apart_us: float | None = None
    """Of cpu_us, what the process itself counts apart: a password's hash."""

    @property
    def rps(self) -> float:
        return self.calls / self.seconds

    def percentile_ms(self, share: float) -> float:
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))] * 1000


async def run(
    channel: grpc.aio.Channel,
    path: str,
    following: Next,
    metadata: Metadata,
    *,
    in_flight: int,
    seconds: float,
    serving: psutil.Process,
    database: psutil.Process | None,
    heard: Heard = lambda _: None,
    apart: Meter | None = None,
) -> Load:
    """Raises AioRpcError when a call fails: a failing call must not count as a fast one."""
    method: Method = channel.unary_unary(path)
    await _burst(method, following, heard, metadata, in_flight, min(0.5, seconds / 2))
    # Outside of what is measured, for asking costs the process something too; nothing is in flight.
    apart_before = await asyncio.to_thread(apart) if apart else 0.0
    own_before, database_before = _cpu([serving]), _cpu(_with_children(database))
    began = time.perf_counter()
    latencies = await _burst(method, following, heard, metadata, in_flight, seconds)
    took = time.perf_counter() - began
    own, backend = _cpu([serving]) - own_before, _cpu(_with_children(database)) - database_before
    calls = len(latencies)
    named = (await asyncio.to_thread(apart) - apart_before) / calls * 1e6 if apart else None
    return Load(calls, took, own / calls * 1e6, backend / calls * 1e6, sorted(latencies), named)


async def _burst(
    method: Method,
    following: Next,
    heard: Heard,
    metadata: Metadata,
    in_flight: int,
    seconds: float,
) -> list[float]:
    ends = time.perf_counter() + seconds
    latencies: list[float] = []

    async def caller() -> None:
        while (began := time.perf_counter()) < ends:
            answer = await method(following(), metadata=metadata, timeout=10)
            latencies.append(time.perf_counter() - began)
            heard(answer)

    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return latencies


def _with_children(process: psutil.Process | None) -> list[psutil.Process]:
    return [] if process is None else [process, *process.children(recursive=True)]


def _cpu(processes: list[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        try:
            spent = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += spent.user + spent.system
    return total
