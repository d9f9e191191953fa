"""The process that answers calls."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from bulkhead_kit import memory
from bulkhead_kit.assembly import RecordsDenials, Register, build
from bulkhead_kit.services_auth import ServiceAllowList
from bulkhead_kit.settings import ServiceSettings
from bulkhead_kit.starting import start_logging, start_metrics
from bulkhead_kit.transport import allow_files


def serve(
    settings: ServiceSettings, register: Register, allowed: ServiceAllowList, denied: RecordsDenials | None = None
) -> None:
    """Until SIGTERM or SIGINT."""
    start_logging(settings)
    allow_files()
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(settings, register, allowed, denied))


async def _serve(
    settings: ServiceSettings, register: Register, allowed: ServiceAllowList, denied: RecordsDenials | None
) -> None:
    service = build(settings, register, allowed, denied)
    start_metrics(settings)
    giving_back = asyncio.create_task(memory.keep_giving_back(), name="memory")
    await service.run()
    giving_back.cancel()
