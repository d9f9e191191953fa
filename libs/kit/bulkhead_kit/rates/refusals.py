"""How often a call may be refused before anything is done for it: for a bad token, for none, for a missing right.

Such calls never come to the other limits. They are counted by address, those of a person who is known by the person;
and by each process alone, as each checks signatures by itself.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

import grpc

from bulkhead_kit import clock
from bulkhead_kit.caller import Caller
from bulkhead_kit.errors import DomainError
from bulkhead_kit.rates.counters import Counter
from bulkhead_kit.rates.limiter import network_of, refusal
from bulkhead_kit.rates.rate import Rate
from bulkhead_kit.telemetry import RateMetrics

_THEIR_FAULT: Final = frozenset(
    {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT}
)
LOOKS: Final = Rate(20, 1)
"""Tokens of an address over its limit that are looked at all the same: many people may be behind it, with one broken
program among them."""


class Refusals:
    def __init__(self, rate: Rate, metrics: RateMetrics) -> None:
        self._refused = Counter("refused", rate)
        self._looks = Counter("refused", LOOKS)
        self._metrics = metrics

    def is_over(self, ip: str | None) -> bool:
        return self._refused.wait(network_of(ip), clock.unix()) > 0

    def demand_look(self, ip: str | None) -> None:
        """Before a signature is verified. Raises RATE_LIMITED."""
        network, at = network_of(ip), clock.unix()
        wait = self._refused.wait(network, at)
        if wait <= 0:
            return
        if self._looks.wait(network, at) > 0:
            raise refusal(self._refused, wait, self._metrics)
        self._looks.count(network)

    def count(self, ip: str | None) -> None:
        """A token that was in vain, of a call that needs none."""
        network = network_of(ip)
        if self._refused.wait(network, clock.unix()) <= 0:
            self._refused.count(network)

    def judge(self, error: DomainError, caller: Caller | None, ip: str | None) -> DomainError:
        """What the caller is told: the refusal itself, or from one too many on that there were too many."""
        if error.code not in _THEIR_FAULT or (caller is not None and caller.actor_type == "service"):
            # Another service calls for somebody who was counted.
            return error
        subject: Hashable = network_of(ip) if caller is None or caller.user_id is None else caller.user_id.int
        wait = self._refused.wait(subject, clock.unix())
        if wait > 0:
            return refusal(self._refused, wait, self._metrics)
        self._refused.count(subject)
        return error
