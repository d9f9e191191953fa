"""The step errors: whatever escapes a call becomes one status, and nothing of it leaks. Only this file aborts calls."""

from __future__ import annotations

import asyncio
import math
from itertools import islice
from types import TracebackType
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
from bulkhead_kit.errors import DeadlineExceeded, DomainError, FieldViolation, PlanLimitReached
from bulkhead_kit.ids import new_id
from bulkhead_kit.interceptors.call import Call

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

log: structlog.stdlib.BoundLogger = structlog.get_logger("bulkhead.rpc")


class Fault(DomainError):
    """What a client is told of an exception that no contract names."""

    code = grpc.StatusCode.INTERNAL

    def __init__(self, error_id: str) -> None:
        super().__init__(ErrorReason.INTERNAL, FAULT_TEXT, metadata={"error_id": error_id})


class Answering:
    """Around the rest of a call: turns what escapes from it into the call's status."""

    __slots__ = ("_call", "_context", "_timeout")

    def __init__(self, call: Call, context: grpc.aio.ServicerContext[Any, Any], timeout: asyncio.Timeout) -> None:
        self._call = call
        self._context = context
        self._timeout = timeout

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        call, context = self._call, self._context
        if isinstance(error, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # The client has gone or its deadline has passed: nobody is left to be told.
                late = clock.monotonic() >= call.deadline
                call.code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
                return
        elif not isinstance(error, Exception) or isinstance(error, grpc.aio.AbortError):
            return
        answer = to_domain_error(error, call, expired=self._timeout.expired())
        try:
            status = to_status(answer)
        except Exception as broken:
            answer = _fault(broken, call)
            status = to_status(answer)
        call.code, call.reason = answer.code, answer.reason_name
        details = ((metadata.STATUS_DETAILS, status.SerializeToString()),)
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await context.abort(answer.code, status.message, details)
        except TimeoutError:
            # The client does not read, so the status waits in grpc behind the replies; nobody here waits with it.
            raise asyncio.CancelledError from None


def to_domain_error(error: BaseException, call: Call, *, expired: bool) -> DomainError:
    if expired and isinstance(error, TimeoutError | DomainError):
        return DeadlineExceeded()
    if isinstance(error, DomainError):
        return error
    # A CancelledError that nobody asked for comes from work the handler waited on: a fault like any other.
    fault = _fault(error, call)
    return DeadlineExceeded() if expired else fault


def _fault(error: BaseException, call: Call) -> DomainError:
    fault = Fault(str(new_id()))
    log.error("rpc_fault", rpc=call.rpc, error_id=fault.metadata["error_id"], exc_info=error)
    return fault


def to_status(error: DomainError) -> Status:
    status = Status(code=_number(error.code), message=_short(error.message))
    info = ErrorInfo(reason=error.reason_name, domain=DOMAIN)
    for key, value in islice(error.metadata.items(), MAX_VALUES):
        info.metadata[key] = _short(value, MAX_VALUE_BYTES)
    _add(status, info)
    if isinstance(error, PlanLimitReached):
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
