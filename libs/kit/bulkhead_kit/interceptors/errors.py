"""The step errors: whatever escapes a call becomes one status, and nothing of it leaks. Only this file aborts calls."""

from __future__ import annotations

import asyncio
import math
from itertools import islice
from typing import Any

import grpc
import grpc.aio
import structlog
from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, QuotaFailure, RetryInfo
from google.rpc.status_pb2 import Status

from bulkhead_kit import clock, metadata
from bulkhead_kit.errors import DeadlineExceeded, DomainError, FieldViolation
from bulkhead_kit.interceptors.call import Call
from bulkhead_kit.interceptors.limits import overloaded
from bulkhead_kit.logs import error_id

DOMAIN = "bulkhead"
FAULT_TEXT = "a fault on our side; its error_id finds it in the log"

# A client takes 8 KB of metadata. The message travels twice, once with every non-ASCII byte as three, and the details
# grow by a third: without these limits a long list of violations would cost the caller the whole answer.
MAX_TEXT_BYTES = 512
MAX_VALUE_BYTES = 128
MAX_VALUES = 8
MAX_VIOLATIONS = 20
MAX_DETAILS_BYTES = 4096

SEND_SECONDS = 1.0
TRANSIT = 0.05
"""Seconds by which a client's clock on a call may be ahead of ours: it started when she sent it."""

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.rpc")


class Fault(DomainError):
    """What a client is told of an exception that no contract names."""

    code = grpc.StatusCode.INTERNAL

    def __init__(self, error_id: str) -> None:
        super().__init__(ErrorReason.INTERNAL, FAULT_TEXT, metadata={"error_id": error_id})


async def answer(error: BaseException, call: Call, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """Gives the call the status that stands for what escaped from it. The caller raises the error again; that only
    ends the task, as grpc has its status by then."""
    if isinstance(error, asyncio.CancelledError):
        if call.task is not None and call.task.cancelling() and not call.expired and not call.displaced:
            # The client has gone or her own deadline has passed: nobody is left to be told.
            late = clock.monotonic() >= call.deadline - TRANSIT
            call.code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
            return
    elif not isinstance(error, Exception) or isinstance(error, grpc.aio.AbortError):
        return
    outcome = to_domain_error(error, call)
    try:
        status = to_status(outcome)
    except Exception as broken:
        outcome = _fault(broken, call)
        status = to_status(outcome)
    call.code, call.reason = outcome.code, outcome.reason_name
    # From here on a deadline that passes would only keep the status from being sent.
    call.deadline = math.inf
    await end(context, outcome, status)


async def refuse(error: DomainError, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """For what is served outside of the chain. Raises, so that the call ends."""
    await end(context, error, to_status(error))


async def end(context: grpc.aio.ServicerContext[Any, Any], error: DomainError, status: Status) -> None:
    details = ((metadata.STATUS_DETAILS, status.SerializeToString()),)
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await context.abort(error.code, status.message, details)
    except TimeoutError:
        # The client does not read, so the status waits in grpc behind the replies; nobody here waits with it.
        raise asyncio.CancelledError from None


def forget_frames(error: BaseException) -> None:
    """grpc keeps what has ended a call in a circle with the call's frames, which have its request: without them its
    megabyte is free at once, not when the collector next comes that far."""
    found: BaseException | None = error
    while found is not None:
        found.__traceback__ = None
        found = found.__context__


def to_domain_error(error: BaseException, call: Call) -> DomainError:
    if call.expired:
        if not isinstance(error, asyncio.CancelledError | DomainError):
            log.warning("error_after_deadline", rpc=call.policy.method, exc_info=error)
        return DeadlineExceeded()
    if call.displaced and not isinstance(error, DomainError):
        return overloaded("others have need of the place of this stream, try again shortly")
    # A CancelledError that nobody asked for comes from work the handler waited on: a fault like any other.
    return error if isinstance(error, DomainError) else _fault(error, call)


def _fault(error: BaseException, call: Call) -> DomainError:
    fault = Fault(error_id())
    log.error("rpc_fault", rpc=call.policy.method, error_id=fault.metadata["error_id"], exc_info=error)
    return fault


def to_status(error: DomainError) -> Status:
    status = Status(code=_number(error.code), message=_short(error.message))
    info = ErrorInfo(reason=error.reason_name, domain=DOMAIN)
    for key, value in islice(error.metadata.items(), MAX_VALUES):
        info.metadata[key] = _short(value, MAX_VALUE_BYTES)
    _add(status, info)
    if error.reason == ErrorReason.PLAN_LIMIT_REACHED:
        violation = QuotaFailure.Violation(subject=error.metadata["limit"], description=status.message)
        _add(status, QuotaFailure(violations=[violation]))
    if error.retry_after is not None:
        _add(status, RetryInfo(retry_delay=_duration(error.retry_after)))
    if error.violations:
        _add_violations(status, error.violations)
    return status


def _add(status: Status, detail: Message) -> None:
    status.details.add().Pack(detail)


def _add_violations(status: Status, violations: tuple[FieldViolation, ...]) -> None:
    room = MAX_DETAILS_BYTES - status.ByteSize()
    bad = BadRequest()
    for violation in violations[:MAX_VIOLATIONS]:
        bad.field_violations.add(field=_short(violation.field), description=_short(violation.description))
        if bad.ByteSize() > room:
            del bad.field_violations[-1]
            break
    _add(status, bad)


def _short(text: str, limit: int = MAX_TEXT_BYTES) -> str:
    raw = text.encode("utf-8", "replace")
    return raw.decode() if len(raw) <= limit else raw[: limit - 3].decode("utf-8", "ignore") + "..."


def _duration(seconds: float) -> Duration:
    nanos = math.ceil(max(seconds, 0.0) * 1e9)
    return Duration(seconds=nanos // 1_000_000_000, nanos=nanos % 1_000_000_000)


def _number(code: grpc.StatusCode) -> int:
    number: int = code.value[0]
    return number
