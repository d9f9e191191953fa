"""The step limits: a full server says so at once instead of making everybody wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Final

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason

from bulkhead_kit import clock
from bulkhead_kit.caller import Caller
from bulkhead_kit.errors import ResourceExhausted
from bulkhead_kit.policy import MethodPolicy

RETRY_AFTER: Final = 0.2
CONTENTION: Final = 1.0
"""Seconds for which a caller turned away counts as waiting."""

RateLimit = Callable[[Caller, MethodPolicy], Awaitable[None]]
"""Raises RATE_LIMITED when a caller calls too often."""


class Slots:
    """At most `size` calls at once. While others wait, one tenant keeps no more than half of the slots; and the last
    tenth never goes to a tenant that has half already, so that a newcomer seldom has to wait at all."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError("a server needs a slot")
        self.size = size
        self.in_use = 0
        self._half = max(1, size // 2)
        self._common = size - max(1, size // 10)
        self._held: dict[Hashable, int] = {}
        self._waiter: Hashable = None
        """Who was turned away last while below half, and until when that counts."""
        self._waits_until = 0.0

    def take(self, caller: Caller) -> Hashable:
        """Who holds the slot now, to be given back to."""
        holder = caller.share()
        held = self._held.get(holder, 0)
        if held >= self._half:
            refused = self.in_use >= self._common or self._others_wait(holder)
        else:
            refused = self.in_use >= self.size
            if refused:
                self._waiter, self._waits_until = holder, clock.monotonic() + CONTENTION
        if refused:
            raise ResourceExhausted(
                ErrorReason.OVERLOADED, "the server is full, try again shortly", retry_after=RETRY_AFTER
            )
        self._held[holder] = held + 1
        self.in_use += 1
        return holder

    def give_back(self, holder: Hashable) -> None:
        held = self._held[holder]
        if held == 1:
            del self._held[holder]
        else:
            self._held[holder] = held - 1
        self.in_use -= 1

    def _others_wait(self, holder: Hashable) -> bool:
        return self._waits_until > 0.0 and self._waiter != holder and clock.monotonic() < self._waits_until


class Limits:
    """Streams have slots of their own: a few hundred watchers must not keep short calls out."""

    def __init__(self, *, calls: int, streams: int, rate_limit: RateLimit | None = None) -> None:
        self.calls = Slots(calls)
        self.streams = Slots(streams)
        self.rate = rate_limit
