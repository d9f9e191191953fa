"""Guessing passwords: how a try that comes too early is refused."""

from __future__ import annotations

from typing import Final, NamedTuple

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit.errors import ResourceExhausted

LIMIT: Final = "login_account"


class Claim(NamedTuple):
    """Of a try: the seconds to wait, or when it was counted, in microseconds since 2000."""

    wait: float | None
    claimed_at: int | None


def demand_turn(claim: Claim) -> int:
    if claim.claimed_at is None:
        raise ResourceExhausted(
            ErrorReason.RATE_LIMITED,
            "too many tries of a password, wait before the next one",
            metadata={"limit": LIMIT},
            retry_after=claim.wait,
        )
    return claim.claimed_at
