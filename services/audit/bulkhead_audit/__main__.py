"""python -m bulkhead_audit serve | work | migrate: the one place that puts the audit service together."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

import grpc.aio
from bulkhead.audit.v1 import audit_service_pb2_grpc, audit_writer_service_pb2_grpc
from bulkhead_kit import migrations, program, telemetry
from bulkhead_kit.keyfiles import KeyFileError
from bulkhead_kit.program import Parts
from bulkhead_kit.server import AddressError, Service
from bulkhead_kit.services_auth import ServiceAllowList
from bulkhead_kit.settings import SettingsError

from bulkhead_audit import worker
from bulkhead_audit.event.handler import AuditHandler, AuditWriterHandler
from bulkhead_audit.settings import AuditSettings

_APPEND = "bulkhead.audit.v1.AuditWriterService/AppendEvents"
ALLOWED = ServiceAllowList({"identity": [_APPEND], "issues": [_APPEND]})


def register(parts: Parts, server: grpc.aio.Server) -> None:
    audit_writer_service_pb2_grpc.add_AuditWriterServiceServicer_to_server(AuditWriterHandler(parts.database), server)
    audit_service_pb2_grpc.add_AuditServiceServicer_to_server(AuditHandler(parts.database, parts.page_tokens), server)


def build(settings: AuditSettings) -> Service:
    """Not yet listening. Needs a running event loop."""
    return program.build(settings, register, ALLOWED)


async def work(settings: AuditSettings) -> None:
    """Until SIGTERM or SIGINT."""
    database = program.open_database(settings, "worker_database_url")
    if settings.metrics_listen is not None:
        host, _, port = settings.metrics_listen.rpartition(":")
        telemetry.serve(host, int(port))
    await database.open()
    working = asyncio.create_task(worker.keep_ahead(database, worker.Metrics(), every=settings.months_every_seconds))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, working.cancel)
    await asyncio.wait([working])
    await database.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bulkhead_audit", description=__doc__)
    parser.add_argument("command", choices=["serve", "work", "migrate"])
    command = parser.parse_args(arguments).command
    try:
        settings = AuditSettings.load()
        if command == "serve":
            program.serve(settings, register, ALLOWED)
        elif command == "work":
            program.start_logging(settings)
            asyncio.run(work(settings))
        else:
            program.start_logging(settings)
            migrations.upgrade(settings.conninfo("migration_database_url"), "audit")
    except (SettingsError, KeyFileError, AddressError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - before there is a log, and for a person to read
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
