"""ProjectService."""

from __future__ import annotations

from typing import Any

from bulkhead.issues.v1 import project_pb2 as project_pb
from bulkhead.issues.v1 import project_service_pb2 as pb
from bulkhead.issues.v1.project_service_pb2_grpc import ProjectServiceServicer
from bulkhead_kit.caller import current_caller
from bulkhead_kit.db import Database
from bulkhead_kit.errors import NotFound
from bulkhead_kit.etags import expected_version
from bulkhead_kit.ids import parse_id
from bulkhead_kit.page_tokens import PageTokens
from bulkhead_kit.paging import cut, page_of
from grpc.aio import ServicerContext

from bulkhead_issues.calls import REQUEST_IDS
from bulkhead_issues.project import actions, store, wire

Context = ServicerContext[Any, Any]


class ProjectHandler(ProjectServiceServicer):
    def __init__(self, database: Database, page_tokens: PageTokens) -> None:
        self._database = database
        self._page_tokens = page_tokens

    async def CreateProject(self, request: pb.CreateProjectRequest, _context: Context) -> project_pb.Project:
        caller = current_caller()
        workspace_id = parse_id(request.project.workspace_id, "project.workspace_id")
        key, values = wire.new_key(request.project), wire.all_values(request.project)
        return await REQUEST_IDS.once(
            self._database,
            caller,
            request,
            project_pb.Project,
            lambda tx: actions.create_project(tx, workspace_id=workspace_id, key=key, values=values),
            wire.project,
            locks_limits=True,
        )

    async def GetProject(self, request: pb.GetProjectRequest, _context: Context) -> project_pb.Project:
        reader = self._database.read(current_caller())
        if request.HasField("key"):
            row = await store.load_by_key(reader, request.key)
        else:
            row = await store.load(reader, request.project_id)
        if row is None:
            raise NotFound("project")
        return wire.project(row)

    async def ListProjects(self, request: pb.ListProjectsRequest, _context: Context) -> pb.ListProjectsResponse:
        caller = current_caller()
        page = page_of(self._page_tokens, caller, request, request.workspace_id, request.show_archived)
        rows = await store.list_projects(
            self._database.read(caller),
            workspace_id=request.workspace_id,
            show_archived=request.show_archived,
            after=page.after,
            limit=page.size + 1,
        )
        rows, token = cut(rows, page, lambda row: (row.project_id,), wire.weight)
        return pb.ListProjectsResponse(projects=map(wire.project, rows), next_page_token=token)

    async def UpdateProject(self, request: pb.UpdateProjectRequest, _context: Context) -> project_pb.Project:
        caller = current_caller()
        project_id = parse_id(request.project.project_id, "project.project_id")
        version = expected_version(request.project.etag, "project.etag")
        values = wire.changes(request)
        return await REQUEST_IDS.once(
            self._database,
            caller,
            request,
            project_pb.Project,
            lambda tx: actions.update_project(tx, project_id, values, version),
            wire.project,
        )
