"""A call ends when its time is up or its client is gone, whoever set the time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
import structlog
from bulkhead_kit import clock
from bulkhead_kit.caller import current_caller
from bulkhead_kit.errors import NotFound
from bulkhead_kit.policy import read_policies

from tests.kit.rpc.calls import failed, invoke, reason_of, start
from tests.kit.rpc.probe import KINDS, SERVICE, ProbeServicer, ProbeStub, Request
from tests.kit.rpc.world import Person, World, make_chain, running

BRIEF = ("Brief", "BriefDownload", "BriefUpload", "BriefChat")
DEFAULT, LONGEST = 0.2, 0.4
SOON = 2.5
"""Long before it would have ended by itself."""
ROUNDED = 0.05
"""What gRPC may add to a client's deadline on the wire."""


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    async with running() as made:
        yield made


@pytest.fixture(scope="module")
async def stub(world: World) -> AsyncIterator[Any]:
    async with world.stub() as made:
        yield made


class Stuck:
    """A handler that waits until it is stopped, and tells how that was."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.stopped_by: list[type[BaseException] | None] = []
        self.left = self.lasted = 0.0

    async def __call__(self, request: Any) -> str:
        self.begun.set()
        self.left = current_caller().time_left()
        started = clock.monotonic()
        try:
            await asyncio.sleep(5)
        except BaseException as error:
            self.stopped_by.append(type(error))
            raise
        finally:
            self.lasted = clock.monotonic() - started
        return "woke up"

    def demand_deadline(self, seconds: float) -> None:
        """It had that long and took it. On a busy machine it begins late and hears late, but never of more time."""
        assert seconds / 2 < self.left <= seconds + ROUNDED
        assert self.left - 0.02 < self.lasted < SOON


@pytest.fixture
def stuck(world: World) -> Stuck:
    world.servicer.reset()
    world.servicer.script = made = Stuck()
    return made


async def settled(world: World) -> None:
    give_up = clock.monotonic() + SOON
    while world.chain.running:
        assert clock.monotonic() < give_up
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("method", BRIEF)
async def test_a_call_without_deadline_gets_the_methods_default(
    world: World, stub: Any, stuck: Stuck, method: str
) -> None:
    answer = await failed(stub, method)
    assert (answer.code().name, reason_of(answer)) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
    assert stuck.stopped_by == [asyncio.CancelledError]
    stuck.demand_deadline(DEFAULT)
    assert (world.chain.running, world.servicer.ended) == (0, 1)


@pytest.mark.parametrize("method", BRIEF)
async def test_a_longer_deadline_is_cut_to_the_longest(world: World, stub: Any, stuck: Stuck, method: str) -> None:
    answer = await failed(stub, method, timeout=60)
    assert reason_of(answer) == "DEADLINE_EXCEEDED"
    stuck.demand_deadline(LONGEST)


@pytest.mark.parametrize("method", KINDS)
async def test_the_clients_deadline_stops_the_handler(world: World, stub: Any, stuck: Stuck, method: str) -> None:
    with structlog.testing.capture_logs() as logged:
        answer = await failed(stub, method, timeout=0.25)
        await settled(world)
    assert answer.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert stuck.stopped_by == [asyncio.CancelledError]
    stuck.demand_deadline(0.25)
    assert [line["code"] for line in logged if line["event"] == "rpc"] == ["DEADLINE_EXCEEDED"]
    assert [line for line in logged if line["log_level"] in ("warning", "error")] == []


@pytest.mark.parametrize("method", KINDS)
async def test_a_call_whose_client_cancels_is_cancelled(world: World, stub: Any, stuck: Stuck, method: str) -> None:
    with structlog.testing.capture_logs() as logged:
        call = start(stub, method)
        await asyncio.wait_for(stuck.begun.wait(), 2)
        call.cancel()
        await settled(world)
    assert stuck.stopped_by == [asyncio.CancelledError]
    assert (stuck.lasted < SOON, world.servicer.ended) == (True, 1)
    assert [line["code"] for line in logged if line["event"] == "rpc"] == ["CANCELLED"]


@pytest.mark.parametrize("method", KINDS)
async def test_a_call_whose_client_vanishes_is_cancelled(world: World, stuck: Stuck, method: str) -> None:
    channel = grpc.aio.insecure_channel(world.address)
    call = start(ProbeStub(channel), method)
    await asyncio.wait_for(stuck.begun.wait(), 2)
    await channel.close(None)
    await settled(world)
    assert stuck.stopped_by == [asyncio.CancelledError]
    assert world.servicer.ended == 1
    assert call.done()


async def test_the_deadline_reaches_the_handler(world: World, stub: Any) -> None:
    world.servicer.reset()
    left: list[float] = []

    async def script(request: Any) -> str:
        left.append(world.servicer.callers[-1].time_left())
        return ""

    world.servicer.script = script
    for timeout in (None, 3.0, 60.0):
        await invoke(stub, "Ask", timeout=timeout)
    await invoke(stub, "Brief")
    for seconds, most in zip(left, (10.0, 3.0, 10.0, 0.2), strict=True):
        assert most * 0.6 < seconds <= most + ROUNDED


async def test_a_client_that_does_not_read_cannot_hold_a_stream_open(world: World, stub: Any) -> None:
    """The server waits inside a write then, not inside the handler, and has no room even for the status."""
    world.servicer.reset()

    async def script(request: Any) -> str:
        return "x" * 900_000

    world.servicer.script = script
    call = start(stub, "BriefChat", *[Request(text="hi")] * 20)
    async with asyncio.timeout(SOON):
        while not world.servicer.ended:  # noqa: ASYNC110 - the server's doing
            await asyncio.sleep(0.01)
    await settled(world)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        _ = [reply async for reply in call]
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_handler_that_turns_its_cancellation_into_an_error(world: World, stub: Any) -> None:
    """Drivers do: a cancelled statement may come back as an error of theirs."""
    world.servicer.reset()

    async def script(request: Any) -> str:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            raise ConnectionError("statement stopped") from None
        return ""

    world.servicer.script = script
    assert reason_of(await failed(stub, "Brief")) == "DEADLINE_EXCEEDED"


async def test_a_timeout_of_the_handlers_own_is_a_fault(world: World, stub: Any) -> None:
    world.servicer.reset()

    async def script(request: Any) -> str:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(5)
        return ""

    world.servicer.script = script
    assert reason_of(await failed(stub, "Ask")) == "INTERNAL"


async def test_a_reply_at_the_last_moment_is_an_answer(world: World, stub: Any) -> None:
    """Success or deadline, never anything between, around the moment the deadline passes."""
    world.servicer.reset()
    outcomes = set()

    async def script(request: Any) -> str:
        await asyncio.sleep(DEFAULT + float(request.text) / 1000)
        return "in time"

    world.servicer.script = script

    async def once(shift: float) -> str:
        try:
            return (await invoke(stub, "Brief", Request(text=str(shift))))[0]
        except grpc.aio.AioRpcError as error:
            return reason_of(error)

    for shift in (-50, -2, -1, -0.5, -0.2, 0, 0.2, 0.5, 1, 50):
        outcomes.update(await asyncio.gather(*(once(shift) for _ in range(5))))
    assert outcomes == {"in time", "DEADLINE_EXCEEDED"}


async def test_callers_do_not_mix(world: World, stub: Any) -> None:
    """Each call sees its own caller, at the same time as others and after a wait."""
    world.servicer.reset()

    async def script(request: Any) -> str:
        before = current_caller()
        await asyncio.sleep(0.01)
        assert current_caller() is before
        return str(before.user_id)

    world.servicer.script = script
    people = [Person() for _ in range(20)]
    answers = await asyncio.gather(
        *(invoke(stub, KINDS[n % 4], metadata=person.metadata()) for n, person in enumerate(people))
    )
    assert [answer[-1] for answer in answers] == [str(person.user_id) for person in people]


class SlowContext:
    """grpc, when sending a status takes longer than the call had time."""

    def __init__(self) -> None:
        self.sent: list[grpc.StatusCode] = []

    def time_remaining(self) -> float:
        return 0.05

    def invocation_metadata(self) -> tuple[()]:
        return ()

    def peer(self) -> str:
        return "unix:"

    async def read(self) -> bytes:
        return b""

    async def abort(self, code: grpc.StatusCode, details: str, metadata: Any) -> None:
        await asyncio.sleep(0.2)
        self.sent.append(code)
        raise grpc.aio.AbortError


async def test_a_deadline_does_not_stop_a_status_on_its_way() -> None:
    servicer, context = ProbeServicer(), SlowContext()

    async def script(request: Any) -> str:
        raise NotFound("issue")

    servicer.script = script
    policy = read_policies([SERVICE])[f"{SERVICE}/AsAnyone"]
    serve: Any = make_chain().wrap(policy, servicer.handler("AsAnyone")).stream_unary
    with pytest.raises(grpc.aio.AbortError):
        await asyncio.create_task(serve(b"", context))
    assert context.sent == [grpc.StatusCode.NOT_FOUND]
