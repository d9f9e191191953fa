"""The process that does what is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from bulkhead_kit.db import Database
from bulkhead_kit.parts import Parts, open_database
from bulkhead_kit.settings import ServiceSettings
from bulkhead_kit.starting import start_logging, start_metrics
from bulkhead_kit.worker import Duty, keep_working, until_told, wait_for_roles


def work(settings: ServiceSettings, duties: Callable[[Parts], Iterable[Duty]]) -> None:
    """Does the duties until SIGTERM or SIGINT, as the worker's role."""
    start_logging(settings)
    asyncio.run(_work(settings, duties))


async def _work(settings: ServiceSettings, duties: Callable[[Parts], Iterable[Duty]]) -> None:
    start_metrics(settings)
    database = open_database(settings, "worker_database_url")
    parts = Parts(settings, database, closing=[database.close])
    due = duties(parts)
    for each in (database, *parts.databases):
        await each.open()
    try:
        await until_told(_work_by_trusted_roles(settings.service, database, due))
    finally:
        while parts.closing:
            await parts.closing.pop()()


async def _work_by_trusted_roles(service: str, database: Database, due: Iterable[Duty]) -> None:
    await wait_for_roles(service, database)
    await keep_working(service, due)
