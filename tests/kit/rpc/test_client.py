"""Calls between services: what travels along, what is tried again, and how failures come back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
import structlog
from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit import clock, errors
from bulkhead_kit.caller import Caller, Role
from bulkhead_kit.client import MAX_ATTEMPTS, Channel, connect, service_config
from bulkhead_kit.errors import DomainError, FieldViolation
from bulkhead_kit.ids import new_id
from bulkhead_kit.policy import read_policies
from bulkhead_kit.telemetry import current_trace, start_trace

from tests.kit.rpc.probe import KINDS, METHODS, SERVICE, ProbeStub, Request
from tests.kit.rpc.test_errors import DOMAIN_ERRORS, raising
from tests.kit.rpc.world import FRIEND, Person, World, make_chain, running, service_token

TENANT = new_id()
FORWARDED = [row[0] for row in DOMAIN_ERRORS if not isinstance(row[0], errors.Unauthenticated)]
"""A refused token is not among them: it was our own."""


def caller(seconds: float = 10.0, tenant: UUID | None = TENANT) -> Caller:
    return Caller(
        actor_type="person",
        rpc="bulkhead.other.v1.OtherService/Do",
        request_id="r-4711",
        deadline=clock.monotonic() + seconds,
        tenant_id=tenant,
        user_id=new_id(),
        role=Role.MEMBER,
    )


def as_friend(asked: Caller | None) -> str:
    return service_token(FRIEND)


@asynccontextmanager
async def connected(address: str, **how: Any) -> AsyncIterator[tuple[Channel, Any]]:
    how.setdefault("token", as_friend)
    how.setdefault("patience", 0.3)
    async with connect(address, service="probe", contracts=[SERVICE], **how) as channel:
        yield channel, ProbeStub(channel)


def open_chain() -> Any:
    """One on which the friend may call everything that has a tenant."""
    return make_chain(allowed={FRIEND: [f"{SERVICE}/{name}" for name in METHODS]})


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    async with running(chain=open_chain()) as made:
        yield made


@pytest.fixture(scope="module")
async def linked(world: World) -> AsyncIterator[tuple[Channel, Any]]:
    async with connected(world.address) as made:
        yield made


@pytest.fixture(autouse=True)
def fresh(world: World) -> None:
    world.servicer.reset()


async def some(*texts: str) -> AsyncIterator[Any]:
    for text in texts:
        yield Request(text=text)


async def called(channel: Channel, stub: Any, method: str, by: Caller | None, **how: Any) -> list[str]:
    if method.endswith("Download"):
        return [reply.text async for reply in channel.stream(stub.Download, Request(text="hi"), caller=by, **how)]
    if method.endswith("Upload"):
        return [(await channel.upload(stub.Upload, some("a", "b"), caller=by, **how)).text]
    if method.endswith("Chat"):
        return [reply.text async for reply in channel.exchange(stub.Chat, some("a", "b"), caller=by, **how)]
    return [(await channel.call(getattr(stub, method), Request(text="hi"), caller=by, **how)).text]


ANSWERS = {"Ask": ["hi"], "Download": ["first", "hi"], "Upload": ["a,b"], "Chat": ["first", "a", "b"]}


@pytest.mark.parametrize("method", KINDS)
async def test_the_caller_travels_along(world: World, linked: tuple[Channel, Any], method: str) -> None:
    traces: list[str] = []

    async def script(request: Any) -> str:
        trace = current_trace()
        traces.append(trace.trace_id if trace else "")
        return str(request.text)

    world.servicer.script = script
    trace = start_trace()
    by = caller(3.0)
    assert await called(*linked, method, by) == ANSWERS[method]
    seen = world.servicer.callers[0]
    assert (seen.actor_type, seen.service, seen.tenant_id, seen.request_id) == ("service", FRIEND, TENANT, "r-4711")
    assert set(traces) == {trace.trace_id}
    # Our own margin is kept back.
    assert by.deadline - 0.2 < seen.deadline < by.deadline - 0.02


async def test_the_shortest_time_counts(world: World, linked: tuple[Channel, Any]) -> None:
    left: list[float] = []

    async def script(request: Any) -> str:
        left.append(world.servicer.callers[-1].time_left())
        return ""

    world.servicer.script = script
    for by, within in ((caller(60), None), (caller(60), 2.0), (caller(1.05), 5.0), (None, None)):
        await called(*linked, "Ask" if by else "AsAnyone", by, within=within)
    assert [round(seconds, 1) for seconds in left] == [10.0, 2.0, 1.0, 10.0]


@pytest.mark.parametrize("method", KINDS)
async def test_who_has_no_time_left_does_not_call(world: World, linked: tuple[Channel, Any], method: str) -> None:
    for seconds in (-1.0, 0.0, 0.04):
        with pytest.raises(errors.DeadlineExceeded):
            await called(*linked, method, caller(seconds))
    assert world.servicer.requests == []


@pytest.mark.parametrize("method", KINDS)
async def test_a_deadline_that_passes_is_told_as_one(world: World, linked: tuple[Channel, Any], method: str) -> None:
    async def script(request: Any) -> str:
        await asyncio.sleep(5)
        return ""

    world.servicer.script = script
    with pytest.raises(errors.DeadlineExceeded):
        await called(*linked, method, caller(0.25))


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("error", FORWARDED, ids=lambda error: error.reason_name)
async def test_errors_come_back_as_they_were_raised(
    world: World, linked: tuple[Channel, Any], method: str, error: DomainError
) -> None:
    world.servicer.script = raising(error)
    with pytest.raises(DomainError) as caught:
        await called(*linked, method, caller())
    back = caught.value
    assert type(back) is type(error)
    assert (back.reason, back.message, back.metadata, back.violations, back.retry_after) == (
        error.reason,
        error.message,
        error.metadata,
        error.violations,
        error.retry_after,
    )


async def test_details_come_back_too(world: World, linked: tuple[Channel, Any]) -> None:
    violations = [FieldViolation("issue.title", "too long"), FieldViolation("issue.body", "too short")]
    world.servicer.script = raising(errors.InvalidArgument(ErrorReason.INVALID_FIELD, "two", violations=violations))
    with pytest.raises(errors.InvalidArgument) as caught:
        await called(*linked, "Ask", caller())
    assert list(caught.value.violations) == violations
    world.servicer.script = raising(errors.ResourceExhausted(ErrorReason.RATE_LIMITED, "slow", retry_after=1.5))
    with pytest.raises(errors.ResourceExhausted) as rate:
        await called(*linked, "Ask", caller())
    assert rate.value.retry_after == 1.5


def unavailable(error: DomainError) -> bool:
    assert isinstance(error, errors.Unavailable)
    assert (error.reason_name, error.metadata) == ("SERVICE_UNAVAILABLE", {"service": "probe"})
    assert error.message == "the service probe cannot answer now"
    return True


@pytest.mark.parametrize("method", KINDS)
async def test_faults_of_the_other_service_are_its_own(world: World, linked: tuple[Channel, Any], method: str) -> None:
    world.servicer.script = raising(RuntimeError("secret 4711"))
    with structlog.testing.capture_logs() as logged, pytest.raises(DomainError) as caught:
        await called(*linked, method, caller())
    assert unavailable(caught.value)
    (line,) = [line for line in logged if line["event"] == "upstream_failed"]
    assert (line["service"], line["code"], line["reason"]) == ("probe", "INTERNAL", "INTERNAL")


async def test_a_refusal_of_our_own_token_is_not_the_callers_fault(world: World) -> None:
    def stranger(asked: Caller | None) -> str:
        return service_token("stranger")

    def nonsense(asked: Caller | None) -> str:
        return "nonsense"

    for token in (stranger, nonsense, lambda asked: None):
        async with connected(world.address, token=token) as (channel, stub):
            with pytest.raises(DomainError) as caught:
                await called(channel, stub, "Ask", caller())
            assert unavailable(caught.value)
    person = Person(role=Role.VIEWER)
    async with connected(world.address, token=lambda asked: person.token(), as_service=False) as (channel, stub):
        assert await called(channel, stub, "Ask", caller(tenant=person.tenant_id)) == ["hi"]
        with pytest.raises(errors.PermissionDenied) as low:
            await called(channel, stub, "AsOwner", caller(tenant=person.tenant_id))
        assert low.value.metadata == {"least_role": "OWNER"}
        with pytest.raises(errors.Unauthenticated) as mismatch:
            await called(channel, stub, "Ask", caller())
        assert mismatch.value.reason_name == "TENANT_MISMATCH"


@pytest.mark.parametrize("method", KINDS)
async def test_a_service_that_is_not_there(method: str) -> None:
    async with connected("127.0.0.1:1") as linked:
        with pytest.raises(DomainError) as caught:
            await called(*linked, method, caller(5))
        assert unavailable(caught.value)


async def test_a_service_that_is_not_ready_is_left_alone() -> None:
    async with running(chain=open_chain(), missing="the database") as world, connected(world.address) as linked:
        with pytest.raises(DomainError) as caught:
            await called(*linked, "Ask", caller(5))
        assert unavailable(caught.value)
        assert world.servicer.requests == []
        world.missing = None
        give_up = clock.monotonic() + 5
        answer: list[str] = []
        while not answer and clock.monotonic() < give_up:
            try:
                answer = await called(*linked, "Ask", caller(5))
            except errors.Unavailable:
                await asyncio.sleep(0.05)
        assert answer == ["hi"]


def failing(times: int, error: Exception) -> Callable[[Any], Any]:
    left = [times]

    async def script(request: Any) -> str:
        if left[0] > 0:
            left[0] -= 1
            raise error
        return str(request.text)

    return script


DOWN = errors.Unavailable(ErrorReason.DATABASE_UNAVAILABLE, "the database restarts")
ATTEMPTS = [
    # method, error, calls that reach the handler
    ("Ask", DOWN, MAX_ATTEMPTS),
    ("ChangeOnce", DOWN, MAX_ATTEMPTS),
    ("Change", DOWN, 1),
    ("Upload", DOWN, 1),
    ("Ask", errors.Aborted(ErrorReason.CONFLICT, "try again"), 1),
    ("Ask", errors.ResourceExhausted(ErrorReason.OVERLOADED, "full"), 1),
    ("Ask", errors.DeadlineExceeded(), 1),
    ("Ask", RuntimeError("fault"), 1),
]


@pytest.mark.parametrize(("method", "error", "attempts"), ATTEMPTS)
async def test_only_lost_connections_of_idempotent_methods_are_retried(
    world: World, method: str, error: Exception, attempts: int
) -> None:
    world.servicer.script = failing(100, error)
    async with connected(world.address) as linked:
        with structlog.testing.capture_logs(), pytest.raises(DomainError):
            await called(*linked, method, caller())
    assert len(world.servicer.requests) == attempts


async def test_a_retry_gets_through(world: World) -> None:
    async with connected(world.address) as linked:
        world.servicer.script = failing(2, DOWN)
        assert await called(*linked, "Ask", caller()) == ["hi"]
    assert len(world.servicer.requests) == 3


async def test_a_change_without_request_id_gets_one_for_all_its_attempts(world: World) -> None:
    world.servicer.script = failing(2, DOWN)
    request = Request(text="hi")
    async with connected(world.address) as (channel, stub):
        await channel.call(stub.ChangeOnce, request, caller=caller())
        first = {str(one.request_id) for one in world.servicer.requests}
        assert (len(world.servicer.requests), len(first)) == (3, 1)
        assert UUID(first.pop()).version == 7
        # The message is the caller's: sent again it is another change.
        assert request.request_id == ""
        await channel.call(stub.ChangeOnce, request, caller=caller())
        assert len({str(one.request_id) for one in world.servicer.requests}) == 2
        named = Request(text="hi", request_id="0190163d-8694-739b-aea5-966c26f8ad91")
        await channel.call(stub.ChangeOnce, named, caller=caller())
        assert world.servicer.requests[-1].request_id == named.request_id
        # A method that does not know repeats is left as it is.
        await channel.call(stub.Change, request, caller=caller())
        assert world.servicer.requests[-1].request_id == ""


async def test_retries_stop_when_much_fails(world: World) -> None:
    """Otherwise a service in trouble would get four times the calls."""
    async with connected(world.address) as linked:
        for _ in range(40):
            world.servicer.script = failing(100, DOWN)
            with pytest.raises(errors.Unavailable):
                await called(*linked, "Ask", caller())
    assert 40 <= len(world.servicer.requests) <= 50


def test_the_service_config_names_idempotent_methods_only() -> None:
    config = json.loads(service_config([SERVICE], read_policies([SERVICE])))
    (retried,) = config["methodConfig"]
    assert [one["method"] for one in retried["name"]] == ["Ask", "Download", "ChangeOnce"]
    assert retried["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE", "CANCELLED"]
    assert config["retryThrottling"] == {"maxTokens": 10, "tokenRatio": 0.1}


@pytest.mark.parametrize("method", ["Download", "Chat"])
async def test_a_stream_left_early_is_cancelled(world: World, linked: tuple[Channel, Any], method: str) -> None:
    async def script(request: Any) -> str:
        await asyncio.sleep(5)
        return ""

    world.servicer.script = script
    channel, stub = linked
    if method == "Download":
        replies = channel.stream(stub.Download, Request(text="hi"), caller=caller())
    else:
        replies = channel.exchange(stub.Chat, some("a"), caller=caller())
    assert (await anext(replies)).text == "first"
    await replies.aclose()
    give_up = clock.monotonic() + 2
    while world.servicer.ended == 0:
        assert clock.monotonic() < give_up
        await asyncio.sleep(0.005)


async def test_who_is_cancelled_cancels_on(world: World, linked: tuple[Channel, Any]) -> None:
    begun = asyncio.Event()

    async def script(request: Any) -> str:
        begun.set()
        await asyncio.sleep(5)
        return ""

    world.servicer.script = script
    task = asyncio.create_task(called(*linked, "Ask", caller()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    give_up = clock.monotonic() + 2
    while world.servicer.ended == 0:
        assert clock.monotonic() < give_up
        await asyncio.sleep(0.005)
