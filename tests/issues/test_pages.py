"""Lists of long texts: every row once, each message short enough, and nothing read that is not sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

import pytest
from bulkhead_issues.comment import store as comments
from bulkhead_issues.issue import history, lists
from bulkhead_issues.issue import store as issues
from bulkhead_kit.caller import Role
from google.protobuf import json_format, struct_pb2

from tests.issues.support import as_app
from tests.support.builders import make_comment, make_issue
from tests.support.client import refused
from tests.support.house import House, Tenant

LONG = "🛟" * 75_000
"""300 kB: two are a page, and a third says that there are more."""


MANY = (
    "insert into issues.workspaces (tenant_id, workspace_id, name, description) "
    "select %(tenant)s, gen_random_uuid(), n || repeat('🛟', 90), repeat('🛟', 2000) from generate_series(1, 200) as n",
    "insert into issues.issues (tenant_id, issue_id, project_id, title, description, reporter_id) "
    "select %(tenant)s, gen_random_uuid(), %(project)s, repeat('🛟', 500), repeat('x', 4000), %(user)s "
    "from generate_series(1, 200)",
)


@pytest.fixture(name="rows_read")
def fixture_rows_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each answer of the database had."""
    found: list[int] = []

    def count(module: ModuleType, name: str) -> None:
        real: Callable[..., Awaitable[list[Any]]] = getattr(module, name)

        async def counted(*args: Any, **kwargs: Any) -> list[Any]:
            rows = await real(*args, **kwargs)
            found.append(len(rows))
            return rows

        monkeypatch.setattr(module, name, counted)

    count(issues, "load_several")
    count(lists, "list_issues")
    count(history, "list_changes")
    for name in ("list_comments", "list_revisions"):
        count(comments, name)
    return found


async def pages(call: Callable[..., Awaitable[Any]], field: str, **request: Any) -> list[list[Any]]:
    found: list[list[Any]] = []
    token = ""
    while not found or token:
        reply = await call(**request, page_token=token)
        found.append(list(getattr(reply, field)))
        token = reply.next_page_token
    return found


@pytest.mark.parametrize("order", ["", "number", "due_time desc", "create_time desc", "priority"])
async def test_issues(tenant: Tenant, project: Any, rows_read: list[int], order: str) -> None:
    made = [await make_issue(tenant.owner, project.project_id, description=LONG) for _ in range(5)]
    found = await pages(
        tenant.owner.issues.ListIssues, "issues", project_id=project.project_id, order_by=order, page_size=200
    )
    assert [len(page) for page in found] == [2, 2, 1]
    assert rows_read == [3, 3, 1]
    numbers = [one.number for page in found for one in page]
    assert numbers == sorted(numbers, reverse="desc" in order or not order)
    with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
        await tenant.owner.issues.BatchGetIssues(issue_ids=[one.issue_id for one in made])
    assert rows_read[3:] == [3]


async def test_what_is_said_of_an_issue(tenant: Tenant, project: Any, rows_read: list[int]) -> None:
    api = tenant.owner.issues
    issue = await make_issue(tenant.owner, project.project_id)
    made = [await make_comment(tenant.owner, issue.issue_id, body=LONG) for _ in range(5)]
    found = await pages(api.ListComments, "comments", issue_id=issue.issue_id, page_size=200)
    assert [[one.comment_id for one in page] for page in found] == [
        [one.comment_id for one in made[i : i + 2]] for i in (0, 2, 4)
    ]
    assert rows_read == [3, 3, 1]
    rows_read.clear()
    first = made[0]
    for text in "abcde":
        first.body = text + LONG
        await api.UpdateComment(
            comment={"comment_id": first.comment_id, "body": first.body}, update_mask={"paths": ["body"]}
        )
    found = await pages(api.ListCommentRevisions, "revisions", comment_id=first.comment_id, page_size=200)
    assert [[one.revision for one in page] for page in found] == [[5, 4], [3, 2], [1]]
    assert rows_read == [3, 3, 1]


async def test_changes_of_an_issue(tenant: Tenant, project: Any, rows_read: list[int]) -> None:
    issue = await make_issue(tenant.owner, project.project_id)
    for text in "abcd":
        issue.description = text + LONG
        issue.etag = ""
        issue = await tenant.owner.issues.UpdateIssue(issue=issue, update_mask={"paths": ["description"]})
    found = await pages(tenant.owner.issues.ListActivity, "changes", issue_id=issue.issue_id, page_size=200)
    long = [[len(one.new_value) for one in page if one.field == "description"] for page in found]
    assert [length for page in long for length in page] == [75_001] * 4
    assert max(rows_read) <= 3


async def test_what_is_short_in_a_row_and_long_in_a_page(house: House, tenant: Tenant, project: Any) -> None:
    """Names and titles count too: 200 workspaces were a message that was too large to be sent."""
    texts = {"tenant": tenant.tenant_id, "project": project.project_id, "user": tenant.people[Role.OWNER].user_id}
    async with as_app(house, tenant) as connection:
        for statement in MANY:
            await connection.execute(statement, texts)
        await connection.commit()
    api = tenant.owner.issues
    for call, field, request in (
        (api.ListWorkspaces, "workspaces", {}),
        (api.ListIssues, "issues", {"project_id": project.project_id}),
    ):
        found = await pages(call, field, **request, page_size=200)
        assert sum(map(len, found)) >= 200
        assert all(sum(one.ByteSize() for one in page) < 1_000_000 for page in found), field


async def test_metadata_that_is_longer_as_a_message(tenant: Tenant, project: Any) -> None:
    metadata = json_format.ParseDict({"a": [1.0] * 3200}, struct_pb2.Struct())
    for _ in range(35):
        await make_issue(tenant.owner, project.project_id, metadata=metadata)
    found = await pages(tenant.owner.issues.ListIssues, "issues", project_id=project.project_id, page_size=200)
    assert sum(map(len, found)) == 35
    assert all(sum(one.ByteSize() for one in page) < 1_000_000 for page in found)
    assert all(one.metadata == metadata for page in found for one in page)
