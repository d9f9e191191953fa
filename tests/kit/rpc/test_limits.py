"""A full server says so at once, and one tenant cannot fill it for the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from unittest.mock import MagicMock
from uuid import UUID

import grpc.aio
import pytest
import structlog
from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit import clock
from bulkhead_kit.caller import Caller
from bulkhead_kit.clock import ManualClock
from bulkhead_kit.errors import ResourceExhausted
from bulkhead_kit.ids import new_id
from bulkhead_kit.interceptors.call import Call
from bulkhead_kit.interceptors.limits import CONTENTION, Slots, StreamSlots
from bulkhead_kit.policy import MethodPolicy
from google.rpc.error_details_pb2 import RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.kit.rpc.calls import detail_of, failed, invoke, reason_of, replies_of, start
from tests.kit.rpc.probe import KINDS, Request
from tests.kit.rpc.world import Person, World, make_chain, running

A, B, C = (UUID(int=n) for n in (1, 2, 3))
P, Q = (UUID(int=n) for n in (4, 5))


def caller(tenant: UUID, user: UUID | None = None) -> Caller:
    return Caller(actor_type="person", rpc="a/B", request_id="r", deadline=0.0, tenant_id=tenant, user_id=user)


def new_call() -> Call:
    return Call(MagicMock(), MagicMock(), 0.0, 0.0)


def opened(slots: Slots, tenant: UUID, tries: int = 1, user: UUID | None = None) -> list[Call]:
    """Those of the tries that got a slot."""
    got = []
    for _ in range(tries):
        call = new_call()
        with suppress(ResourceExhausted):
            slots.take(caller(tenant, user), call)
            got.append(call)
    return got


def taken(slots: Slots, tenant: UUID, tries: int = 1, user: UUID | None = None) -> int:
    return len(opened(slots, tenant, tries, user))


def given_back(slots: Slots, *holder: UUID) -> None:
    call = new_call()
    call.holder = tuple(key.int for key in holder)
    slots.give_back(call)


@pytest.fixture
def hands() -> Any:
    manual = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    with clock.replaced(manual):
        yield manual


def test_one_tenant_alone_gets_all_but_the_last_tenth(hands: ManualClock) -> None:
    assert [taken(Slots(size), A, 1000) for size in (100, 40, 10, 2, 1)] == [90, 36, 9, 1, 1]


def test_together_tenants_get_all(hands: ManualClock) -> None:
    slots = Slots(100)
    assert [taken(slots, tenant, 1000) for tenant in (A, B, C)] == [90, 9, 1]
    assert slots.in_use == 100


def test_a_person_has_one_share_in_however_many_tenants(hands: ManualClock) -> None:
    slots = Slots(100)
    assert sum(taken(slots, UUID(int=n), 3, user=P) for n in range(1000, 1400)) == 90
    assert taken(slots, A, 1000, user=Q) == 9


@pytest.mark.parametrize("tenants", [1, 10])
def test_a_person_has_one_share_by_however_many_keys(hands: ManualClock, tenants: int) -> None:
    """Of a service account each, all made by one."""
    slots, got = Slots(100), 0
    for number in range(20):
        key = replace(caller(UUID(int=1000 + number % tenants), UUID(int=2000 + number)), made_by=P)
        for _ in range(50):
            with suppress(ResourceExhausted):
                slots.take(key, new_call())
                got += 1
    assert got == 90
    assert taken(slots, A, 1000, user=P) == 0
    assert taken(slots, A, 1000, user=Q) == 9


def test_a_tenant_has_one_share_however_many_people_it_has(hands: ManualClock) -> None:
    slots = Slots(100)
    assert sum(taken(slots, A, 3, user=UUID(int=n)) for n in range(1000, 1400)) == 90
    assert taken(slots, B, 1000, user=Q) == 9


def test_who_was_turned_away_gets_in_before_who_holds_more(hands: ManualClock) -> None:
    slots = Slots(10)
    assert (taken(slots, A, 10), taken(slots, B, 1)) == (9, 1)
    assert taken(slots, B) == 0
    for _ in range(3):
        given_back(slots, A)
        assert taken(slots, A) == 0
    # The last one is for who holds none.
    assert (taken(slots, B, 3), taken(slots, A), taken(slots, C)) == (2, 0, 1)


def test_waiting_is_forgotten(hands: ManualClock) -> None:
    slots = Slots(10)
    assert (taken(slots, A, 9), taken(slots, B, 2)) == (9, 1)
    given_back(slots, A)
    given_back(slots, A)
    assert taken(slots, A) == 0
    hands.advance(CONTENTION + 0.01)
    assert taken(slots, A) == 1


@pytest.mark.parametrize("kind", [Slots, StreamSlots])
def test_all_slots_come_back(hands: ManualClock, rng: Any, kind: type[Slots]) -> None:
    slots = kind(20)
    held: list[Call] = []
    for _ in range(5000):
        if rng.random() < 0.6:
            held += opened(slots, rng.choice((A, B, C)), user=rng.choice((P, Q, None)))
        elif held:
            slots.give_back(held.pop(rng.randrange(len(held))))
        assert slots.in_use == sum(not call.displaced for call in held) <= 20
        assert len(held) <= (20 if kind is Slots else 25)
    for call in held:
        slots.give_back(call)
    assert (slots.in_use, slots._held) == (0, {})
    if isinstance(slots, StreamSlots):
        assert (slots._open, slots._ending) == ({}, set())


def test_a_newcomers_stream_takes_the_place_of_the_newest_of_the_largest_holder(hands: ManualClock) -> None:
    slots = StreamSlots(500)
    theirs = [call for n in range(1000, 1003) for call in opened(slots, UUID(int=n), 150, user=P)]
    assert (len(theirs), taken(slots, UUID(int=1003), user=P)) == (450, 0)
    # Up to here there is room: what is left is kept for who comes next.
    first = opened(slots, A, 45, user=Q)
    assert (len(first), slots.in_use, sum(call.displaced for call in theirs)) == (45, 495, 0)
    first += opened(slots, A, 15, user=Q)
    assert len(first) == 60
    assert [call.displaced for call in theirs[:150]] == [False] * 135 + [True] * 15
    for call in theirs[135:150]:
        assert isinstance(call.task, MagicMock)
        call.task.cancel.assert_called_once()
        slots.give_back(call)
    # Who stands above gets nothing from who stands below, and evenness is the end of it.
    assert taken(slots, UUID(int=1000), user=P) == 0
    while more := opened(slots, A, 1, user=Q):
        first += more
        for call in theirs:
            if call.displaced and call in slots._ending:
                slots.give_back(call)
    assert (len(first), sum(not call.displaced for call in theirs)) == (247, 248)
    assert not any(call.displaced for call in first)


def test_a_colleague_gets_a_stream_where_one_person_has_all_of_the_tenant(hands: ManualClock) -> None:
    slots = StreamSlots(10)
    theirs = opened(slots, A, 10, user=P)
    others = opened(slots, B, 1, user=UUID(int=7))
    assert (len(theirs), len(others)) == (9, 1)
    assert taken(slots, A, user=Q) == 1
    assert [call.displaced for call in [*theirs, *others]] == [False] * 8 + [True, False]


def test_no_stream_ends_for_one_of_somebody_who_holds_as_many(hands: ManualClock) -> None:
    slots = StreamSlots(4)
    for n in range(4):
        assert taken(slots, UUID(int=100 + n), user=UUID(int=200 + n)) == 1
    assert taken(slots, A, user=P) == 0


def test_few_streams_end_at_once(hands: ManualClock) -> None:
    slots = StreamSlots(20)
    theirs = opened(slots, A, 20, user=P)
    assert taken(slots, B, 1, user=Q) + taken(slots, C, 1, user=UUID(int=8)) == 2
    assert sum(taken(slots, UUID(int=300 + n), user=UUID(int=400 + n)) for n in range(10)) == 5
    for call in theirs:
        if call.displaced:
            slots.give_back(call)
    assert sum(taken(slots, UUID(int=500 + n), user=UUID(int=600 + n)) for n in range(10)) == 5


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


@pytest.mark.parametrize("method", ["Download", "Upload", "Chat"])
async def test_a_stream_that_makes_room_ends_with_a_reason(world: World, method: str) -> None:
    """Whether it works or waits for what its client has still to send."""
    gate = Gate()

    async def first_only(request: Any) -> str:
        return request.text if request.text == "read on" else await gate(request)

    async def slowly() -> AsyncIterator[Any]:
        yield Request(text="read on")
        await gate.opened.wait()

    world.servicer.script = first_only
    user = new_id()
    async with world.stub() as stub:
        theirs = [start(stub, method, metadata=Person(user_id=user).metadata()) for _ in range(2)]
        await until_running(world, 2)
        if method == "Download":
            theirs.append(start(stub, method, metadata=Person(user_id=user).metadata()))
        else:
            theirs.append(getattr(stub, method)(slowly(), metadata=Person(user_id=user).metadata()))
        await until_running(world, 3)
        others = [start(stub, method, metadata=Person().metadata())]
        await until_running(world, 4)
        others.append(start(stub, method, metadata=Person().metadata()))
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await replies_of(theirs[-1], method)
        assert (ended.value.code().name, reason_of(ended.value)) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
        assert detail_of(ended.value, RetryInfo).retry_delay.nanos == 200_000_000
        await until_running(world, 5)
        gate.opened.set()
        for call in [*theirs[:2], *others]:
            assert (await replies_of(call, method))[-1] == "through"


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
