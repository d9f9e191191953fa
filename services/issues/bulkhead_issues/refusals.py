"""Answers that several slices give."""

from __future__ import annotations

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit.errors import Aborted, FailedPrecondition


def archived(resource: str) -> FailedPrecondition:
    return FailedPrecondition(ErrorReason.ARCHIVED, f"the {resource} is archived", metadata={"resource": resource})


def conflict() -> Aborted:
    return Aborted(ErrorReason.CONFLICT, "another call changed the same things first; try again")
