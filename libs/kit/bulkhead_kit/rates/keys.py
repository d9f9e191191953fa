"""Limits in front of the look-up of API keys, which asks the database before anybody knows who calls.

Counted by each process alone: what they protect is the database, and each process asks it by itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bulkhead_kit import clock
from bulkhead_kit.api_keys import KeyOwner
from bulkhead_kit.caller import Caller
from bulkhead_kit.errors import Unauthenticated
from bulkhead_kit.rates.counters import Counter
from bulkhead_kit.rates.limiter import network_of, refusal
from bulkhead_kit.rates.rate import Rate
from bulkhead_kit.telemetry import RateMetrics

Lookup = Callable[[str, Caller], Awaitable[KeyOwner]]


class LimitedLookup:
    def __init__(self, lookup: Lookup, metrics: RateMetrics, *, failed: Rate | None, principal: Rate | None) -> None:
        self._lookup = lookup
        self._metrics = metrics
        self._failed = None if failed is None else Counter("failed_keys", failed)
        # Under the name of the limit that would refuse the call after its look-up.
        self._keys = None if principal is None else Counter("principal", principal)

    async def __call__(self, key: str, nobody: Caller) -> KeyOwner:
        # Not the key itself: that must not lie about in memory for two windows.
        subject, network = hash(key), network_of(nobody.ip)
        at = clock.unix()
        if self._keys is not None:
            self._demand_room(self._keys, subject, at)
        known = self._keys is not None and self._keys.knows(subject)
        if self._failed is not None and not known:
            # A key that was good a moment ago is let through, or a neighbour's broken program would shut it out.
            self._demand_room(self._failed, network, at)
        try:
            owner = await self._lookup(key, nobody)
        except Unauthenticated:
            if self._keys is not None:
                self._keys.forget(subject)
            if self._failed is not None:
                self._failed.count(network)
            raise
        if self._keys is not None:
            self._keys.count(subject)
        return owner

    def _demand_room(self, counter: Counter, subject: int | str, at: float) -> None:
        wait = counter.wait(subject, at)
        if wait > 0:
            raise refusal(counter, wait, self._metrics)
