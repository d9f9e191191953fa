"""What the relay remembers of each tenant, and when it tries again. Pure: times come in, decisions go out."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from bulkhead_kit.ids import PLATFORM_LOG
from bulkhead_kit.outbox.messages import MAX_EVENTS

SOON: Final = 0.1
LATEST: Final = 5.0
PARKED_FIRST: Final = 30.0
PARKED_LONGEST: Final = 3600.0
FAULTS_BEFORE_PARKING: Final = 5

Draw = Callable[[], float]
"""Random numbers from 0 to 1."""


def pause(failures: int, draw: Draw = random.random) -> float:
    """Seconds to wait after so many failures in a row: doubling, and never alike for two who failed together."""
    return min(LATEST, SOON * 2.0 ** min(failures - 1, 16)) * (0.5 + draw() / 2)


def parking_time(attempts: int) -> float:
    """Seconds until a parked tenant is tried again after so many attempts."""
    return min(PARKED_LONGEST, PARKED_FIRST * 2.0 ** min(attempts - 1, 16))


@dataclass(slots=True)
class Tenant:
    """One with rows to deliver."""

    rows: int = MAX_EVENTS
    """How many the next batch may have. Halved at a refusal, so that the row refused is found."""
    failures: int = 0
    """In a row, of any kind."""
    not_before: float = 0.0
    attempts: int = 0
    """How often it was parked without a delivery in between."""

    def delivered(self) -> None:
        self.failures = 0
        self.rows = min(MAX_EVENTS, self.rows * 2)

    def failed(self, now: float, *, smaller: bool, draw: Draw = random.random) -> None:
        self.failures += 1
        self.not_before = now + pause(self.failures, draw)
        if smaller:
            self.rows = max(1, self.rows // 2)

    def refused(self, now: float) -> bool:
        """Whether it was a single row that was refused: the tenant is to be parked."""
        if self.rows == 1:
            return True
        self.rows = max(1, self.rows // 2)
        self.not_before = now
        return False

    def parked(self, now: float) -> float:
        self.attempts += 1
        self.failures = 0
        self.rows = 1
        seconds = parking_time(self.attempts)
        self.not_before = now + seconds
        return seconds


class Turns:
    """Whose batch is next: in turns those who caused what waits, and in turns the tenants each of them caused it in.
    Who writes in four hundred tenants at once so gets one turn, where another has one as well."""

    def __init__(self, most: int) -> None:
        """`most` tenants of one cause are served at once: the rest is there for who comes new."""
        self._most = most
        self._causes: OrderedDict[UUID, OrderedDict[UUID, Tenant]] = OrderedDict()
        self._cause_of: dict[UUID, UUID] = {}

    def __len__(self) -> int:
        return len(self._cause_of)

    def __iter__(self) -> Iterator[UUID]:
        return iter(list(self._cause_of))

    def find(self, tenant_id: UUID) -> Tenant | None:
        cause = self._cause_of.get(tenant_id)
        return None if cause is None else self._causes[cause][tenant_id]

    def due(self, busy: Collection[UUID]) -> list[float]:
        """When each of those that could be served may be: none of a cause that has its most."""
        return [
            tenant.not_before
            for tenants in self._causes.values()
            if not self._has_most(tenants, busy)
            for tenant_id, tenant in tenants.items()
            if tenant_id not in busy
        ]

    def know(self, tenant_id: UUID, cause: UUID | None, new: Tenant | None = None) -> Tenant:
        """The tenant with this id. What nobody caused, and what is outside any tenant, has turns of its own."""
        if cause is None or tenant_id == PLATFORM_LOG:
            cause = tenant_id
        if self._cause_of.get(tenant_id) == cause:
            return self._causes[cause][tenant_id]
        tenant = self.forget(tenant_id) or new or Tenant()
        self._causes.setdefault(cause, OrderedDict())[tenant_id] = tenant
        self._cause_of[tenant_id] = cause
        return tenant

    def forget(self, tenant_id: UUID) -> Tenant | None:
        cause = self._cause_of.pop(tenant_id, None)
        if cause is None:
            return None
        tenants = self._causes[cause]
        tenant = tenants.pop(tenant_id)
        if not tenants:
            del self._causes[cause]
        return tenant

    def next(self, now: float, busy: Collection[UUID]) -> tuple[UUID, Tenant] | None:
        for cause, tenants in self._causes.items():
            if self._has_most(tenants, busy):
                continue
            for tenant_id, tenant in tenants.items():
                if tenant_id not in busy and tenant.not_before <= now:
                    tenants.move_to_end(tenant_id)
                    self._causes.move_to_end(cause)
                    return tenant_id, tenant
        return None

    def _has_most(self, tenants: Collection[UUID], busy: Collection[UUID]) -> bool:
        return sum(one in tenants for one in busy) >= self._most


@dataclass(slots=True)
class Gate:
    """Shut for a moment when audit cannot be reached; then one delivery tries whether it can, before all do."""

    failures: int = 0
    open_at: float = 0.0

    def width(self, now: float, widest: int) -> int:
        """How many deliveries may be under way."""
        if not self.failures:
            return widest
        return 1 if now >= self.open_at else 0

    def reached(self) -> None:
        self.failures = 0

    def missed(self, now: float, draw: Draw = random.random) -> None:
        # Those that were under way together count once: only the next try tells something new.
        if now >= self.open_at:
            self.failures += 1
            self.open_at = now + pause(self.failures, draw)
