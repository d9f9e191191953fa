"""The worker: looks again and again, whatever happened the last time."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from bulkhead_kit.db import Database

from bulkhead_issues.expiry import actions

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.issues.expiry")

RETRY_SECONDS: Final = 30.0


async def keep_expiring(database: Database, *, every: float) -> None:
    """For ever. A failure is logged and tried again soon."""
    while True:
        try:
            removed = await actions.expire(database)
        except Exception as error:  # a supervisor loop: whatever it was, the next look may succeed
            log.error("expiry_failed", exc_info=error)
            await asyncio.sleep(min(every, RETRY_SECONDS))
        else:
            log.info("expired", answered_calls=removed)
            await asyncio.sleep(every)
