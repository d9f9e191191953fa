"""WorkspaceService."""

from __future__ import annotations

from typing import Any

from bulkhead.issues.v1 import workspace_pb2 as workspace_pb
from bulkhead.issues.v1 import workspace_service_pb2 as pb
from bulkhead.issues.v1.workspace_service_pb2_grpc import WorkspaceServiceServicer
from bulkhead_kit.caller import current_caller
from bulkhead_kit.db import Database
from bulkhead_kit.errors import NotFound
from bulkhead_kit.page_tokens import PageTokens
from bulkhead_kit.paging import cut, page_of
from grpc.aio import ServicerContext

from bulkhead_issues.calls import REQUEST_IDS
from bulkhead_issues.workspace import actions, store, wire

Context = ServicerContext[Any, Any]


class WorkspaceHandler(WorkspaceServiceServicer):
    def __init__(self, database: Database, page_tokens: PageTokens) -> None:
        self._database = database
        self._page_tokens = page_tokens

    async def CreateWorkspace(self, request: pb.CreateWorkspaceRequest, _context: Context) -> workspace_pb.Workspace:
        caller = current_caller()
        new = wire.new_workspace(request.workspace)
        return await REQUEST_IDS.once(
            self._database,
            caller,
            request,
            workspace_pb.Workspace,
            lambda tx: actions.create_workspace(tx, new),
            wire.workspace,
        )

    async def GetWorkspace(self, request: pb.GetWorkspaceRequest, _context: Context) -> workspace_pb.Workspace:
        row = await store.load(self._database.read(current_caller()), request.workspace_id)
        if row is None:
            raise NotFound("workspace")
        return wire.workspace(row)

    async def ListWorkspaces(self, request: pb.ListWorkspacesRequest, _context: Context) -> pb.ListWorkspacesResponse:
        caller = current_caller()
        page = page_of(self._page_tokens, caller, request)
        rows = await store.list_workspaces(self._database.read(caller), after=page.after, limit=page.size + 1)
        rows, token = cut(rows, page, lambda row: (row.workspace_id,))
        return pb.ListWorkspacesResponse(workspaces=map(wire.workspace, rows), next_page_token=token)
