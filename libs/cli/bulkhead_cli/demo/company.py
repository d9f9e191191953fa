"""A company in the demo: its people, its project, and what its lists say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from bulkhead.audit.v1 import audit_event_pb2, audit_service_pb2, audit_service_pb2_grpc
from bulkhead.identity.v1 import membership_service_pb2, membership_service_pb2_grpc
from bulkhead.issues.v1 import (
    comment_pb2,
    comment_service_pb2,
    comment_service_pb2_grpc,
    issue_pb2,
    issue_service_pb2,
    issue_service_pb2_grpc,
    label_service_pb2,
    label_service_pb2_grpc,
    project_pb2,
    project_service_pb2,
    project_service_pb2_grpc,
    workflow_service_pb2,
    workflow_service_pb2_grpc,
    workspace_pb2,
    workspace_service_pb2,
    workspace_service_pb2_grpc,
)
from bulkhead.rpc.v1.options_pb2 import Role
from bulkhead_kit.ids import new_id
from google.protobuf.field_mask_pb2 import FieldMask

from bulkhead_cli.person import Person

PAGE = 200


@dataclass
class Company:
    """What its owner does, each through one RPC."""

    owner: Person
    slug: str
    tenant_id: str = ""
    project: project_pb2.Project = field(default_factory=project_pb2.Project)

    async def found(self, name: str) -> None:
        await self.owner.sign_up()
        await self.owner.log_in()
        self.tenant_id = (await self.owner.create_tenant(self.slug, name)).tenant_id

    async def start_project(self, key: str, name: str) -> None:
        workspaces = workspace_service_pb2_grpc.WorkspaceServiceStub(self.owner.channels["issues"])
        workspace = await self.owner.call(
            "issues",
            workspaces.CreateWorkspace,
            workspace_service_pb2.CreateWorkspaceRequest(
                workspace=workspace_pb2.Workspace(name="Main"), request_id=str(new_id())
            ),
        )
        projects = project_service_pb2_grpc.ProjectServiceStub(self.owner.channels["issues"])
        self.project = await self.owner.call(
            "issues",
            projects.CreateProject,
            project_service_pb2.CreateProjectRequest(
                project=project_pb2.Project(workspace_id=workspace.workspace_id, key=key, name=name),
                request_id=str(new_id()),
            ),
        )

    async def invite(self, guest: Person, role: Role.ValueType) -> None:
        members = membership_service_pb2_grpc.MembershipServiceStub(self.owner.identity)
        request = membership_service_pb2.InviteMemberRequest(email=guest.address, role=role, request_id=str(new_id()))
        await self.owner.call("identity", members.InviteMember, request)
        await guest.sign_up()
        await guest.log_in()
        await guest.accept_invitation()

    async def create_issue(self, title: str) -> issue_pb2.Issue:
        issues = issue_service_pb2_grpc.IssueServiceStub(self.owner.channels["issues"])
        request = issue_service_pb2.CreateIssueRequest(
            issue=issue_pb2.Issue(project_id=self.project.project_id, title=title, type=issue_pb2.ISSUE_TYPE_BUG),
            request_id=str(new_id()),
        )
        return await self.owner.call("issues", issues.CreateIssue, request)

    async def move(self, issue: issue_pb2.Issue, status_id: str) -> issue_pb2.Issue:
        issues = issue_service_pb2_grpc.IssueServiceStub(self.owner.channels["issues"])
        request = issue_service_pb2.TransitionIssueRequest(
            issue_id=issue.issue_id, status_id=status_id, request_id=str(new_id())
        )
        return await self.owner.call("issues", issues.TransitionIssue, request)

    async def comment(self, issue: issue_pb2.Issue, body: str) -> comment_pb2.Comment:
        comments = comment_service_pb2_grpc.CommentServiceStub(self.owner.channels["issues"])
        comment = comment_pb2.Comment(issue_id=issue.issue_id, body=body, visibility=comment_pb2.VISIBILITY_INTERNAL)
        request = comment_service_pb2.CreateCommentRequest(comment=comment, request_id=str(new_id()))
        return await self.owner.call("issues", comments.CreateComment, request)

    async def edit(self, comment: comment_pb2.Comment, body: str) -> comment_pb2.Comment:
        comments = comment_service_pb2_grpc.CommentServiceStub(self.owner.channels["issues"])
        changed = comment_pb2.Comment(comment_id=comment.comment_id, body=body)
        request = comment_service_pb2.UpdateCommentRequest(
            comment=changed, update_mask=FieldMask(paths=["body"]), request_id=str(new_id())
        )
        return await self.owner.call("issues", comments.UpdateComment, request)


class Lists:
    """The lists as one person gets them, every page of each."""

    def __init__(self, person: Person) -> None:
        self._person = person
        issues = person.channels["issues"]
        self._issues = issue_service_pb2_grpc.IssueServiceStub(issues)
        self._labels = label_service_pb2_grpc.LabelServiceStub(issues)
        self._comments = comment_service_pb2_grpc.CommentServiceStub(issues)
        self._workflow = workflow_service_pb2_grpc.WorkflowServiceStub(issues)
        self._members = membership_service_pb2_grpc.MembershipServiceStub(person.identity)
        self._audit = audit_service_pb2_grpc.AuditServiceStub(person.channels["audit"])

    async def issues(self, project_id: str, filter: str = "") -> list[issue_pb2.Issue]:
        request = issue_service_pb2.ListIssuesRequest(project_id=project_id, filter=filter, page_size=PAGE)
        return await self._every("issues", self._issues.ListIssues, request, "issues")

    async def labels(self) -> list[Any]:
        request = label_service_pb2.ListLabelsRequest(page_size=PAGE)
        return await self._every("issues", self._labels.ListLabels, request, "labels")

    async def comments(self, issue_id: str) -> list[comment_pb2.Comment]:
        request = comment_service_pb2.ListCommentsRequest(issue_id=issue_id, page_size=PAGE)
        return await self._every("issues", self._comments.ListComments, request, "comments")

    async def revisions(self, comment_id: str) -> list[comment_pb2.CommentRevision]:
        request = comment_service_pb2.ListCommentRevisionsRequest(comment_id=comment_id, page_size=PAGE)
        return await self._every("issues", self._comments.ListCommentRevisions, request, "revisions")

    async def spans(self, issue_id: str) -> list[issue_pb2.StatusSpan]:
        request = issue_service_pb2.ListStatusHistoryRequest(issue_id=issue_id, page_size=PAGE)
        return await self._every("issues", self._issues.ListStatusHistory, request, "spans")

    async def members(self) -> list[Any]:
        request = membership_service_pb2.ListMembersRequest(page_size=PAGE)
        return await self._every("identity", self._members.ListMembers, request, "members")

    async def events(self, filter: str) -> list[audit_event_pb2.AuditEvent]:
        request = audit_service_pb2.ListEventsRequest(filter=filter, page_size=PAGE)
        return await self._every("audit", self._audit.ListEvents, request, "events")

    async def statuses(self) -> dict[str, str]:
        """Names by id, in the order of the workflow."""
        request = workflow_service_pb2.ListStatusesRequest()
        answer = await self._person.call("issues", self._workflow.ListStatuses, request)
        return {status.status_id: status.name for status in answer.statuses}

    async def issue(self, issue_id: str) -> issue_pb2.Issue:
        request = issue_service_pb2.GetIssueRequest(issue_id=issue_id)
        return await self._person.call("issues", self._issues.GetIssue, request)

    async def _every(self, service: str, method: Any, request: Any, name: str) -> list[Any]:
        found: list[Any] = []
        call: Callable[..., Awaitable[Any]] = self._person.call
        while True:
            page = await call(service, method, request)
            found.extend(getattr(page, name))
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token
