"""The worker's one duty: the months to come are there before their first event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Final

import structlog
from bulkhead_kit import clock
from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database
from bulkhead_kit.ids import new_id
from prometheus_client import REGISTRY, CollectorRegistry, Gauge

from bulkhead_audit.partition import actions, rules

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.audit.partition")

RETRY_SECONDS: Final = 30.0
_DEADLINE: Final = 30.0


class Metrics:
    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.until = Gauge(
            "bulkhead_audit_partitions_until_seconds",
            "When the last month made ends, as a Unix time: alarm when it is less than a month away.",
            registry=registry,
        )


async def keep_ahead(
    db: Database, metrics: Metrics, *, every: float, today: Callable[[], date] = lambda: clock.now().date()
) -> None:
    """For ever. A failure is logged and tried again soon: there are months of time."""
    while True:
        try:
            await look(db, metrics, today())
        except Exception as error:  # a supervisor loop: whatever it was, the next look may succeed
            log.error("months_not_made", exc_info=error)
            await asyncio.sleep(min(every, RETRY_SECONDS))
        else:
            await asyncio.sleep(every)


async def look(db: Database, metrics: Metrics, today: date) -> int:
    """Makes what is missing; how many partitions that were."""
    made = await actions.make_ahead(db, _caller(), today)
    last = rules.last_ahead(today)
    metrics.until.set(datetime.combine(rules.month_after(last), time(), UTC).timestamp())
    log.info("months_ahead", made=made, last=last.isoformat())
    return made


def _caller() -> Caller:
    return Caller(
        actor_type="system",
        rpc="audit/work",
        request_id=str(new_id()),
        deadline=clock.monotonic() + _DEADLINE,
    )
