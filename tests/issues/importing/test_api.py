"""ImportItems through a real stub: what goes in, what is left out, and what a second run changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bulkhead.issues.v1 import comment_pb2, import_pb2, import_service_pb2, workflow_pb2
from bulkhead_kit.caller import Role

from tests.issues.importing.sample import Part, closed, comment, counts, issue, label, options, request, run
from tests.issues.support import outbox, stamp
from tests.support.builders import make_issue, make_project
from tests.support.client import refused
from tests.support.house import House, Tenant

SAMPLE: list[Part] = [
    label("bug"),
    label("docs", color=""),
    issue(3, label_names=["BUG", "docs"], assignee="mira", comments=[comment(1), comment(2, author="jonas")]),
    closed(7, comments=[comment(3, visibility=comment_pb2.VISIBILITY_INTERNAL)]),
    closed(9, state=import_pb2.IMPORT_STATE_CANCELLED),
]


async def listed(tenant: Tenant, project_id: str) -> dict[int, Any]:
    reply = await tenant.owner.issues.ListIssues(project_id=project_id, page_size=200)
    return {found.number: found for found in reply.issues}


async def test_items_keep_their_numbers_times_authors_and_states(tenant: Tenant, project: Any) -> None:
    report = await run(tenant, project.project_id, SAMPLE)
    assert not report.failures
    assert (counts(report.labels), counts(report.issues), counts(report.comments)) == ((2, 0, 0), (3, 0, 0), (3, 0, 0))
    assert report.authors == 2
    found = await listed(tenant, project.project_id)
    assert sorted(found) == [3, 7, 9]
    third = found[3]
    assert (third.key, third.title, third.description) == (f"{project.key}-3", "Item 3", "Line one\nLine two")
    assert third.create_time == stamp("2025-03-01T09:00:00Z")
    assert third.update_time == stamp("2025-03-05T09:00:00.123456Z")
    assert third.reporter_id != third.assignee_id
    assert len(third.label_ids) == 2
    assert [found[n].status_category for n in (3, 7, 9)] == [
        workflow_pb2.STATUS_CATEGORY_BACKLOG,
        workflow_pb2.STATUS_CATEGORY_DONE,
        workflow_pb2.STATUS_CATEGORY_CANCELLED,
    ]
    comments = (await tenant.owner.issues.ListComments(issue_id=third.issue_id)).comments
    assert [(one.body, one.author_id) for one in comments] == [
        ("Comment 1", third.assignee_id),
        ("Comment 2", third.reporter_id),
    ]
    assert comments[0].create_time == stamp("2025-03-02T10:00:00Z")


async def test_a_closed_item_has_a_history_of_two_spans(tenant: Tenant, project: Any) -> None:
    await run(tenant, project.project_id, SAMPLE)
    seventh = (await listed(tenant, project.project_id))[7]
    assert seventh.resolve_time == stamp("2025-03-04T08:00:00Z")
    spans = (await tenant.owner.issues.ListStatusHistory(issue_id=seventh.issue_id)).spans
    assert [(span.enter_time, span.leave_time) for span in spans] == [
        (stamp("2025-03-01T09:00:00Z"), stamp("2025-03-04T08:00:00Z")),
        (stamp("2025-03-04T08:00:00Z"), spans[1].leave_time),
    ]
    assert not spans[1].HasField("leave_time")
    assert [span.changed_by_id for span in spans] == ["", ""]


async def test_numbers_go_on_behind_the_imported_ones(tenant: Tenant, project: Any) -> None:
    await run(tenant, project.project_id, SAMPLE)
    made = await make_issue(tenant.owner, project.project_id)
    assert made.number == 10


async def test_the_number_behind_the_largest_can_be_asked_for(tenant: Tenant, project: Any) -> None:
    await run(tenant, project.project_id, [issue(999_999_999)])
    made = await make_issue(tenant.owner, project.project_id)
    assert made.key == f"{project.key}-1000000000"
    assert await tenant.owner.issues.GetIssue(key=made.key) == made
    with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
        await tenant.owner.issues.GetIssue(key=f"{project.key}-9999999999")


async def test_a_second_import_changes_nothing_and_leaves_no_event(house: House, tenant: Tenant, project: Any) -> None:
    await run(tenant, project.project_id, SAMPLE)
    before, events = await listed(tenant, project.project_id), await outbox(house, tenant)
    report = await run(tenant, project.project_id, SAMPLE)
    assert (counts(report.labels), counts(report.issues), counts(report.comments)) == ((0, 0, 2), (0, 0, 3), (0, 0, 3))
    assert await listed(tenant, project.project_id) == before
    assert await outbox(house, tenant) == events


async def test_what_people_did_since_outlives_the_same_item_but_not_a_changed_one(tenant: Tenant, project: Any) -> None:
    await run(tenant, project.project_id, SAMPLE)
    third = (await listed(tenant, project.project_id))[3]
    third.title = "Ours"
    await tenant.owner.issues.UpdateIssue(issue=third, update_mask={"paths": ["title"]})
    await run(tenant, project.project_id, SAMPLE)
    assert (await listed(tenant, project.project_id))[3].title == "Ours"
    changed = closed(
        3,
        title="Theirs",
        label_names=["docs"],
        comments=[comment(1, body="Edited", update_time=stamp("2025-03-06T10:00:00Z")), comment(4)],
    )
    report = await run(tenant, project.project_id, [changed])
    assert (counts(report.issues), counts(report.comments)) == ((0, 1, 0), (1, 1, 0))
    third = (await listed(tenant, project.project_id))[3]
    assert (third.title, third.assignee_id, len(third.label_ids)) == ("Theirs", "", 1)
    assert third.status_category == workflow_pb2.STATUS_CATEGORY_DONE
    comments = (await tenant.owner.issues.ListComments(issue_id=third.issue_id)).comments
    assert [one.body for one in comments] == ["Edited", "Comment 2", "Comment 4"]
    revisions = (await tenant.owner.issues.ListCommentRevisions(comment_id=comments[0].comment_id)).revisions
    assert [one.body for one in revisions] == ["Comment 1"]


async def test_a_broken_item_is_named_and_the_rest_goes_in(tenant: Tenant, project: Any) -> None:
    taken = await make_issue(tenant.owner, project.project_id)
    report = await run(
        tenant,
        project.project_id,
        [
            label("bug"),
            issue(11, title=""),
            issue(12, label_names=["unknown"]),
            closed(13, close_time=stamp("2024-01-01T00:00:00Z")),
            issue(14, comments=[comment(1), comment(2, body=" ")]),
            issue(taken.number),
            issue(15),
            issue(15),
            label("bad", color="red"),
        ],
    )
    assert [(one.position, one.item, one.reason) for one in report.failures] == [
        (2, "I11", "INVALID_FIELD"),
        (3, "I12", "REFERENCE_NOT_FOUND"),
        (4, "I13", "INVALID_FIELD"),
        (5, "I14", "INVALID_FIELD"),
        (6, f"I{taken.number}", "ALREADY_TAKEN"),
        (8, "I15", "ALREADY_TAKEN"),
        (9, "bad", "INVALID_FIELD"),
    ]
    assert "comments[1].body" in report.failures[3].message
    assert sorted(await listed(tenant, project.project_id)) == [taken.number, 15]


async def test_what_is_still_to_come_is_left_out(tenant: Tenant, project: Any) -> None:
    """It would be the latest of all for good, and every later change of it in the future too."""
    ahead = stamp("9000-01-01T00:00:00Z")
    parts = [
        issue(1, update_time=ahead),
        issue(2, create_time=ahead, update_time=ahead),
        closed(3, close_time=ahead),
        issue(4, comments=[comment(1, create_time=ahead, update_time=ahead)]),
        issue(5),
    ]
    report = await run(tenant, project.project_id, parts)
    assert [(one.item, one.reason, one.message) for one in report.failures] == [
        (f"I{number}", "INVALID_FIELD", f"{field}: must not be in the future")
        for number, field in enumerate(("update_time", "create_time", "close_time", "comments[0].create_time"), 1)
    ]
    assert sorted(await listed(tenant, project.project_id)) == [5]


async def test_a_dry_run_reports_the_same_and_writes_nothing(house: House, tenant: Tenant, project: Any) -> None:
    events = await outbox(house, tenant)
    wrong = issue(20, label_names=["unknown"])
    dry = await run(tenant, project.project_id, [*SAMPLE, wrong], dry_run=True)
    assert dry.dry_run
    assert not await listed(tenant, project.project_id)
    assert await outbox(house, tenant) == events
    wet = await run(tenant, project.project_id, [*SAMPLE, wrong])
    assert not wet.dry_run
    dry.dry_run = False
    assert dry == wet


async def test_an_item_may_come_in_several_messages(tenant: Tenant, project: Any) -> None:
    parts: list[Part] = [
        issue(1, comments=[comment(1)], more_comments_follow=True),
        import_pb2.ImportMoreComments(comments=[comment(2)], more_comments_follow=True),
        import_pb2.ImportMoreComments(comments=[comment(3)]),
        issue(2),
    ]
    report = await run(tenant, project.project_id, parts)
    assert (counts(report.issues), counts(report.comments)) == ((2, 0, 0), (3, 0, 0))


async def test_a_message_out_of_place_ends_the_import(tenant: Tenant, project: Any) -> None:
    more = import_pb2.ImportMoreComments(comments=[comment(2)])
    with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
        await run(tenant, project.project_id, [issue(1), more])
    with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
        await run(tenant, project.project_id, [issue(2, more_comments_follow=True), issue(3)])
    assert sorted(await listed(tenant, project.project_id)) == [1]

    async def without_options() -> AsyncIterator[import_service_pb2.ImportItemsRequest]:
        yield request(issue(1))

    with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
        await tenant.owner.issues.ImportItems(without_options())
    assert refusal.fields == ["options"]


async def test_authors_are_placeholders_and_the_same_in_all_repositories(tenant: Tenant, project: Any) -> None:
    other = await make_project(tenant.owner)
    await run(tenant, project.project_id, [issue(1)])
    await run(tenant, other.project_id, [issue(1)], source="github/example/other")
    first, second = [(await listed(tenant, p.project_id))[1] for p in (project, other)]
    assert first.reporter_id == second.reporter_id
    assert first.issue_id != second.issue_id
    members = (await tenant.owner.identity.ListMembers(page_size=200)).members
    assert [one.display_name for one in members if one.user_id == first.reporter_id] == ["jonas"]


async def test_an_item_is_imported_into_one_project_only(tenant: Tenant, project: Any) -> None:
    other = await make_project(tenant.owner)
    await run(tenant, project.project_id, [issue(1)])
    report = await run(tenant, other.project_id, [issue(1)])
    assert [one.reason for one in report.failures] == ["ALREADY_TAKEN"]


async def test_only_admins_may_import(tenant: Tenant, project: Any) -> None:
    with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
        await run(tenant, project.project_id, [issue(1)], client=tenant.member(Role.MANAGER))
    report = await run(tenant, project.project_id, [issue(1)], client=tenant.member(Role.ADMIN))
    assert report.issues.created == 1


async def test_another_tenants_project_is_no_project(house: House, tenant: Tenant, project: Any) -> None:
    stranger = await house.tenant("globex")
    with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
        await run(stranger, project.project_id, [issue(1)])
    assert not await listed(tenant, project.project_id)


async def test_a_deleted_issue_stays_deleted(tenant: Tenant, project: Any) -> None:
    await run(tenant, project.project_id, [issue(1)])
    made = (await listed(tenant, project.project_id))[1]
    await tenant.owner.issues.DeleteIssue(issue_id=made.issue_id)
    report = await run(tenant, project.project_id, [issue(1, title="Again", comments=[comment(1)])])
    assert counts(report.issues) == (0, 0, 1)
    assert not await listed(tenant, project.project_id)


async def test_a_client_that_goes_away_leaves_whole_items_only(tenant: Tenant, project: Any) -> None:
    async def breaks_off() -> AsyncIterator[import_service_pb2.ImportItemsRequest]:
        yield options(project.project_id)
        yield request(issue(1, comments=[comment(1)]))
        yield request(issue(2, comments=[comment(2)], more_comments_follow=True))
        raise ConnectionError("the client is gone")

    with pytest.raises(asyncio.CancelledError):
        await tenant.owner.issues.ImportItems(breaks_off())
    report = await run(tenant, project.project_id, [issue(2, comments=[comment(2)])])
    assert report.issues.created == 1


async def test_a_comment_that_became_internal_in_the_source_is_not_published(tenant: Tenant, project: Any) -> None:
    await run(tenant, project.project_id, [issue(1, comments=[comment(1)])])
    secret = comment(1, body="Secret", visibility=comment_pb2.VISIBILITY_INTERNAL)
    report = await run(tenant, project.project_id, [issue(1, title="New", comments=[secret, comment(2)]), issue(2)])
    assert [(one.item, one.reason) for one in report.failures] == [("I1", "INVALID_FIELD")]
    assert "comments.visibility" in report.failures[0].message
    assert (counts(report.issues), counts(report.comments)) == ((1, 0, 0), (0, 0, 0))
    made = (await listed(tenant, project.project_id))[1]
    assert made.title == "Item 1"
    comments = (await tenant.member(Role.VIEWER).issues.ListComments(issue_id=made.issue_id)).comments
    assert [one.body for one in comments] == ["Comment 1"]


async def test_an_internal_comment_is_not_opened_by_the_source(tenant: Tenant, project: Any) -> None:
    internal = comment(1, visibility=comment_pb2.VISIBILITY_INTERNAL)
    await run(tenant, project.project_id, [issue(1, comments=[internal])])
    report = await run(tenant, project.project_id, [issue(1, comments=[comment(1)])])
    assert [one.item for one in report.failures] == ["I1"]
    edited = comment(1, body="Edited", visibility=comment_pb2.VISIBILITY_INTERNAL)
    report = await run(tenant, project.project_id, [issue(1, comments=[edited])])
    assert counts(report.comments) == (0, 1, 0)
    made = (await listed(tenant, project.project_id))[1]
    assert not (await tenant.member(Role.VIEWER).issues.ListComments(issue_id=made.issue_id)).comments


async def test_a_deleted_comment_is_left_alone(house: House, tenant: Tenant, project: Any) -> None:
    await run(tenant, project.project_id, [issue(1, comments=[comment(1), comment(2)])])
    made = (await listed(tenant, project.project_id))[1]
    first = (await tenant.owner.issues.ListComments(issue_id=made.issue_id)).comments[0]
    await tenant.owner.issues.DeleteComment(comment_id=first.comment_id)
    events = await outbox(house, tenant)
    changed = comment(1, body="Edited", visibility=comment_pb2.VISIBILITY_INTERNAL)
    report = await run(tenant, project.project_id, [issue(1, comments=[changed, comment(2)])])
    assert (counts(report.issues), counts(report.comments)) == ((0, 0, 1), (0, 0, 2))
    assert not report.failures
    assert await outbox(house, tenant) == events
