"""CommentService: who says, sees and changes what."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
import psycopg
import pytest
from bulkhead.issues.v1 import comment_pb2
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.issues.support import RANDOM_ID, outbox
from tests.support.builders import make_comment, make_issue
from tests.support.client import reason_of, refused
from tests.support.house import House, Tenant

INTERNAL, EVERYONE = comment_pb2.VISIBILITY_INTERNAL, comment_pb2.VISIBILITY_EVERYONE


@pytest.fixture(name="issue")
async def fixture_issue(tenant: Tenant, project: Any) -> Any:
    return await make_issue(tenant.owner, project.project_id)


def edited(comment: Any, body: str, **fields: Any) -> comment_pb2.Comment:
    return comment_pb2.Comment(comment_id=comment.comment_id, body=body, **fields)


async def test_a_comment_is_made_read_edited_and_kept(tenant: Tenant, issue: Any) -> None:
    api, viewer = tenant.member(Role.MEMBER).issues, tenant.member(Role.VIEWER).issues
    made = await make_comment(tenant.member(Role.MEMBER), issue.issue_id, body="First\r\nline 🛟")
    assert (made.body, made.revision, made.visibility) == ("First\nline 🛟", 1, EVERYONE)
    assert made.author_id == str(tenant.people[Role.MEMBER].user_id)
    second = await api.UpdateComment(comment=edited(made, "Second", etag=made.etag))
    third = await api.UpdateComment(comment=edited(made, "Third"), update_mask={"paths": ["body"]})
    assert [one.revision for one in (second, third)] == [2, 3]
    assert await api.UpdateComment(comment=edited(made, "Third")) == third
    assert await viewer.GetComment(comment_id=made.comment_id) == third
    assert list((await viewer.ListComments(issue_id=issue.issue_id)).comments) == [third]
    revisions = (await viewer.ListCommentRevisions(comment_id=made.comment_id)).revisions
    assert [(one.revision, one.body) for one in revisions] == [(2, "Second"), (1, "First\nline 🛟")]
    assert {one.replaced_by_id for one in revisions} == {made.author_id}
    page = await viewer.ListCommentRevisions(comment_id=made.comment_id, page_size=1)
    rest = await viewer.ListCommentRevisions(comment_id=made.comment_id, page_size=1, page_token=page.next_page_token)
    assert [*page.revisions, *rest.revisions] == list(revisions)


async def test_what_was_said_of_a_deleted_issue_stays(tenant: Tenant, issue: Any) -> None:
    """One rule for every write: CreateComment refused what UpdateComment did."""
    api = tenant.owner.issues
    made = await make_comment(tenant.owner, issue.issue_id)
    await api.DeleteIssue(issue_id=issue.issue_id)
    for write in (
        api.CreateComment(comment={"issue_id": issue.issue_id, "body": "More."}),
        api.UpdateComment(comment=edited(made, "Changed")),
        api.DeleteComment(comment_id=made.comment_id),
    ):
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as refusal:
            await write
        assert refusal.metadata == {"resource": "issue"}
    assert await api.GetComment(comment_id=made.comment_id) == made
    await api.UndeleteIssue(issue_id=issue.issue_id)
    assert (await api.UpdateComment(comment=edited(made, "Changed"))).body == "Changed"


async def test_an_internal_comment_does_not_exist_for_viewers(house: House, tenant: Tenant, issue: Any) -> None:
    member, viewer = tenant.member(Role.MEMBER).issues, tenant.member(Role.VIEWER).issues
    shown = await make_comment(tenant.owner, issue.issue_id)
    hidden = await make_comment(tenant.owner, issue.issue_id, visibility=INTERNAL, body="The pump was never fitted.")
    await tenant.owner.issues.UpdateComment(comment=edited(hidden, "It was fitted backwards."))
    found = (await member.ListComments(issue_id=issue.issue_id)).comments
    assert [one.comment_id for one in found] == [shown.comment_id, hidden.comment_id]
    assert len((await member.ListCommentRevisions(comment_id=hidden.comment_id)).revisions) == 1
    found = (await viewer.ListComments(issue_id=issue.issue_id, show_deleted=True)).comments
    assert list(found) == [shown]
    for method in ("GetComment", "ListCommentRevisions"):
        answers = []
        for comment_id in (hidden.comment_id, RANDOM_ID):
            with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as refusal:
                await getattr(viewer, method)(comment_id=comment_id)
            answers.append(refusal.status.SerializeToString())
        assert answers[0] == answers[1]
    # Pages are as full as if it were not there.
    await make_comment(tenant.owner, issue.issue_id)
    page = await viewer.ListComments(issue_id=issue.issue_id, page_size=2)
    assert (len(page.comments), page.next_page_token) == (2, "")


async def test_an_internal_comments_events_say_so(house: House, tenant: Tenant, issue: Any) -> None:
    made = await make_comment(tenant.owner, issue.issue_id, visibility=INTERNAL)
    await tenant.owner.issues.UpdateComment(comment=edited(made, "Other"))
    async with await psycopg.AsyncConnection.connect(house.database.dsn("bulkhead_issues_relay")) as connection:
        cursor = await connection.execute(
            "select action, visibility, project_id::text from issues.outbox where entity_id = %s order by outbox_id",
            (made.comment_id,),
        )
        assert await cursor.fetchall() == [
            ("comment.created", 2, issue.project_id),
            ("comment.updated", 2, issue.project_id),
        ]


async def test_viewers_say_nothing(tenant: Tenant, issue: Any) -> None:
    made = await make_comment(tenant.owner, issue.issue_id)
    client = tenant.member(Role.VIEWER)
    for call in (
        make_comment(client, issue.issue_id),
        client.issues.UpdateComment(comment=edited(made, "x")),
        client.issues.DeleteComment(comment_id=made.comment_id),
    ):
        with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
            await call


async def test_members_change_their_own_and_managers_everybodys(tenant: Tenant, issue: Any) -> None:
    owners = await make_comment(tenant.owner, issue.issue_id)
    members = await make_comment(tenant.member(Role.MEMBER), issue.issue_id)
    member, manager = tenant.member(Role.MEMBER).issues, tenant.member(Role.MANAGER).issues
    for call in (
        member.UpdateComment(comment=edited(owners, "x")),
        member.DeleteComment(comment_id=owners.comment_id),
    ):
        with refused("PERMISSION_DENIED", "ROLE_TOO_LOW") as refusal:
            await call
        assert refusal.metadata == {"least_role": "MANAGER"}
    assert (await manager.UpdateComment(comment=edited(members, "Better"))).author_id == members.author_id
    assert (await member.DeleteComment(comment_id=members.comment_id)).HasField("delete_time")
    assert (await manager.DeleteComment(comment_id=owners.comment_id)).HasField("delete_time")


async def test_a_deleted_comment_is_hidden_and_not_changed(house: House, tenant: Tenant, issue: Any) -> None:
    api = tenant.owner.issues
    made = await make_comment(tenant.owner, issue.issue_id)
    with refused("ABORTED", "ETAG_MISMATCH"):
        await api.DeleteComment(comment_id=made.comment_id, etag='"v9"')
    deleted = await api.DeleteComment(comment_id=made.comment_id, etag=made.etag)
    assert not (await api.ListComments(issue_id=issue.issue_id)).comments
    assert list((await api.ListComments(issue_id=issue.issue_id, show_deleted=True)).comments) == [deleted]
    assert await api.GetComment(comment_id=made.comment_id) == deleted
    for call in (
        api.DeleteComment(comment_id=made.comment_id),
        api.UpdateComment(comment=edited(made, "x")),
    ):
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
            await call
    assert [action for action, entity in await outbox(house, tenant) if entity == made.comment_id] == [
        "comment.created",
        "comment.deleted",
    ]


async def test_another_tenants_comment_is_none(tenant: Tenant, stranger: Tenant, issue: Any) -> None:
    made = await make_comment(tenant.owner, issue.issue_id)
    api = stranger.owner.issues
    for comment_id in (made.comment_id, RANDOM_ID):
        for call in (
            api.GetComment(comment_id=comment_id),
            api.ListCommentRevisions(comment_id=comment_id),
            api.UpdateComment(comment=comment_pb2.Comment(comment_id=comment_id, body="x")),
            api.DeleteComment(comment_id=comment_id),
        ):
            with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as refusal:
                await call
            assert refusal.metadata == {"resource": "comment"}
    for issue_id in (issue.issue_id, RANDOM_ID):
        for call in (api.ListComments(issue_id=issue_id), make_comment(stranger.owner, issue_id)):
            with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as refusal:
                await call
            assert refusal.metadata == {"resource": "issue"}
    assert await tenant.owner.issues.GetComment(comment_id=made.comment_id) == made


async def test_a_deleted_issue_takes_no_comments_and_keeps_its_own(tenant: Tenant, issue: Any) -> None:
    made = await make_comment(tenant.owner, issue.issue_id)
    await tenant.owner.issues.DeleteIssue(issue_id=issue.issue_id)
    with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
        await make_comment(tenant.owner, issue.issue_id)
    assert list((await tenant.owner.issues.ListComments(issue_id=issue.issue_id)).comments) == [made]


async def test_wrong_fields_are_named(tenant: Tenant, issue: Any) -> None:
    for fields, named in (
        ({"body": ""}, "comment.body"),
        ({"body": " \n "}, "comment.body"),
        ({"body": "a\x07b"}, "comment.body"),
        ({"body": "x" * 100_001}, "comment.body"),
        ({"visibility": 3}, "comment.visibility"),
    ):
        with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
            await make_comment(tenant.owner, issue.issue_id, **fields)
        assert refusal.fields == [named]
    made = await make_comment(tenant.owner, issue.issue_id)
    for path in ("visibility", "author_id", "revision", "nothing"):
        with refused("INVALID_ARGUMENT", "INVALID_UPDATE_MASK"):
            await tenant.owner.issues.UpdateComment(comment=edited(made, "x"), update_mask={"paths": [path]})


async def test_two_edits_with_one_etag_are_one_edit(tenant: Tenant, issue: Any) -> None:
    made = await make_comment(tenant.owner, issue.issue_id)
    answers = await asyncio.gather(
        *(tenant.owner.issues.UpdateComment(comment=edited(made, body, etag=made.etag)) for body in "abc"),
        return_exceptions=True,
    )
    lost = [reason_of(one) for one in answers if isinstance(one, grpc.aio.AioRpcError)]
    assert lost == ["ETAG_MISMATCH"] * 2
    assert len((await tenant.owner.issues.ListCommentRevisions(comment_id=made.comment_id)).revisions) == 1


async def test_edits_at_once_lose_no_text(tenant: Tenant, issue: Any) -> None:
    made = await make_comment(tenant.owner, issue.issue_id, body="0")
    texts = [str(number) for number in range(1, 9)]
    await asyncio.gather(*(tenant.owner.issues.UpdateComment(comment=edited(made, text)) for text in texts))
    last = await tenant.owner.issues.GetComment(comment_id=made.comment_id)
    earlier = (await tenant.owner.issues.ListCommentRevisions(comment_id=made.comment_id)).revisions
    assert [one.revision for one in earlier] == list(range(8, 0, -1))
    assert sorted([last.body, *(one.body for one in earlier)]) == ["0", *texts]


async def test_a_repeated_request_is_one_comment(tenant: Tenant, issue: Any) -> None:
    request = {
        "comment": comment_pb2.Comment(issue_id=issue.issue_id, body="Once"),
        "request_id": str(new_id()),
    }
    first = await tenant.owner.issues.CreateComment(**request)
    assert await tenant.owner.issues.CreateComment(**request) == first
    assert len((await tenant.owner.issues.ListComments(issue_id=issue.issue_id)).comments) == 1


async def test_pages_hold_every_comment_once_in_order(tenant: Tenant, issue: Any) -> None:
    made = [(await make_comment(tenant.owner, issue.issue_id, body=str(n))).comment_id for n in range(7)]
    found: list[str] = []
    token = ""
    while True:
        page = await tenant.owner.issues.ListComments(issue_id=issue.issue_id, page_size=3, page_token=token)
        found += [one.comment_id for one in page.comments]
        token = page.next_page_token
        if not token:
            break
    assert found == made
