"""What the bench measures: one company with a project of many issues, and the requests of each measured call."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from bulkhead.issues.v1 import (
    comment_pb2,
    comment_service_pb2,
    issue_pb2,
    issue_service_pb2,
    issue_service_pb2_grpc,
)
from bulkhead_kit.ids import new_id
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from bulkhead_cli.bench.load import Heard, Next
from bulkhead_cli.demo.company import Company

ISSUES = 200
SERVICE = "/bulkhead.issues.v1."
DESCRIPTION = "The pump starts late when the tide is low. " * 12


@dataclass(frozen=True)
class Call:
    """`name` as it is reported; `path` as it is called; `following` makes the next request in wire form."""

    name: str
    path: str
    following: Next
    service: str = "issues"
    heard: Heard = lambda _: None
    """Is told the answers, for a call whose next request depends on them."""
    is_public: bool = False
    """Made without a token."""
    hashes: bool = False
    """Checks a password, whose cost is named apart."""


async def furnish(company: Company) -> list[Call]:
    """Fills the company's project and says what to call."""
    issues = [await company.create_issue(f"Pump {number} starts late") for number in range(ISSUES)]
    first = issues[0]
    await _describe(company, first)
    project = company.project.project_id
    numbers = itertools.count()

    def new_issue(request_id: str) -> Message:
        issue = issue_pb2.Issue(
            project_id=project,
            title=f"Bench issue {next(numbers)}",
            description=DESCRIPTION,
            type=issue_pb2.ISSUE_TYPE_BUG,
        )
        return issue_service_pb2.CreateIssueRequest(issue=issue, request_id=request_id)

    def new_comment() -> Message:
        comment = comment_pb2.Comment(
            issue_id=issues[next(numbers) % ISSUES].issue_id,
            body="Seen again this morning.",
            visibility=comment_pb2.VISIBILITY_EVERYONE,
        )
        return comment_service_pb2.CreateCommentRequest(comment=comment)

    get = issue_service_pb2.GetIssueRequest(issue_id=first.issue_id).SerializeToString()
    return [
        Call("GetIssue", f"{SERVICE}IssueService/GetIssue", lambda: get),
        *(_list(project, size) for size in (1, 50)),
        Call("CreateIssue", f"{SERVICE}IssueService/CreateIssue", _fresh(lambda: new_issue(""))),
        Call(
            "CreateIssue with request_id",
            f"{SERVICE}IssueService/CreateIssue",
            _fresh(lambda: new_issue(str(new_id()))),
        ),
        Call("AddComment", f"{SERVICE}CommentService/CreateComment", _fresh(new_comment)),
    ]


def _list(project: str, size: int) -> Call:
    request = issue_service_pb2.ListIssuesRequest(project_id=project, page_size=size).SerializeToString()
    return Call(f"ListIssues({size})", f"{SERVICE}IssueService/ListIssues", lambda: request)


def _fresh(make: Callable[[], Message]) -> Next:
    return lambda: make().SerializeToString()


async def _describe(company: Company, issue: issue_pb2.Issue) -> None:
    stub = issue_service_pb2_grpc.IssueServiceStub(company.owner.channels["issues"])
    changed = issue_pb2.Issue(issue_id=issue.issue_id, description=DESCRIPTION)
    request = issue_service_pb2.UpdateIssueRequest(issue=changed, update_mask=FieldMask(paths=["description"]))
    await company.owner.call("issues", stub.UpdateIssue, request)
