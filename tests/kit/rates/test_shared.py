"""Limits shared through a real Redis, which is frozen, killed and started anew."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog
from bulkhead_kit.caller import Caller
from bulkhead_kit.errors import ResourceExhausted
from bulkhead_kit.ids import new_id
from bulkhead_kit.policy import read_policies
from bulkhead_kit.rates import shared
from bulkhead_kit.rates.counters import Counter
from bulkhead_kit.rates.limiter import Check, RateLimits, Rates
from bulkhead_kit.rates.rate import Rate
from bulkhead_kit.rates.shared import RedisCounts
from bulkhead_kit.telemetry import RateMetrics
from prometheus_client import CollectorRegistry

from tests.kit.rpc.calls import invoke
from tests.kit.rpc.probe import SERVICE
from tests.kit.rpc.world import Person, make_chain, running
from tests.support.redis import RedisServer, needs_redis

pytestmark = needs_redis
ASK = read_policies([SERVICE])[f"{SERVICE}/Ask"]
# Long windows, so that none ends within a test.
TEN = Rate(10, 3600)
PLENTY = Rate(900_000_000, 3600)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as started:
        yield started


class Process:
    """What one process of a service has."""

    def __init__(self, url: str, patience: float, **rates: Any) -> None:
        self.registry = CollectorRegistry()
        metrics = RateMetrics(self.registry)
        self.counts = RedisCounts(url, "probe", metrics, patience=patience)
        self.limits = RateLimits(Rates(**rates), metrics, shared=self.counts)

    def metric(self, name: str) -> float:
        return self.registry.get_sample_value(name, {"service": "probe"}) or 0.0

    async def call(self, user: UUID, tenant: UUID | None = None) -> bool:
        caller = Caller(
            actor_type="person", rpc="a/B", request_id="r", deadline=0.0, user_id=user, tenant_id=tenant, ip="192.0.2.1"
        )
        try:
            await self.limits(caller, ASK)
        except ResourceExhausted:
            return False
        return True

    async def until(self, *, away: bool) -> float:
        began = time.monotonic()
        while self.counts.is_away != away:
            assert time.monotonic() < began + 15
            await self.call(new_id())
            await asyncio.sleep(0.01)
        return time.monotonic() - began


@asynccontextmanager
async def processes(
    server: RedisServer, count: int, *, patience: float = 5.0, **rates: Any
) -> AsyncIterator[list[Process]]:
    """Patient, unless a test is about that: a busy machine can keep Redis from answering in time."""
    made = [Process(server.url, patience, **rates) for _ in range(count)]
    try:
        yield made
    finally:
        for process in made:
            await process.counts.close()


async def test_processes_together_allow_what_one_would(server: RedisServer) -> None:
    async with processes(server, 4, principal=TEN, tenant=Rate(25, 3600)) as several:
        ada, acme = new_id(), new_id()
        let_through = await asyncio.gather(*(several[n % 4].call(ada, acme) for n in range(200)))
        assert sum(let_through) == 10
        # What she was refused was not counted against her tenant.
        others = await asyncio.gather(*(several[n % 4].call(new_id(), acme) for n in range(200)))
        assert sum(others) == 15


async def test_a_late_answer_lets_nobody_past_what_is_counted_here(server: RedisServer) -> None:
    async with processes(server, 1, patience=0.01, principal=TEN) as (process,):
        ada = new_id()
        server.freeze()
        try:
            assert sum(await asyncio.gather(*(process.call(ada) for _ in range(500)))) == 10
        finally:
            server.thaw()


async def test_redis_counts_as_this_process_does(server: RedisServer, rng: random.Random) -> None:
    """The script against counters.py, side by side over windows of a second."""
    async with processes(server, 1, principal=Rate(8, 1)) as (process,):
        alone, subject, compared = Counter("principal", Rate(8, 1)), "0", [0, 0]
        # On Redis's clock, which is this machine's.
        until = time.time() + 4
        while time.time() < until:
            before = time.time()
            found = await process.counts.exceeded([Check(alone, subject)])
            after = time.time()
            if int(before) != int(after):
                # In which of the two windows was it counted? Begin anew.
                alone, subject = Counter("principal", Rate(8, 1)), str(after)
                continue
            waits = alone.wait(subject, before), alone.wait(subject, after)
            compared[found is None] += 1
            if found is None:
                assert min(waits) == 0
                alone.count(subject)
            else:
                assert max(waits) > 0
                assert min(waits) - 0.002 <= found[1] <= max(waits) + 0.002
            await asyncio.sleep(rng.uniform(0, 0.05))
    print(f"{compared[0]} calls refused and {compared[1]} let through by both")
    assert min(compared) > 10


async def test_who_is_refused_by_redis_is_refused_here_without_asking_again(server: RedisServer) -> None:
    async with processes(server, 2, principal=TEN) as (one, two):
        ada = new_id()
        assert [await one.call(ada) for _ in range(10)] == [True] * 10
        assert not await two.call(ada)
        server.freeze()
        try:
            began = time.monotonic()
            assert not any([await two.call(ada) for _ in range(1000)])
            assert time.monotonic() - began < shared.PATIENCE * 10
            assert not two.counts.is_away
        finally:
            server.thaw()


async def test_a_redis_that_dies_costs_no_call_and_counting_goes_on_alone(server: RedisServer) -> None:
    async with processes(server, 2, principal=TEN) as (one, two):
        ada = new_id()
        assert [await one.call(ada) for _ in range(4)] == [True] * 4
        with structlog.testing.capture_logs() as lines:
            server.kill()
            await asyncio.gather(one.until(away=True), two.until(away=True))
            # What each has let through itself it remembers; the other's calls it does not know.
            assert sum([await one.call(ada) for _ in range(20)]) == 6
            assert sum([await two.call(ada) for _ in range(20)]) == 10
            assert (one.metric("bulkhead_rate_limits_shared"), two.metric("bulkhead_rate_limits_shared")) == (0, 0)
            server.start()
            await asyncio.gather(one.until(away=False), two.until(away=False))
        assert [line["event"] for line in lines].count("rate_limits_counted_alone") == 2
        assert [line["event"] for line in lines].count("rate_limits_shared_again") == 2
        assert server.url not in repr(lines)
        assert one.metric("bulkhead_rate_limits_shared") == 1
        assert one.metric("bulkhead_rate_redis_failures_total") >= shared.FAILURES
        bob = new_id()
        assert sum(await asyncio.gather(*((one, two)[n % 2].call(bob) for n in range(50)))) == 10


async def test_a_redis_that_hangs_delays_a_call_by_its_patience_only(server: RedisServer) -> None:
    async with processes(server, 1, patience=shared.PATIENCE, principal=PLENTY) as (process,):
        for _ in range(50):
            await process.call(new_id())
        server.freeze()
        times = []
        try:
            for _ in range(100):
                began = time.monotonic()
                assert await process.call(new_id())
                times.append(time.monotonic() - began)
            assert process.counts.is_away
        finally:
            server.thaw()
        await process.until(away=False)
        slow = [taken for taken in times if taken > shared.PATIENCE / 2]
        print(f"of 100 calls {len(slow)} waited for a frozen Redis, at most {max(times) * 1000:.0f} ms")
        assert len(slow) <= shared.FAILURES
        assert max(times) < 10 * shared.PATIENCE


async def test_calls_that_are_cancelled_mix_up_no_answers(server: RedisServer) -> None:
    async with processes(server, 1, principal=TEN) as (process,):
        over = new_id()
        for _ in range(10):
            await process.call(over)
        for _ in range(100):
            calls = [asyncio.create_task(process.call(new_id())) for _ in range(10)]
            await asyncio.sleep(0)
            for call in calls[::2]:
                call.cancel()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [result is True or isinstance(result, asyncio.CancelledError) for result in results] == [True] * 10
        assert not await process.call(over)
        assert process.metric("bulkhead_rate_redis_failures_total") == 0


async def test_killed_under_load_over_a_real_server(server: RedisServer) -> None:
    """No call fails while Redis is killed and comes back, and none takes long."""
    registry = CollectorRegistry()
    metrics = RateMetrics(registry)
    counts = RedisCounts(server.url, "probe", metrics)
    limits = RateLimits(Rates(principal=PLENTY, tenant=PLENTY), metrics, shared=counts)
    times: list[float] = []
    stop = asyncio.Event()

    async def client(stub: Any) -> None:
        metadata = Person().metadata()
        while not stop.is_set():
            began = time.monotonic()
            assert await invoke(stub, "Ask", metadata=metadata) == ["hi"]
            times.append(time.monotonic() - began)

    async with running(chain=make_chain(rate_limit=limits)) as world, world.stub() as stub:
        clients = [asyncio.create_task(client(stub)) for _ in range(8)]
        seen = []
        for _ in range(2):
            await asyncio.sleep(0.5)
            server.kill()
            await asyncio.sleep(0.5)
            seen.append(counts.is_away)
            await asyncio.to_thread(server.start)
            await asyncio.sleep(0.1)
        stop.set()
        await asyncio.gather(*clients)
    await counts.close()
    assert seen == [True, True]
    worst, middle = max(times) * 1000, statistics.median(times) * 1000
    print(f"{len(times)} calls, none failed; median {middle:.1f} ms, slowest {worst:.0f} ms")
    assert len(times) > 200


@pytest.mark.parametrize("waiting", [0, 300])
async def test_what_waits_at_the_end_is_let_through(server: RedisServer, waiting: int) -> None:
    process = Process(server.url, 5.0, principal=PLENTY)
    server.freeze()
    calls = [asyncio.create_task(process.call(new_id())) for _ in range(waiting)]
    await asyncio.sleep(0.01)
    await process.counts.close()
    server.thaw()
    assert await asyncio.gather(*calls) == [True] * waiting
