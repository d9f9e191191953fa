"""A service's process: its commands, from the settings to the exit status."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

import structlog

from bulkhead_kit import logs, memory, telemetry
from bulkhead_kit.assembly import Parts, RecordsDenials, Register, build, open_database
from bulkhead_kit.db import Database
from bulkhead_kit.keywatch import KeyFileError
from bulkhead_kit.log_stream import open_missing_streams
from bulkhead_kit.poolers import NotDirectError
from bulkhead_kit.roles import RolesRefusedError
from bulkhead_kit.server import AddressError
from bulkhead_kit.services_auth import ServiceAllowList
from bulkhead_kit.settings import ServiceSettings, SettingsError
from bulkhead_kit.transport import allow_files
from bulkhead_kit.worker import Duty, keep_working, until_told, wait_for_roles

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.program")

DOES: Mapping[str, str] = {
    "serve": "Answers calls until SIGTERM.",
    "relay": "Carries changes to audit until SIGTERM; a second one waits to take over.",
    "retry": "Has the relay try what audit refused again, at once.",
    "work": "Does what is due, such as mails and expiry, until SIGTERM.",
    "migrate": "Brings this service's schema to this release; `bulkhead migrate` does all, and makes the roles.",
}
"""What `--help` says of a service's commands."""


def serve(
    settings: ServiceSettings, register: Register, allowed: ServiceAllowList, denied: RecordsDenials | None = None
) -> None:
    """Until SIGTERM or SIGINT."""
    start_logging(settings)
    allow_files()
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(settings, register, allowed, denied))


def start_logging(settings: ServiceSettings) -> None:
    logs.configure(settings.service, output=settings.log_format, level=settings.log_level)
    for complaint in settings.unknown_variables():
        log.warning("unknown_setting", complaint=complaint)


async def _serve(
    settings: ServiceSettings, register: Register, allowed: ServiceAllowList, denied: RecordsDenials | None
) -> None:
    service = build(settings, register, allowed, denied)
    start_metrics(settings)
    giving_back = asyncio.create_task(memory.keep_giving_back(), name="memory")
    await service.run()
    giving_back.cancel()


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


def migrate(settings: ServiceSettings) -> None:
    """Brings the service's own schema to this release, as the administrator."""
    from bulkhead_kit import migrations  # noqa: PLC0415 - Alembic is slow to load, and no server needs it

    start_logging(settings)
    migrations.upgrade(settings.conninfo("migration_database_url"), settings.service)


def start_metrics(settings: ServiceSettings) -> None:
    if settings.metrics_listen is None:
        return
    settings.demand_inner_metrics()
    host, _, port = settings.metrics_listen.rpartition(":")
    try:
        telemetry.serve(host.strip("[]"), int(port))
    except OSError as error:
        name = settings.variable("metrics_listen")
        raise AddressError(
            f"{name}: nothing can listen on {settings.metrics_listen} ({error.strerror}): is it in use?"
        ) from error


def main(name: str, commands: Mapping[str, Callable[[], None]], arguments: Sequence[str] | None = None) -> int:
    """The whole of a service's __main__: one of its commands; what is wrong with the settings is said, not thrown."""
    open_missing_streams()
    parser = argparse.ArgumentParser(prog=f"python -m {name}", epilog=_epilog(name))
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for command in commands:
        subparsers.add_parser(command, help=DOES[command], description=DOES[command], epilog=_epilog(name))
    chosen = parser.parse_args(arguments).command
    try:
        commands[chosen]()
    except (SettingsError, KeyFileError, AddressError, NotDirectError, RolesRefusedError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - before there is a log, and for a person to read
        return 1
    return 0


def _epilog(name: str) -> str:
    variables = f"{name.upper()}_..."
    return f"Settings are variables {variables}: docs/settings.md lists them, and one that is missing is named."
