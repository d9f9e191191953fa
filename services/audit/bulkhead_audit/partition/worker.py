"""The worker's duty: the months to come are there before their first event."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time

import structlog
from bulkhead_kit import clock
from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database
from prometheus_client import REGISTRY, CollectorRegistry, Gauge

from bulkhead_audit.partition import actions, rules

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.audit.partition")


class Months:
    def __init__(
        self,
        database: Database,
        registry: CollectorRegistry = REGISTRY,
        today: Callable[[], date] = lambda: clock.now().date(),
    ) -> None:
        self._database = database
        self._today = today
        self.until = Gauge(
            "bulkhead_audit_partitions_until_seconds",
            "When the last month made ends, as a Unix time: alarm when it is less than a month away.",
            registry=registry,
        )

    async def make_ahead(self, caller: Caller) -> int:
        """How many partitions were missing and made."""
        today = self._today()
        made = await actions.make_ahead(self._database, caller, today)
        last = rules.last_ahead(today)
        self.until.set(datetime.combine(rules.month_after(last), time(), UTC).timestamp())
        log.info("months_ahead", made=made, last=last.isoformat())
        return made
