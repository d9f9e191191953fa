"""Errors a caller may see: each knows its gRPC code and its machine-readable reason.

Raise one where the rule is; only the error interceptor turns it into a status. Anything else that escapes a
handler reaches the client as INTERNAL with a fixed text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import grpc
from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One broken field: its path in the request, such as "issue.title", and what would be right."""

    field: str
    description: str


class DomainError(Exception):
    """An outcome the contract names. The message is for people; clients decide by the reason."""

    code: ClassVar[grpc.StatusCode]

    def __init__(
        self,
        reason: ErrorReason.ValueType,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after = retry_after
        """Seconds to wait before the next try, where waiting helps."""

    @property
    def reason_name(self) -> str:
        return ErrorReason.Name(self.reason)


class InvalidArgument(DomainError):
    code = grpc.StatusCode.INVALID_ARGUMENT

    @classmethod
    def field(cls, field: str, description: str) -> InvalidArgument:
        return cls(
            ErrorReason.INVALID_FIELD,
            f"{field}: {description}",
            violations=[FieldViolation(field, description)],
        )

    @classmethod
    def reference(cls, field: str, resource: str) -> InvalidArgument:
        """Alike for a thing that is missing and for one of another tenant."""
        description = f"no such {resource} in this tenant"
        return cls(
            ErrorReason.REFERENCE_NOT_FOUND,
            f"{field}: {description}",
            metadata={"field": field},
            violations=[FieldViolation(field, description)],
        )


class Unauthenticated(DomainError):
    code = grpc.StatusCode.UNAUTHENTICATED


class PermissionDenied(DomainError):
    code = grpc.StatusCode.PERMISSION_DENIED


class NotFound(DomainError):
    """The one text for a thing that is missing, deleted beyond reach, or another tenant's."""

    code = grpc.StatusCode.NOT_FOUND

    def __init__(self, resource: str) -> None:
        super().__init__(
            ErrorReason.RESOURCE_NOT_FOUND,
            f"no such {resource} in this tenant",
            metadata={"resource": resource},
        )


class AlreadyExists(DomainError):
    code = grpc.StatusCode.ALREADY_EXISTS

    @classmethod
    def field(cls, field: str, description: str) -> AlreadyExists:
        return cls(ErrorReason.ALREADY_TAKEN, f"{field}: {description}", metadata={"field": field})


class Aborted(DomainError):
    code = grpc.StatusCode.ABORTED


class FailedPrecondition(DomainError):
    code = grpc.StatusCode.FAILED_PRECONDITION


class ResourceExhausted(DomainError):
    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class Unavailable(DomainError):
    code = grpc.StatusCode.UNAVAILABLE


class DeadlineExceeded(DomainError):
    code = grpc.StatusCode.DEADLINE_EXCEEDED

    def __init__(self, message: str = "the deadline passed before the answer was ready") -> None:
        super().__init__(ErrorReason.DEADLINE_EXCEEDED, message)
