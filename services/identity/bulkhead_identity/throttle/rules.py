"""Guessing passwords: how a try that comes too early is refused."""

from __future__ import annotations

from typing import Final

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit.errors import ResourceExhausted

LIMIT: Final = "login_account"


def demand_turn(wait: float | None) -> None:
    if wait is not None:
        raise ResourceExhausted(
            ErrorReason.RATE_LIMITED,
            "too many wrong passwords, wait before the next try",
            metadata={"limit": LIMIT},
            retry_after=wait,
        )
