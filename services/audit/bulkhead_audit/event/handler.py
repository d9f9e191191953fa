"""The two services of the log: one for other services, which write, one for people, who read."""

from __future__ import annotations

from typing import Any

from bulkhead.audit.v1 import audit_event_pb2 as event_pb
from bulkhead.audit.v1 import audit_service_pb2 as pb
from bulkhead.audit.v1 import audit_service_pb2_grpc as pb_grpc
from bulkhead.audit.v1 import audit_writer_service_pb2 as writer_pb
from bulkhead.audit.v1 import audit_writer_service_pb2_grpc as writer_pb_grpc
from bulkhead_kit import clock
from bulkhead_kit.caller import current_caller
from bulkhead_kit.db import Database
from bulkhead_kit.errors import NotFound
from bulkhead_kit.ids import parse_id
from bulkhead_kit.metadata import TENANT_ID, malformed
from bulkhead_kit.page_tokens import PageTokens
from bulkhead_kit.paging import cut, page_of
from grpc.aio import ServicerContext

from bulkhead_audit.event import actions, store, wire


class AuditWriterHandler(writer_pb_grpc.AuditWriterServiceServicer):
    def __init__(self, db: Database) -> None:
        self._appender = actions.Appender(db)

    async def AppendEvents(
        self, request: writer_pb.AppendEventsRequest, _context: ServicerContext[Any, Any]
    ) -> writer_pb.AppendEventsResponse:
        caller = current_caller()
        if caller.tenant_id is None:
            raise malformed(TENANT_ID, "must name the tenant whose log the events belong to")
        events = wire.new_events(request, clock.now())
        appended = await self._appender.append_events(caller, events)
        return wire.appended(appended.count, appended.log_size)


class AuditHandler(pb_grpc.AuditServiceServicer):
    def __init__(self, db: Database, page_tokens: PageTokens) -> None:
        self._db = db
        self._page_tokens = page_tokens

    async def ListEvents(
        self, request: pb.ListEventsRequest, _context: ServicerContext[Any, Any]
    ) -> pb.ListEventsResponse:
        caller = current_caller()
        log = store.log_of(caller)
        asked = log.filters.parse(request.filter, words={"me": str(caller.user_id)})
        page = page_of(self._page_tokens, caller, request, request.filter, log.is_own)
        rows = await store.list_events(self._db.read(caller), log, asked, page.after, page.size + 1)
        rows, token = cut(rows, page, log.key, wire.weight)
        return pb.ListEventsResponse(events=map(wire.event, rows), next_page_token=token)

    async def GetEvent(self, request: pb.GetEventRequest, _context: ServicerContext[Any, Any]) -> event_pb.AuditEvent:
        caller = current_caller()
        log = store.log_of(caller)
        found = await store.get(self._db.read(caller), log, parse_id(request.event_id, "event_id"))
        if found is None:
            raise NotFound("audit_event")
        return wire.event(*found)
