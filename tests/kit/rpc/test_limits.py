"""A full server says so at once, and one tenant cannot fill it for the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import grpc.aio
import pytest
import structlog
from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit import clock
from bulkhead_kit.caller import Caller
from bulkhead_kit.clock import ManualClock
from bulkhead_kit.errors import ResourceExhausted
from bulkhead_kit.interceptors.limits import CONTENTION, Slots
from bulkhead_kit.policy import MethodPolicy
from google.rpc.error_details_pb2 import RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.kit.rpc.calls import detail_of, failed, invoke, reason_of, replies_of, start
from tests.kit.rpc.probe import KINDS
from tests.kit.rpc.world import Person, World, make_chain, running

A, B, C = (UUID(int=n) for n in (1, 2, 3))


def caller(tenant: UUID) -> Caller:
    return Caller(actor_type="person", rpc="a/B", request_id="r", deadline=0.0, tenant_id=tenant)


def taken(slots: Slots, tenant: UUID, tries: int = 1) -> int:
    """How many of the tries got a slot."""
    got = 0
    for _ in range(tries):
        with suppress(ResourceExhausted):
            slots.take(caller(tenant))
            got += 1
    return got


@pytest.fixture
def hands() -> Any:
    manual = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    with clock.replaced(manual):
        yield manual


def test_one_tenant_alone_gets_all_but_the_last_tenth(hands: ManualClock) -> None:
    assert [taken(Slots(size), A, 1000) for size in (100, 40, 10, 2, 1)] == [90, 36, 9, 1, 1]


def test_together_tenants_get_all(hands: ManualClock) -> None:
    slots = Slots(100)
    assert (taken(slots, A, 1000), taken(slots, B, 1000), taken(slots, C, 1000)) == (90, 10, 0)
    assert slots.in_use == 100


def test_who_was_turned_away_gets_in_before_who_has_half(hands: ManualClock) -> None:
    slots = Slots(10)
    assert (taken(slots, A, 10), taken(slots, B, 1)) == (9, 1)
    assert taken(slots, B) == 0
    for _ in range(3):
        slots.give_back(A.int)
        assert taken(slots, A) == 0
    assert taken(slots, B, 3) == 3
    assert (taken(slots, A), taken(slots, B)) == (0, 0)


def test_waiting_is_forgotten(hands: ManualClock) -> None:
    slots = Slots(10)
    assert (taken(slots, A, 9), taken(slots, B, 2)) == (9, 1)
    slots.give_back(A.int)
    slots.give_back(A.int)
    assert taken(slots, A) == 0
    hands.advance(CONTENTION + 0.01)
    assert taken(slots, A) == 1


def test_all_slots_come_back(hands: ManualClock, rng: Any) -> None:
    slots = Slots(20)
    held: list[UUID] = []
    for _ in range(5000):
        tenant = rng.choice((A, B, C))
        if rng.random() < 0.5:
            held += [tenant] * taken(slots, tenant)
        elif held:
            slots.give_back(held.pop(rng.randrange(len(held))).int)
        assert slots.in_use == len(held) <= 20
    for tenant in held:
        slots.give_back(tenant.int)
    assert (slots.in_use, slots._held) == (0, {})


class Gate:
    """Handlers wait until it opens."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    async def __call__(self, request: Any) -> str:
        await self.opened.wait()
        return "through"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running(chain=make_chain(calls=6, streams=4)) as made:
        yield made


async def until_running(world: World, count: int) -> None:
    give_up = clock.monotonic() + 3
    while len(world.servicer.requests) < count:
        assert clock.monotonic() < give_up
        await asyncio.sleep(0.005)


async def test_a_full_server_refuses_at_once_and_answers_health(world: World) -> None:
    world.servicer.script = gate = Gate()
    async with world.stub() as stub:
        calls = [start(stub, "Ask", metadata=Person().metadata()) for _ in range(6)]
        await until_running(world, 6)
        began = clock.monotonic()
        answer = await failed(stub, "Ask")
        assert clock.monotonic() - began < 0.5
        assert (answer.code().name, reason_of(answer)) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
        assert detail_of(answer, RetryInfo).retry_delay.nanos == 200_000_000
        async with grpc.aio.insecure_channel(world.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            for _ in range(20):
                reply = await health.Check(health_pb2.HealthCheckRequest())
                assert reply.status == health_pb2.HealthCheckResponse.SERVING
        # Streams have slots of their own.
        gate.opened.set()
        assert [await replies_of(call, "Ask") for call in calls] == [["through"]] * 6
        assert await invoke(stub, "Ask") == ["through"]


async def test_streams_do_not_keep_calls_out(world: World) -> None:
    world.servicer.script = gate = Gate()
    async with world.stub() as stub:
        streams = [start(stub, "Download", metadata=Person().metadata()) for _ in range(4)]
        await until_running(world, 4)
        assert reason_of(await failed(stub, "Chat")) == "OVERLOADED"
        waiting = start(stub, "Ask")
        await until_running(world, 5)
        gate.opened.set()
        assert (await waiting).text == "through"
        assert [await replies_of(call, "Download") for call in streams] == [["first", "through"]] * 4


@pytest.mark.parametrize("method", KINDS)
async def test_slots_come_back_however_a_call_ends(world: World, method: str) -> None:
    async def broken(request: Any) -> str:
        raise RuntimeError

    async def stuck(request: Any) -> str:
        await asyncio.sleep(5)
        return ""

    async with world.stub() as stub:
        with structlog.testing.capture_logs():  # tracebacks, which are slow to print
            for _ in range(8):
                world.servicer.script = broken
                assert reason_of(await failed(stub, method)) == "INTERNAL"
                world.servicer.script = stuck
                await failed(stub, method, timeout=0.05)
        world.servicer.reset()
        give_up = clock.monotonic() + 2
        while world.chain.running:
            assert clock.monotonic() < give_up
            await asyncio.sleep(0.005)
        assert (await invoke(stub, method))[-1] == "hi"


async def test_a_rate_limit_is_asked_about_every_call() -> None:
    asked: list[tuple[UUID | None, str]] = []

    async def rate_limit(caller: Caller, policy: MethodPolicy) -> None:
        asked.append((caller.tenant_id, policy.method.partition("/")[2]))
        if len(asked) > 2:
            raise ResourceExhausted(ErrorReason.RATE_LIMITED, "slow down", retry_after=3)

    person = Person()
    async with running(chain=make_chain(rate_limit=rate_limit)) as world, world.stub() as stub:
        for method in ("Ask", "Chat"):
            assert (await invoke(stub, method, metadata=person.metadata()))[-1] == "hi"
        answer = await failed(stub, "Ask", metadata=person.metadata())
        assert (reason_of(answer), detail_of(answer, RetryInfo).retry_delay.seconds) == ("RATE_LIMITED", 3)
        # Who may not call at all is not counted.
        assert reason_of(await failed(stub, "Ask", metadata=[])) == "TOKEN_MISSING"
    assert asked == [(person.tenant_id, "Ask"), (person.tenant_id, "Chat"), (person.tenant_id, "Ask")]
