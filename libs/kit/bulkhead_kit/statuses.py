"""The status of another service's answer, read back into the error it was raised as."""

from __future__ import annotations

from typing import Final

import grpc
import grpc.aio
import structlog
from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from bulkhead_kit import errors
from bulkhead_kit.errors import DomainError, FieldViolation
from bulkhead_kit.metadata import STATUS_DETAILS

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.client")

DOMAIN: Final = "bulkhead"

_kinds: dict[grpc.StatusCode, type[DomainError]] = {
    kind.code: kind
    for kind in (
        errors.InvalidArgument,
        errors.Unauthenticated,
        errors.PermissionDenied,
        errors.NotFound,
        errors.AlreadyExists,
        errors.Aborted,
        errors.FailedPrecondition,
        errors.ResourceExhausted,
        errors.Unavailable,
        errors.DeadlineExceeded,
    )
}
_REASONS: Final = frozenset(ErrorReason.keys())


def to_domain_error(error: grpc.aio.AioRpcError, service: str, *, as_service: bool) -> DomainError:
    """What the contract names comes back as it was raised. Anything else is trouble between services: its text goes
    to the log and not to our own caller."""
    if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.DeadlineExceeded()
    info, violations, retry_after = _details(error)
    kind = _kinds.get(error.code())
    if kind is None or info is None or info.reason not in _REASONS or (as_service and _is_ours(error, info)):
        return unavailable(error, service, reason=info.reason if info is not None else "")
    reason = ErrorReason.Value(info.reason)
    # Some kinds make their own text; here it is given.
    known = kind.__new__(kind)
    DomainError.__init__(
        known,
        reason,
        error.details() or "",
        metadata=dict(info.metadata),
        violations=violations,
        retry_after=retry_after,
    )
    return known


def unavailable(error: grpc.aio.AioRpcError, service: str, *, reason: str = "") -> DomainError:
    log.warning("upstream_failed", service=service, code=error.code().name, reason=reason, details=error.details())
    return errors.Unavailable(
        ErrorReason.SERVICE_UNAVAILABLE, f"the service {service} cannot answer now", metadata={"service": service}
    )


def _is_ours(error: grpc.aio.AioRpcError, info: ErrorInfo) -> bool:
    """The other service refuses us, not whoever called us: she can do nothing about our token or our rights."""
    refused = error.code() == grpc.StatusCode.UNAUTHENTICATED
    return refused or info.reason == ErrorReason.Name(ErrorReason.CALLER_NOT_ALLOWED)


def _details(error: grpc.aio.AioRpcError) -> tuple[ErrorInfo | None, list[FieldViolation], float | None]:
    info, violations, retry_after = None, [], None
    for detail in _status(error).details:
        if detail.Is(ErrorInfo.DESCRIPTOR):
            found = ErrorInfo.FromString(detail.value)
            info = found if found.domain == DOMAIN else info
        elif detail.Is(BadRequest.DESCRIPTOR):
            bad = BadRequest.FromString(detail.value)
            violations = [FieldViolation(one.field, one.description) for one in bad.field_violations]
        elif detail.Is(RetryInfo.DESCRIPTOR):
            delay = RetryInfo.FromString(detail.value).retry_delay
            retry_after = delay.seconds + delay.nanos / 1e9
    return info, violations, retry_after


def _status(error: grpc.aio.AioRpcError) -> Status:
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_DETAILS and isinstance(value, bytes):
            try:
                return Status.FromString(value)
            except DecodeError:
                break
    return Status()
