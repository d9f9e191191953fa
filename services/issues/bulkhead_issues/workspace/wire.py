"""Between workspaces and their messages."""

from __future__ import annotations

from bulkhead.issues.v1 import workspace_pb2
from bulkhead_kit import texts, wire
from bulkhead_kit.etags import etag

from bulkhead_issues.workspace.rules import NewWorkspace, WorkspaceRow


def workspace(row: WorkspaceRow) -> workspace_pb2.Workspace:
    return workspace_pb2.Workspace(
        workspace_id=row.workspace_id,
        name=row.name,
        description=row.description,
        create_time=wire.timestamp(row.created_at),
        update_time=wire.timestamp(row.updated_at),
        etag=etag(row.version),
    )


def new_workspace(message: workspace_pb2.Workspace) -> NewWorkspace:
    return NewWorkspace(
        texts.name(message.name, "workspace.name"), texts.optional_prose(message.description, "workspace.description")
    )
