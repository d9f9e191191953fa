"""A later version of what was imported: what changed is healed, and nothing is doubled."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bulkhead.issues.v1 import import_pb2, workflow_pb2
from bulkhead_cli.importing import archive, sending

from tests.issues.importing.sample import Part, closed, comment, counts, issue, label, run
from tests.issues.importing.test_archive import CONTENT
from tests.issues.support import outbox, stamp
from tests.support.builders import make_issue, make_project
from tests.support.house import House, Tenant

OPEN, DONE, CANCELLED = (
    workflow_pb2.STATUS_CATEGORY_BACKLOG,
    workflow_pb2.STATUS_CATEGORY_DONE,
    workflow_pb2.STATUS_CATEGORY_CANCELLED,
)
MADE, FIRST, KNOWN, SECOND = (stamp(f"2025-03-0{day}T00:00:00Z") for day in (1, 2, 3, 4))
RENAMED = "github/example/bilge-watch-2"


async def only(tenant: Tenant, project_id: str) -> Any:
    reply = await tenant.owner.issues.ListIssues(project_id=project_id)
    assert len(reply.issues) == 1
    return reply.issues[0]


async def said(tenant: Tenant, issue_id: str) -> list[tuple[str, str]]:
    """The comments of an issue: text and author's name."""
    comments = (await tenant.owner.issues.ListComments(issue_id=issue_id)).comments
    members = (await tenant.owner.identity.ListMembers(page_size=200)).members
    names = {one.user_id: one.display_name for one in members}
    return [(one.body, names[one.author_id]) for one in comments]


async def spans(tenant: Tenant, issue_id: str) -> list[Any]:
    statuses = (await tenant.owner.issues.ListStatuses()).statuses
    categories = {one.status_id: one.category for one in statuses}
    found = (await tenant.owner.issues.ListStatusHistory(issue_id=issue_id)).spans
    return [(categories[one.status_id], one.enter_time) for one in found]


def nameless(body: str, author: str = "mira", second: int = 0, **fields: Any) -> import_pb2.ImportComment:
    at = stamp(f"2025-03-02T10:00:{second:02d}Z")
    return comment(0, external_id="", body=body, author=author, **{"create_time": at, "update_time": at, **fields})


@pytest.mark.parametrize(
    ("before", "after", "category", "history"),
    [
        (
            (import_pb2.IMPORT_STATE_CANCELLED, FIRST),
            (import_pb2.IMPORT_STATE_DONE, SECOND),
            DONE,
            [(OPEN, MADE), (CANCELLED, FIRST), (DONE, SECOND)],
        ),
        (
            (import_pb2.IMPORT_STATE_DONE, FIRST),
            (import_pb2.IMPORT_STATE_DONE, SECOND),
            DONE,
            [(OPEN, MADE), (DONE, FIRST), (OPEN, KNOWN), (DONE, SECOND)],
        ),
        (
            (import_pb2.IMPORT_STATE_DONE, SECOND),
            (import_pb2.IMPORT_STATE_DONE, FIRST),
            DONE,
            [(OPEN, MADE), (DONE, SECOND)],
        ),
    ],
    ids=["closed then merged", "reopened and closed again", "closed earlier than was said"],
)
async def test_a_later_end_is_taken_over(
    house: House, tenant: Tenant, project: Any, before: Any, after: Any, category: Any, history: Any
) -> None:
    times = {"create_time": MADE, "update_time": KNOWN}
    first = issue(1, state=before[0], close_time=before[1], **times)
    later = issue(1, state=after[0], close_time=after[1], create_time=MADE, update_time=stamp("2025-03-06T00:00:00Z"))
    await run(tenant, project.project_id, [first])
    report = await run(tenant, project.project_id, [later])
    assert counts(report.issues) == (0, 1, 0)
    found = await only(tenant, project.project_id)
    assert (found.status_category, found.resolve_time, found.update_time) == (category, after[1], later.update_time)
    assert await spans(tenant, found.issue_id) == history
    events = await outbox(house, tenant)
    assert counts((await run(tenant, project.project_id, [later])).issues) == (0, 0, 1)
    assert await outbox(house, tenant) == events


async def test_who_reported_it_is_healed(tenant: Tenant, project: Any) -> None:
    await run(tenant, project.project_id, [issue(1)])
    before = (await only(tenant, project.project_id)).reporter_id
    await run(tenant, project.project_id, [issue(1, author="jonas-2")])
    found = await only(tenant, project.project_id)
    (told,) = (await tenant.owner.issues.ListActivity(issue_id=found.issue_id)).changes
    assert (told.field, told.old_value, told.new_value) == ("reporter_id", before, found.reporter_id)
    members = (await tenant.owner.identity.ListMembers(page_size=200)).members
    assert [one.display_name for one in members if one.user_id == found.reporter_id] == ["jonas-2"]


async def test_a_login_is_no_identity_of_a_comment(house: House, tenant: Tenant, project: Any) -> None:
    first = [nameless("One"), nameless("Two"), nameless("Three", second=1)]
    await run(tenant, project.project_id, [issue(1, comments=first)])
    found = await only(tenant, project.project_id)
    later = [nameless("One", "mira-2"), nameless("Two", "ghost"), nameless("Three, edited", "ghost", second=1)]
    report = await run(tenant, project.project_id, [issue(1, comments=later)])
    assert (counts(report.issues), counts(report.comments)) == ((0, 1, 0), (0, 3, 0))
    assert await said(tenant, found.issue_id) == [("One", "mira-2"), ("Two", "ghost"), ("Three, edited", "ghost")]
    events = await outbox(house, tenant)
    assert counts((await run(tenant, project.project_id, [issue(1, comments=later)])).comments) == (0, 0, 3)
    assert await outbox(house, tenant) == events


async def test_the_first_of_a_second_may_go(tenant: Tenant, project: Any) -> None:
    both = [nameless("One"), nameless("Two")]
    await run(tenant, project.project_id, [issue(1, comments=both)])
    report = await run(tenant, project.project_id, [issue(1, comments=both[1:])])
    assert counts(report.comments) == (0, 0, 1)
    found = await only(tenant, project.project_id)
    # What the source no longer has stays: an archive may be cut.
    assert [body for body, _ in await said(tenant, found.issue_id)] == ["One", "Two"]
    report = await run(tenant, project.project_id, [issue(1, comments=[*both, nameless("Three")])])
    # One is new, and one is in the source again.
    assert counts(report.comments) == (1, 1, 1)
    assert [body for body, _ in await said(tenant, found.issue_id)] == ["One", "Two", "Three"]


async def test_what_went_is_not_taken_for_another_that_is_edited_later(
    house: House, tenant: Tenant, project: Any
) -> None:
    both = [nameless("One"), nameless("Two")]
    await run(tenant, project.project_id, [issue(1, comments=both)])
    found = await only(tenant, project.project_id)
    events = await outbox(house, tenant)
    report = await run(tenant, project.project_id, [issue(1, comments=both[1:])])
    assert counts(report.issues) == (0, 0, 1)
    assert await outbox(house, tenant) == events
    edited = nameless("Two, edited")
    for expected in ((0, 1, 0), (0, 0, 1)):
        report = await run(tenant, project.project_id, [issue(1, comments=[edited])])
        assert counts(report.comments) == expected
    assert [body for body, _ in await said(tenant, found.issue_id)] == ["One", "Two, edited"]
    # And back again, as the archive had only been cut.
    report = await run(tenant, project.project_id, [issue(1, comments=[both[0], edited])])
    assert counts(report.comments) == (0, 1, 1)
    report = await run(tenant, project.project_id, [issue(1, comments=[both[0], edited])])
    assert counts(report.comments) == (0, 0, 2)
    assert [body for body, _ in await said(tenant, found.issue_id)] == ["One", "Two, edited"]


async def test_comments_that_are_alike_stay_as_many(tenant: Tenant, project: Any) -> None:
    same = [nameless("+1")] * 3
    await run(tenant, project.project_id, [issue(1, comments=same)])
    report = await run(tenant, project.project_id, [issue(1, comments=[*same, nameless("+1")])])
    assert counts(report.comments) == (1, 0, 3)


async def test_a_text_edited_here_is_still_known_by_what_was_imported(tenant: Tenant, project: Any) -> None:
    both = [nameless("One"), nameless("Two")]
    await run(tenant, project.project_id, [issue(1, comments=both)])
    found = await only(tenant, project.project_id)
    first = (await tenant.owner.issues.ListComments(issue_id=found.issue_id)).comments[0]
    first.body = "Ours"
    await tenant.owner.issues.UpdateComment(comment=first, update_mask={"paths": ["body"]})
    report = await run(tenant, project.project_id, [issue(1, comments=both[::-1])])
    assert counts(report.comments) == (0, 0, 2)
    assert [body for body, _ in await said(tenant, found.issue_id)] == ["Ours", "Two"]


async def test_a_deleted_comment_without_a_name_stays_deleted(tenant: Tenant, project: Any) -> None:
    both = [nameless("One"), nameless("Two")]
    await run(tenant, project.project_id, [issue(1, comments=both)])
    found = await only(tenant, project.project_id)
    first = (await tenant.owner.issues.ListComments(issue_id=found.issue_id)).comments[0]
    await tenant.owner.issues.DeleteComment(comment_id=first.comment_id)
    report = await run(tenant, project.project_id, [issue(1, comments=[nameless("One, edited", "x"), both[1]])])
    assert counts(report.comments) == (0, 0, 2)
    assert [body for body, _ in await said(tenant, found.issue_id)] == ["Two"]


async def test_a_renamed_repository_is_known_by_its_ids(house: House, tenant: Tenant, project: Any) -> None:
    items = [issue(1, global_id=True, comments=[nameless("One")]), closed(2, global_id=True)]
    await run(tenant, project.project_id, items)
    events = await outbox(house, tenant)
    report = await run(tenant, project.project_id, items, source=RENAMED)
    assert not report.failures
    assert (counts(report.issues), counts(report.comments)) == ((0, 0, 2), (0, 0, 1))
    assert await outbox(house, tenant) == events
    items[0].comments.append(nameless("Two", second=1))
    report = await run(tenant, project.project_id, items, source=RENAMED)
    assert (counts(report.issues), counts(report.comments)) == ((0, 1, 1), (1, 0, 1))
    # Not of another kind of source, and not into another project.
    report = await run(tenant, project.project_id, items, source="gitlab/example/bilge-watch")
    assert [one.reason for one in report.failures] == ["ALREADY_TAKEN"] * 2
    other = await make_project(tenant.owner)
    report = await run(tenant, other.project_id, items, source=RENAMED)
    assert [one.reason for one in report.failures] == ["ALREADY_TAKEN"] * 2


async def test_without_such_ids_the_message_says_whose_the_number_is(tenant: Tenant, project: Any) -> None:
    await run(tenant, project.project_id, [issue(1)])
    report = await run(tenant, project.project_id, [issue(1)], source=RENAMED)
    assert "github/example/bilge-watch; if it is the same, import under that source" in report.failures[0].message
    report = await run(tenant, project.project_id, [issue(2, external_id="I1")])
    assert "number 1" in report.failures[0].message
    own = await make_issue(tenant.owner, project.project_id)
    report = await run(tenant, project.project_id, [issue(own.number)])
    assert "another issue of the project" in report.failures[0].message


async def test_a_missing_label_is_named(tenant: Tenant, project: Any) -> None:
    report = await run(tenant, project.project_id, [issue(1, label_names=["there", "gone"]), label("there")])
    assert "'gone', 'there'" in report.failures[0].message


@pytest.mark.parametrize("runs", [2, 4])
async def test_imports_of_the_same_at_once_all_end_right(house: House, tenant: Tenant, project: Any, runs: int) -> None:
    names = [f"l{number}" for number in range(5)]
    parts: list[Part] = [label(name) for name in names]
    for number in range(1, 26):
        said_so = [nameless(f"{number}-{place}", f"a{place}", place % 2) for place in range(3)]
        parts.append(issue(number, label_names=names, comments=said_so, author=f"b{number % 7}", global_id=True))

    async def at_once(items: list[Part]) -> list[Any]:
        reports = await asyncio.gather(*(run(tenant, project.project_id, items) for _ in range(runs)))
        assert [list(report.failures) for report in reports] == [[]] * runs
        return reports

    reports = await at_once(parts)
    assert [sum(getattr(report, kind).created for report in reports) for kind in ("labels", "issues", "comments")] == [
        5,
        25,
        75,
    ]
    changed = [one for one in parts if isinstance(one, import_pb2.ImportIssue)]
    for one in changed:
        one.title += ", changed"
        one.comments.append(nameless("More", second=30))
        one.comments[0].body += ", edited"
    before = len(await outbox(house, tenant))
    reports = await at_once([*changed])
    assert sum(report.issues.updated for report in reports) == 25
    # Of each issue: itself, a comment more, a comment edited.
    assert len(await outbox(house, tenant)) - before == 75


async def test_two_imports_of_an_archive_at_once(tenant: Tenant, project: Any) -> None:
    found = archive.parse(CONTENT)

    async def one() -> sending.Report:
        async def stream() -> Any:
            for request in sending.requests(found, project.project_id):
                yield request

        return sending.Report(found, await tenant.owner.issues.ImportItems(stream()))

    reports = await asyncio.gather(one(), one())
    assert [report.failed for report in reports] == [0, 0]
    assert sum(report.changed for report in reports) == 1 + 5 + 3
