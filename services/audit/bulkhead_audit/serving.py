"""The audit service, put together for calls: here only."""

from __future__ import annotations

import grpc.aio
from bulkhead.audit.v1 import audit_service_pb2_grpc, audit_writer_service_pb2_grpc
from bulkhead_kit import assembly, serving
from bulkhead_kit.parts import Parts
from bulkhead_kit.server import Service
from bulkhead_kit.services_auth import ServiceAllowList

from bulkhead_audit.event.actions import denials
from bulkhead_audit.event.handler import AuditHandler, AuditWriterHandler
from bulkhead_audit.settings import AuditSettings

_APPEND = "bulkhead.audit.v1.AuditWriterService/AppendEvents"
ALLOWED = ServiceAllowList({"identity": [_APPEND], "issues": [_APPEND]})


def register(parts: Parts, server: grpc.aio.Server) -> None:
    audit_writer_service_pb2_grpc.add_AuditWriterServiceServicer_to_server(AuditWriterHandler(parts.database), server)
    audit_service_pb2_grpc.add_AuditServiceServicer_to_server(AuditHandler(parts.database, parts.page_tokens), server)


def build(settings: AuditSettings) -> Service:
    """Not yet listening. Needs a running event loop."""
    return assembly.build(settings, register, ALLOWED, denials)


def serve(settings: AuditSettings) -> None:
    serving.serve(settings, register, ALLOWED, denials)
