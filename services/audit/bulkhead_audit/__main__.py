"""python -m bulkhead_audit serve | work | migrate: the one place that puts the audit service together."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import grpc.aio
from bulkhead.audit.v1 import audit_service_pb2_grpc, audit_writer_service_pb2_grpc
from bulkhead_kit import assembly, program
from bulkhead_kit.assembly import Parts
from bulkhead_kit.server import Service
from bulkhead_kit.services_auth import ServiceAllowList
from bulkhead_kit.worker import Duty

from bulkhead_audit.event.actions import denials
from bulkhead_audit.event.handler import AuditHandler, AuditWriterHandler
from bulkhead_audit.partition.worker import Months
from bulkhead_audit.settings import AuditSettings

_APPEND = "bulkhead.audit.v1.AuditWriterService/AppendEvents"
ALLOWED = ServiceAllowList({"identity": [_APPEND], "issues": [_APPEND]})


def register(parts: Parts, server: grpc.aio.Server) -> None:
    audit_writer_service_pb2_grpc.add_AuditWriterServiceServicer_to_server(AuditWriterHandler(parts.database), server)
    audit_service_pb2_grpc.add_AuditServiceServicer_to_server(AuditHandler(parts.database, parts.page_tokens), server)


def build(settings: AuditSettings) -> Service:
    """Not yet listening. Needs a running event loop."""
    return assembly.build(settings, register, ALLOWED, denials)


def duties(parts: Parts) -> list[Duty]:
    settings = parts.settings
    assert isinstance(settings, AuditSettings)
    months = Months(parts.database)
    return [Duty("months", settings.months_every_seconds, months.make_ahead)]


def main(arguments: Sequence[str] | None = None) -> int:
    commands = {
        "serve": lambda: program.serve(AuditSettings.load(), register, ALLOWED, denials),
        "work": lambda: program.work(AuditSettings.load(), duties),
        "migrate": lambda: program.migrate(AuditSettings.load()),
    }
    return program.main("bulkhead_audit", commands, arguments)


if __name__ == "__main__":
    sys.exit(main())
