"""WorkflowService."""

from __future__ import annotations

from typing import Any

from bulkhead.issues.v1 import workflow_service_pb2 as pb
from bulkhead.issues.v1.workflow_service_pb2_grpc import WorkflowServiceServicer
from bulkhead_kit.caller import current_caller
from bulkhead_kit.db import Database
from grpc.aio import ServicerContext

from bulkhead_issues.workflow import store, wire

Context = ServicerContext[Any, Any]


class WorkflowHandler(WorkflowServiceServicer):
    def __init__(self, database: Database) -> None:
        self._database = database

    async def ListStatuses(self, request: pb.ListStatusesRequest, _context: Context) -> pb.ListStatusesResponse:
        statuses, transitions = await store.list_workflow(self._database.read(current_caller()))
        return wire.workflow(statuses, transitions, show_archived=request.show_archived)
