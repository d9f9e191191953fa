"""Things of a tenant, made by the RPCs as a client makes them. Keywords override the defaults; no shared world."""

from __future__ import annotations

import itertools
from typing import Any

from bulkhead.issues.v1 import comment_pb2, issue_pb2, label_pb2, project_pb2, workspace_pb2

from tests.support.client import Client

_numbers = itertools.count(1)


async def make_workspace(client: Client, **fields: Any) -> Any:
    fields = {"name": f"Workspace {next(_numbers)}", **fields}
    return await client.issues.CreateWorkspace(workspace=workspace_pb2.Workspace(**fields))


async def make_project(client: Client, **fields: Any) -> Any:
    """In a workspace of its own, unless one is named."""
    if "workspace_id" not in fields:
        fields["workspace_id"] = (await make_workspace(client)).workspace_id
    number = next(_numbers)
    fields = {"key": f"P{number}", "name": f"Project {number}", **fields}
    return await client.issues.CreateProject(project=project_pb2.Project(**fields))


async def make_label(client: Client, **fields: Any) -> Any:
    fields = {"name": f"label {next(_numbers)}", **fields}
    return await client.issues.CreateLabel(label=label_pb2.Label(**fields))


async def make_issue(client: Client, project_id: str, **fields: Any) -> Any:
    fields = {"project_id": project_id, "title": f"Issue {next(_numbers)}", "type": issue_pb2.ISSUE_TYPE_TASK, **fields}
    return await client.issues.CreateIssue(issue=issue_pb2.Issue(**fields))


async def make_comment(client: Client, issue_id: str, **fields: Any) -> Any:
    fields = {"issue_id": issue_id, "body": "Seen.", "visibility": comment_pb2.VISIBILITY_EVERYONE, **fields}
    return await client.issues.CreateComment(comment=comment_pb2.Comment(**fields))


async def statuses(client: Client) -> dict[int, str]:
    """The first status of each category of the tenant's workflow, by StatusCategory."""
    reply = await client.issues.ListStatuses()
    found: dict[int, str] = {}
    for status in reply.statuses:
        found.setdefault(status.category, status.status_id)
    return found
