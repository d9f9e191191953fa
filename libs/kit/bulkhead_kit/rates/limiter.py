"""Which limits a call counts against, and the refusal of those that are over one.

What a call must pass before anything is decoded or the database is asked. Other Bulkhead services are not limited:
they call for somebody who was.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final, NamedTuple, Protocol

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead.rpc.v1.options_pb2 import Scope

from bulkhead_kit import clock
from bulkhead_kit.caller import Caller
from bulkhead_kit.errors import ResourceExhausted
from bulkhead_kit.policy import MethodPolicy
from bulkhead_kit.rates.counters import Counter
from bulkhead_kit.rates.rate import ANY_METHOD, Rate
from bulkhead_kit.telemetry import RateMetrics

NETWORK_BITS: Final = 64
"""Of an IPv6 address: what one customer of a provider has, with more addresses in it than could be counted."""
NO_ADDRESS: Final = "local"
"""Whose call came through a unix socket."""


class Rates(NamedTuple):
    """None where there is no limit."""

    ip: Rate | None = None
    principal: Rate | None = None
    tenant: Rate | None = None
    methods: Mapping[str, Rate | None] = {}
    """By the method's own name, or * for the public ones that are not named: for each person, or of public methods for
    each address."""


class Check(NamedTuple):
    counter: Counter
    subject: Hashable


class Shared(Protocol):
    """Counts what all processes see together."""

    async def exceeded(self, checks: list[Check]) -> tuple[Check, float] | None:
        """Counts the call, or says against what it may not be counted and for how many seconds."""


class RateLimits:
    def __init__(self, rates: Rates, metrics: RateMetrics, *, shared: Shared | None = None) -> None:
        self._metrics = metrics
        self._shared = shared
        self._of_methods = rates.methods
        self._ip = _counter("ip", rates.ip)
        self._principal = _counter("principal", rates.principal)
        self._tenant = _counter("tenant", rates.tenant)
        self._methods: dict[str, Counter | None] = {}

    async def __call__(self, caller: Caller, policy: MethodPolicy) -> None:
        """Raises RATE_LIMITED. A call that is refused counts against nothing."""
        checks = self._checks(caller, policy)
        # Asked even where counts are shared: who is over a limit here is over it everywhere.
        self._demand_room(checks)
        if self._shared is not None and checks:
            exceeded = await self._shared.exceeded(checks)
            if exceeded is not None:
                (counter, subject), wait = exceeded
                counter.block(subject, clock.unix() + wait)
                raise refusal(counter, wait, self._metrics)
            # Others have been let through since; when Redis did not answer, nobody else has counted them.
            self._demand_room(checks)
        for counter, subject in checks:
            counter.count(subject)

    def _demand_room(self, checks: list[Check]) -> None:
        at = clock.unix()
        for counter, subject in checks:
            wait = counter.wait(subject, at)
            if wait > 0:
                raise refusal(counter, wait, self._metrics)

    def _checks(self, caller: Caller, policy: MethodPolicy) -> list[Check]:
        if caller.actor_type == "service":
            return []
        checks = []
        method = self._method(policy)
        if method is not None:
            person = None if policy.scope == Scope.SCOPE_PUBLIC else caller.user_id
            checks.append(Check(method, network_of(caller.ip) if person is None else person.int))
        if caller.user_id is None:
            if self._ip is not None:
                checks.append(Check(self._ip, network_of(caller.ip)))
        elif self._principal is not None:
            # The number, as a UUID's own hash is computed in Python.
            checks.append(Check(self._principal, caller.user_id.int))
        if caller.tenant_id is not None and self._tenant is not None:
            checks.append(Check(self._tenant, caller.tenant_id.int))
        return checks

    def _method(self, policy: MethodPolicy) -> Counter | None:
        try:
            return self._methods[policy.method]
        except KeyError:
            name = policy.method.partition("/")[2]
            any_other = self._of_methods.get(ANY_METHOD) if policy.scope == Scope.SCOPE_PUBLIC else None
            rate = self._of_methods.get(name, any_other)
            counter = self._methods[policy.method] = _counter(f"method:{name}", rate)
            return counter


def refusal(counter: Counter, wait: float, metrics: RateMetrics) -> ResourceExhausted:
    metrics.refused.labels(counter.name).inc()
    return ResourceExhausted(
        ErrorReason.RATE_LIMITED,
        f"too many calls, {counter.rate} are allowed",
        metadata={"limit": counter.name, "rate": str(counter.rate)},
        retry_after=wait,
    )


def _counter(name: str, rate: Rate | None) -> Counter | None:
    return None if rate is None else Counter(name, rate)


@lru_cache(maxsize=4096)
def network_of(ip: str | None) -> str:
    """Whom an address stands for."""
    if ip is None:
        return NO_ADDRESS
    address = ip_address(ip)
    if not isinstance(address, IPv6Address):
        return ip
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((address, NETWORK_BITS), strict=False))
