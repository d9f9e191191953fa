"""Says of tokens that are real and not of this time what no health look can see: the signer's clock is not ours."""

from __future__ import annotations

from typing import Final

import structlog
from prometheus_client import Counter

from bulkhead_kit import clock

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.tokens")

_SAY_AGAIN_SECONDS: Final = 60.0
_refused = Counter(
    "bulkhead_tokens_out_of_time",
    "Tokens of a known key that were refused for their time: expired, or early, which is to say not yet valid.",
    ["how"],
)
_said: dict[str, float] = {}


def expired() -> None:
    """Some are normal: people come back to a program that slept."""
    _refused.labels("expired").inc()


def early(kid: str, seconds: float) -> None:
    """None is normal: who signed it lives that many seconds ahead of us."""
    _refused.labels("early").inc()
    now = clock.monotonic()
    if now - _said.get(kid, -_SAY_AGAIN_SECONDS) >= _SAY_AGAIN_SECONDS:
        _said[kid] = now
        log.warning(
            "token_from_the_future",
            kid=kid,
            detail=f"it was signed {seconds:.0f} s from now: compare our clock and the signer's with the database's",
        )
