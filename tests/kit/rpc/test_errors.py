"""Whatever a handler raises, in any kind of RPC, the client gets a status with a reason and nothing else."""

from __future__ import annotations

import asyncio
import builtins
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import psycopg
import pytest
import sqlalchemy.exc
import structlog
from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit import errors
from bulkhead_kit.errors import DomainError, FieldViolation
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, QuotaFailure, RetryInfo

from tests.kit.rpc.calls import RawStub, detail_of, failed, invoke, reason_of, status_of
from tests.kit.rpc.probe import KINDS, SERVICE, Request
from tests.kit.rpc.world import World, running

SECRET = "tenant bbbb secret 4711 select * from users"


def raising(error: BaseException) -> Callable[[Any], Awaitable[str]]:
    async def script(request: Any) -> str:
        raise error

    return script


class BrokenText(Exception):
    def __str__(self) -> str:
        raise RuntimeError(SECRET)


class NoArguments(Exception):
    def __init__(self) -> None:
        super().__init__()


def unusual() -> list[BaseException]:
    """Every exception of the language that a text can be given, and those of the libraries underneath."""
    skipped = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, BaseExceptionGroup)
    kinds = [kind for kind in vars(builtins).values() if isinstance(kind, type) and issubclass(kind, BaseException)]
    made: list[BaseException] = []
    for kind in kinds:
        if kind is BaseException or issubclass(kind, skipped):
            continue
        if issubclass(kind, UnicodeDecodeError):
            made.append(kind("utf-8", SECRET.encode(), 0, 1, SECRET))
        elif issubclass(kind, UnicodeEncodeError):
            made.append(kind("utf-8", SECRET, 0, 1, SECRET))
        elif issubclass(kind, UnicodeTranslateError):
            made.append(kind(SECRET, 0, 1, SECRET))
        else:
            made.append(kind(SECRET))
    return [
        *made,
        ExceptionGroup(SECRET, [ValueError(SECRET)]),
        json.JSONDecodeError(SECRET, SECRET, 0),
        psycopg.errors.UniqueViolation(SECRET),
        psycopg.OperationalError(SECRET),
        sqlalchemy.exc.NoResultFound(SECRET),
        sqlalchemy.exc.ProgrammingError(SECRET, {"password": SECRET}, ValueError(SECRET)),
        DecodeError(SECRET),
        grpc.RpcError(SECRET),
        grpc.aio.UsageError(SECRET),
        grpc.aio.InternalError(SECRET),
        BrokenText(SECRET),
        NoArguments(),
        asyncio.InvalidStateError(SECRET),
        asyncio.QueueEmpty(SECRET),
        # Nobody cancelled the call: it comes from something the handler waited for.
        asyncio.CancelledError(SECRET),
    ]


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    async with running() as made:
        yield made


@pytest.fixture(scope="module")
async def stub(world: World) -> AsyncIterator[Any]:
    async with world.stub() as made:
        yield made


@pytest.fixture(autouse=True)
def fresh(world: World) -> None:
    world.servicer.reset()


@pytest.mark.parametrize("method", KINDS)
async def test_no_exception_leaks(world: World, stub: Any, method: str) -> None:
    assert len(unusual()) > 75
    for error in unusual():
        world.servicer.script = raising(error)
        with structlog.testing.capture_logs() as logged:
            answer = await failed(stub, method)
        assert answer.code() == grpc.StatusCode.INTERNAL, repr(type(error))
        assert answer.details() == "a fault on our side; its error_id finds it in the log"
        assert reason_of(answer) == "INTERNAL"
        shown = f"{answer.details()} {answer.trailing_metadata()} {status_of(answer)}"
        # Random letters, in which any number may stand by chance.
        shown = shown.replace(detail_of(answer, ErrorInfo).metadata["error_id"], "")
        assert not any(word in shown for word in ("4711", "secret", "Unexpected", type(error).__name__)), shown
        faults = [line for line in logged if line["event"] == "rpc_fault"]
        assert [line["error_id"] for line in faults] == [detail_of(answer, ErrorInfo).metadata["error_id"]]
        # Python itself turns a StopIteration into a RuntimeError.
        assert error in (faults[0]["exc_info"], faults[0]["exc_info"].__cause__)


@pytest.mark.parametrize("method", KINDS)
async def test_the_server_lives_on_after_a_fault(world: World, stub: Any, method: str) -> None:
    world.servicer.script = raising(RuntimeError(SECRET))
    await failed(stub, method)
    world.servicer.reset()
    assert (await invoke(stub, method))[-1] == "hi"
    assert world.chain.running == 0


DOMAIN_ERRORS = [
    (errors.InvalidArgument.field("text", "must be short"), "INVALID_ARGUMENT", "INVALID_FIELD"),
    (errors.Unauthenticated(ErrorReason.MEMBERSHIP_CHANGED, "refresh"), "UNAUTHENTICATED", "MEMBERSHIP_CHANGED"),
    (errors.PermissionDenied(ErrorReason.ROLE_ABOVE_OWN, "no"), "PERMISSION_DENIED", "ROLE_ABOVE_OWN"),
    (errors.NotFound("issue"), "NOT_FOUND", "RESOURCE_NOT_FOUND"),
    (errors.AlreadyExists.field("slug", "is taken"), "ALREADY_EXISTS", "ALREADY_TAKEN"),
    (errors.Aborted(ErrorReason.ETAG_MISMATCH, "read again"), "ABORTED", "ETAG_MISMATCH"),
    (errors.FailedPrecondition(ErrorReason.LAST_OWNER, "one owner"), "FAILED_PRECONDITION", "LAST_OWNER"),
    (errors.ResourceExhausted(ErrorReason.RATE_LIMITED, "slow"), "RESOURCE_EXHAUSTED", "RATE_LIMITED"),
    (errors.Unavailable(ErrorReason.DATABASE_UNAVAILABLE, "down"), "UNAVAILABLE", "DATABASE_UNAVAILABLE"),
    (errors.DeadlineExceeded(), "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"),
]


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize(("error", "code", "reason"), DOMAIN_ERRORS, ids=lambda value: str(value)[:20])
async def test_domain_errors_arrive(
    world: World, stub: Any, method: str, error: DomainError, code: str, reason: str
) -> None:
    world.servicer.script = raising(error)
    answer = await failed(stub, method)
    assert (answer.code().name, answer.details(), reason_of(answer)) == (code, error.message, reason)
    assert dict(detail_of(answer, ErrorInfo).metadata) == error.metadata
    assert status_of(answer).code == answer.code().value[0]


async def test_violations_quota_and_waits_have_their_own_details(world: World, stub: Any) -> None:
    violations = [FieldViolation("issue.title", "must not be empty"), FieldViolation("issue.labels[2]", "unknown")]
    world.servicer.script = raising(
        errors.InvalidArgument(ErrorReason.INVALID_FIELD, "two faults", violations=violations)
    )
    bad = detail_of(await failed(stub, "Ask"), BadRequest)
    assert [(one.field, one.description) for one in bad.field_violations] == [
        ("issue.title", "must not be empty"),
        ("issue.labels[2]", "unknown"),
    ]
    used_up = {"limit": "members", "value": "5", "used": "5"}
    world.servicer.script = raising(
        errors.ResourceExhausted(ErrorReason.PLAN_LIMIT_REACHED, "five at most", metadata=used_up)
    )
    full = await failed(stub, "Ask")
    assert dict(detail_of(full, ErrorInfo).metadata) == used_up
    assert [(one.subject, one.description) for one in detail_of(full, QuotaFailure).violations] == [
        ("members", "five at most")
    ]
    world.servicer.script = raising(errors.ResourceExhausted(ErrorReason.RATE_LIMITED, "slow down", retry_after=1.25))
    delay = detail_of(await failed(stub, "Ask"), RetryInfo).retry_delay
    assert (delay.seconds, delay.nanos) == (1, 250_000_000)


@pytest.mark.parametrize("letter", ["x", "ü", "\U0001f600", "\x00", "\n", "\ud800"])
async def test_an_error_of_any_size_and_letter_can_be_sent(world: World, stub: Any, letter: str) -> None:
    """A client refuses metadata above 8 KB: too long an error would reach it as another one."""
    long = letter * 20_000
    world.servicer.script = raising(
        errors.InvalidArgument(
            ErrorReason.INVALID_FIELD,
            long,
            metadata={f"{n}": long for n in range(100)},
            violations=[FieldViolation(long, long)] * 500,
        )
    )
    answer = await failed(stub, "Ask")
    assert (answer.code().name, reason_of(answer)) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert len((answer.details() or "").encode()) <= 512
    assert 1 <= len(detail_of(answer, BadRequest).field_violations) <= 20
    assert status_of(answer).ByteSize() <= 4200


async def test_an_error_that_cannot_be_sent_is_a_fault(world: World, stub: Any) -> None:
    broken: Any = {"key": object()}
    world.servicer.script = raising(errors.Aborted(ErrorReason.CONFLICT, "x", metadata=broken))
    assert reason_of(await failed(stub, "Ask")) == "INTERNAL"
    no_reason: Any = 4711
    world.servicer.script = raising(errors.Aborted(no_reason, "x"))
    assert reason_of(await failed(stub, "Ask")) == "INTERNAL"


@pytest.mark.parametrize("method", KINDS)
async def test_a_reply_of_the_wrong_type_is_a_fault(world: World, stub: Any, method: str) -> None:
    world.servicer.reply = lambda text: SECRET
    answer = await failed(stub, method)
    assert reason_of(answer) == "INTERNAL"
    assert "4711" not in str(answer.trailing_metadata())


@pytest.mark.parametrize("method", KINDS)
async def test_a_message_that_is_none_is_refused(world: World, method: str) -> None:
    async with grpc.aio.insecure_channel(world.address) as channel:
        for garbage in (b"\xff\xff\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe"):
            answer = await failed(RawStub(channel, SERVICE), method, garbage)
            assert (answer.code().name, reason_of(answer)) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert world.servicer.requests == []


@pytest.mark.parametrize("method", KINDS)
async def test_static_rules_are_checked_on_every_message(world: World, stub: Any, method: str) -> None:
    good, bad = Request(text="good"), Request(text="x" * 101)
    streaming = method in ("Upload", "Chat")
    answer = await failed(stub, method, *((good, bad) if streaming else (bad,)))
    assert reason_of(answer) == "INVALID_FIELD"
    assert [one.field for one in detail_of(answer, BadRequest).field_violations] == ["text"]
    assert world.servicer.requests == ([good] if streaming else [])
