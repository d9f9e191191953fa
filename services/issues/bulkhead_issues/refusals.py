"""Answers that several slices give."""

from __future__ import annotations

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit.errors import Aborted, FailedPrecondition, FieldViolation, InvalidArgument


def unknown_reference(field: str, resource: str) -> InvalidArgument:
    """Alike for a thing that is missing and for one of another tenant."""
    description = f"no such {resource} in this tenant"
    return InvalidArgument(
        ErrorReason.REFERENCE_NOT_FOUND,
        f"{field}: {description}",
        metadata={"field": field},
        violations=[FieldViolation(field, description)],
    )


def archived(resource: str) -> FailedPrecondition:
    return FailedPrecondition(ErrorReason.ARCHIVED, f"the {resource} is archived", metadata={"resource": resource})


def conflict() -> Aborted:
    return Aborted(ErrorReason.CONFLICT, "another call changed the same things first; try again")
