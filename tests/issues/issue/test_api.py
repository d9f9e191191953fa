"""IssueService: making, reading and changing issues."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import grpc.aio
import pytest
from bulkhead.issues.v1 import issue_pb2, project_pb2, workflow_pb2
from bulkhead_issues.issue import wire
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from google.protobuf import json_format, struct_pb2

from tests.issues.support import RANDOM_ID, outbox, stamp
from tests.support.builders import make_issue, make_label, make_project, statuses
from tests.support.client import reason_of, refused
from tests.support.house import House, Tenant

DONE, TODO, DOING = (
    workflow_pb2.STATUS_CATEGORY_DONE,
    workflow_pb2.STATUS_CATEGORY_TODO,
    workflow_pb2.STATUS_CATEGORY_IN_PROGRESS,
)


@pytest.fixture(name="issue")
async def fixture_issue(tenant: Tenant, project: Any) -> Any:
    return await make_issue(tenant.owner, project.project_id)


def changed(issue: Any, **fields: Any) -> issue_pb2.Issue:
    return issue_pb2.Issue(issue_id=issue.issue_id, **fields)


async def test_an_issue_is_made_and_read_by_id_and_key(tenant: Tenant, project: Any) -> None:
    member = tenant.member(Role.MEMBER)
    labels = sorted([(await make_label(tenant.owner)).label_id for _ in range(3)])
    parent = await make_issue(member, project.project_id, type=issue_pb2.ISSUE_TYPE_EPIC)
    metadata = struct_pb2.Struct()
    metadata.update({"severity": 3, "host": "ü"})
    made = await make_issue(
        member,
        project.project_id,
        type=issue_pb2.ISSUE_TYPE_BUG,
        title="  Water in the bilge 🛟 ",
        description="1. Cast off\r\n2. Wait",
        status_id=(await statuses(tenant.owner))[TODO],
        priority=project_pb2.PRIORITY_URGENT,
        assignee_id=str(tenant.people[Role.VIEWER].user_id),
        parent_id=parent.issue_id,
        label_ids=reversed(labels),
        estimate_minutes=0,
        spent_minutes=30,
        start_time=stamp("2026-01-01T00:00:00.123456Z"),
        due_time=stamp("2026-02-01T00:00:00Z"),
        metadata=metadata,
    )
    assert (made.key, made.number, made.title) == (f"{project.key}-2", 2, "Water in the bilge 🛟")
    assert made.description == "1. Cast off\n2. Wait"
    assert made.reporter_id == str(tenant.people[Role.MEMBER].user_id)
    assert (made.status_category, list(made.label_ids)) == (TODO, labels)
    assert made.HasField("estimate_minutes")
    assert made.start_time == stamp("2026-01-01T00:00:00.123456Z")
    assert made.metadata == metadata
    viewer = tenant.member(Role.VIEWER)
    assert await viewer.issues.GetIssue(issue_id=made.issue_id) == made
    assert await viewer.issues.GetIssue(key=made.key) == made
    both = await viewer.issues.BatchGetIssues(issue_ids=[made.issue_id, parent.issue_id])
    assert list(both.issues) == [made, parent]


async def test_numbers_have_no_gap_with_many_at_once(tenant: Tenant, project: Any) -> None:
    made = await asyncio.gather(*(make_issue(tenant.owner, project.project_id) for _ in range(20)))
    assert sorted(one.number for one in made) == list(range(1, 21))


async def test_viewers_change_nothing(house: House, tenant: Tenant, issue: Any) -> None:
    api = tenant.member(Role.VIEWER).issues
    status_id = (await statuses(tenant.owner))[TODO]
    label_id = (await make_label(tenant.owner)).label_id
    before = await outbox(house, tenant)
    for call in (
        make_issue(tenant.member(Role.VIEWER), issue.project_id),
        api.UpdateIssue(issue=changed(issue, title="x")),
        api.TransitionIssue(issue_id=issue.issue_id, status_id=status_id),
        api.AssignIssue(issue_id=issue.issue_id),
        api.AddLabel(issue_id=issue.issue_id, label_id=label_id),
        api.RemoveLabel(issue_id=issue.issue_id, label_id=label_id),
        api.DeleteIssue(issue_id=issue.issue_id),
        api.UndeleteIssue(issue_id=issue.issue_id),
    ):
        with refused("PERMISSION_DENIED", "ROLE_TOO_LOW") as refusal:
            await call
        assert refusal.metadata == {"least_role": "MEMBER"}
    assert await outbox(house, tenant) == before


async def test_another_tenants_issue_is_none_for_every_method(
    house: House, tenant: Tenant, stranger: Tenant, issue: Any
) -> None:
    theirs = await make_project(stranger.owner)
    status_id = (await statuses(stranger.owner))[TODO]
    label_id = (await make_label(stranger.owner)).label_id
    api = stranger.owner.issues
    before = await outbox(house, tenant)
    for issue_id in (issue.issue_id, RANDOM_ID):
        for call in (
            api.GetIssue(issue_id=issue_id),
            api.BatchGetIssues(issue_ids=[issue_id]),
            api.UpdateIssue(issue=issue_pb2.Issue(issue_id=issue_id, title="x")),
            api.TransitionIssue(issue_id=issue_id, status_id=status_id),
            api.AssignIssue(issue_id=issue_id, assignee_id=str(stranger.people[Role.MEMBER].user_id)),
            api.AddLabel(issue_id=issue_id, label_id=label_id),
            api.RemoveLabel(issue_id=issue_id, label_id=label_id),
            api.DeleteIssue(issue_id=issue_id),
            api.UndeleteIssue(issue_id=issue_id),
            api.ListStatusHistory(issue_id=issue_id),
            api.ListActivity(issue_id=issue_id),
        ):
            with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as refusal:
                await call
            assert refusal.metadata == {"resource": "issue"}
    for project_id in (issue.project_id, RANDOM_ID):
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as refusal:
            await api.ListIssues(project_id=project_id)
        assert refusal.metadata == {"resource": "project"}
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
            await make_issue(stranger.owner, project_id)
    with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
        await api.GetIssue(key=issue.key)
    assert not (await api.ListIssues()).issues
    assert await outbox(house, tenant) == before
    assert theirs.project_id


async def test_references_to_another_tenants_things_are_refused_alike(
    tenant: Tenant, stranger: Tenant, issue: Any
) -> None:
    theirs = await make_issue(stranger.owner, (await make_project(stranger.owner)).project_id)
    label_id = (await make_label(stranger.owner)).label_id
    status_id = (await statuses(stranger.owner))[TODO]
    member = str(stranger.people[Role.MEMBER].user_id)
    api = tenant.owner.issues
    for field, foreign, calls in (
        ("status_id", status_id, [lambda x: api.TransitionIssue(issue_id=issue.issue_id, status_id=x)]),
        ("issue.status_id", status_id, [lambda x: make_issue(tenant.owner, issue.project_id, status_id=x)]),
        ("assignee_id", member, [lambda x: api.AssignIssue(issue_id=issue.issue_id, assignee_id=x)]),
        ("issue.assignee_id", member, [lambda x: make_issue(tenant.owner, issue.project_id, assignee_id=x)]),
        (
            "issue.parent_id",
            theirs.issue_id,
            [
                lambda x: api.UpdateIssue(issue=changed(issue, parent_id=x)),
                lambda x: make_issue(tenant.owner, issue.project_id, parent_id=x),
            ],
        ),
        (
            "label_id",
            label_id,
            [
                lambda x: api.AddLabel(issue_id=issue.issue_id, label_id=x),
                lambda x: api.RemoveLabel(issue_id=issue.issue_id, label_id=x),
            ],
        ),
        ("issue.label_ids", label_id, [lambda x: make_issue(tenant.owner, issue.project_id, label_ids=[x])]),
    ):
        for call in calls:
            for value in (foreign, RANDOM_ID):
                with refused("INVALID_ARGUMENT", "REFERENCE_NOT_FOUND") as refusal:
                    await call(value)
                assert (refusal.metadata, refusal.fields) == ({"field": field}, [field])


async def test_wrong_fields_are_named(tenant: Tenant, project: Any) -> None:
    for fields, named in (
        ({"title": ""}, "issue.title"),
        ({"title": "x" * 501}, "issue.title"),
        ({"title": "a\x1bb"}, "issue.title"),
        ({"description": "a\x00b"}, "issue.description"),
        ({"description": "x" * 100_001}, "issue.description"),
        ({"type": 99}, "issue.type"),
        ({"priority": -1}, "issue.priority"),
        ({"estimate_minutes": -1}, "issue.estimate_minutes"),
        ({"assignee_id": "{01890a5d-ac96-774b-bcce-b302099a8057}"}, "issue.assignee_id"),
        ({"label_ids": [RANDOM_ID, RANDOM_ID]}, "issue.label_ids"),
        (
            {"start_time": stamp("2026-02-01T00:00:00Z"), "due_time": stamp("2026-01-01T00:00:00Z")},
            "issue.due_time",
        ),
    ):
        with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
            await make_issue(tenant.owner, project.project_id, **fields)
        assert refusal.fields == [named]
    with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
        await make_issue(tenant.owner, "")
    assert refusal.fields == ["issue.project_id"]
    api = tenant.owner.issues
    for request in ({}, {"key": "nonsense"}, {"key": "AB-0"}, {"key": "AB-10000000000"}, {"issue_id": "x"}):
        with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
            await api.GetIssue(**request)


async def test_texts_of_the_greatest_length_go_in_and_out(tenant: Tenant, project: Any) -> None:
    made = await make_issue(tenant.owner, project.project_id, title="🛟" * 500, description="🛟" * 100_000)
    found = await tenant.owner.issues.GetIssue(issue_id=made.issue_id)
    assert (len(found.title), len(found.description)) == (500, 100_000)


async def test_update_writes_what_the_mask_says_and_history_keeps_the_rest(tenant: Tenant, issue: Any) -> None:
    member = tenant.member(Role.MEMBER)
    label_id = (await make_label(tenant.owner)).label_id
    labelled = await member.issues.AddLabel(issue_id=issue.issue_id, label_id=label_id)
    updated = await member.issues.UpdateIssue(
        issue=changed(issue, title="New", priority=project_pb2.PRIORITY_LOW, estimate_minutes=5), update_mask=None
    )
    assert (updated.title, updated.priority, updated.estimate_minutes) == ("New", project_pb2.PRIORITY_LOW, 5)
    assert list(updated.label_ids) == [label_id]
    assert (issue.etag, labelled.etag, updated.etag) == ('"v1"', '"v2"', '"v3"')
    cleared = await member.issues.UpdateIssue(
        issue=changed(issue, title="New"), update_mask={"paths": ["estimate_minutes", "priority"]}
    )
    assert not cleared.HasField("estimate_minutes")
    assert cleared.priority == project_pb2.PRIORITY_UNSPECIFIED
    changes = (await tenant.member(Role.VIEWER).issues.ListActivity(issue_id=issue.issue_id)).changes
    assert {(one.field, one.old_value, one.new_value) for one in changes} == {
        ("label_ids", "", label_id),
        ("title", issue.title, "New"),
        ("priority", "PRIORITY_UNSPECIFIED", "PRIORITY_LOW"),
        ("estimate_minutes", "", "5"),
        ("estimate_minutes", "5", ""),
        ("priority", "PRIORITY_LOW", "PRIORITY_UNSPECIFIED"),
    }
    assert {one.changed_by_id for one in changes} == {str(tenant.people[Role.MEMBER].user_id)}
    assert [one.HasField("old_value") for one in changes if one.field == "label_ids"] == [False]


async def test_every_field_that_update_writes_is_in_the_activity(tenant: Tenant, project: Any) -> None:
    """The trigger that records changes names the columns it knows: a new one would be missed."""
    made, parent = [await make_issue(tenant.owner, project.project_id) for _ in range(2)]
    metadata = struct_pb2.Struct()
    metadata.update({"severity": 3})
    fields = {
        "type": issue_pb2.ISSUE_TYPE_BUG,
        "title": "New",
        "description": "New",
        "priority": project_pb2.PRIORITY_LOW,
        "parent_id": parent.issue_id,
        "estimate_minutes": 5,
        "spent_minutes": 5,
        "start_time": stamp("2026-01-01T00:00:00Z"),
        "due_time": stamp("2026-02-01T00:00:00Z"),
        "metadata": metadata,
    }
    assert fields.keys() == wire._MUTABLE.paths
    now = await tenant.owner.issues.UpdateIssue(issue=changed(made, **fields), update_mask={"paths": list(fields)})
    activity = (await tenant.owner.issues.ListActivity(issue_id=made.issue_id)).changes
    assert {one.field for one in activity} == fields.keys()
    # Each in the form in which the contract's JSON has it.
    shown = json_format.MessageToDict(now, preserving_proto_field_name=True)
    told = {one.field: one.new_value for one in activity}
    assert json.loads(told.pop("metadata")) == shown["metadata"]
    assert told == {field: str(shown[field]) for field in told}
    await tenant.owner.issues.DeleteIssue(issue_id=made.issue_id)
    (deleted, *_) = (await tenant.owner.issues.ListActivity(issue_id=made.issue_id)).changes
    gone = await tenant.owner.issues.GetIssue(issue_id=made.issue_id)
    assert (deleted.field, deleted.new_value) == ("delete_time", gone.delete_time.ToJsonString())
    # And the list's own filter takes it.
    assert not (await tenant.owner.issues.ListIssues(filter=f'due_time = "{told["due_time"]}"')).issues


async def test_update_refuses_masks_and_etags_that_are_none(tenant: Tenant, issue: Any) -> None:
    api = tenant.owner.issues
    for path in ("status_id", "assignee_id", "label_ids", "project_id", "reporter_id", "etag", "nothing", "*,title"):
        with refused("INVALID_ARGUMENT", "INVALID_UPDATE_MASK"):
            await api.UpdateIssue(issue=changed(issue, title="x"), update_mask={"paths": [path]})
    for etag in ("v1", '"v01"', "*", '"v1" '):
        with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
            await api.UpdateIssue(issue=changed(issue, title="x", etag=etag))
        assert refusal.fields == ["issue.etag"]
    # Nothing to write is no change, and no fault.
    assert await api.UpdateIssue(issue=changed(issue)) == issue


async def test_two_updates_with_one_etag_are_one_update(tenant: Tenant, issue: Any) -> None:
    def update(title: str) -> Any:
        return tenant.owner.issues.UpdateIssue(issue=changed(issue, title=title, etag=issue.etag))

    answers = await asyncio.gather(*map(update, "abcd"), return_exceptions=True)
    lost = [reason_of(one) for one in answers if isinstance(one, grpc.aio.AioRpcError)]
    assert lost == ["ETAG_MISMATCH"] * 3


async def test_two_creates_with_one_request_id_are_one_issue(house: House, tenant: Tenant, project: Any) -> None:
    request: dict[str, Any] = {
        "issue": issue_pb2.Issue(project_id=project.project_id, title="Once"),
        "request_id": str(new_id()),
    }
    answers = await asyncio.gather(*(tenant.owner.issues.CreateIssue(**request) for _ in range(5)))
    assert all(answer == answers[0] for answer in answers)
    actions = [action for action, _ in await outbox(house, tenant)]
    assert actions.count("issue.created") == 1
    request["issue"].title = "Other"
    with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
        await tenant.owner.issues.CreateIssue(**request)
    assert (await make_issue(tenant.owner, project.project_id)).number == 2


async def test_an_issue_moves_by_the_workflow_and_its_history_has_no_hole(tenant: Tenant, issue: Any) -> None:
    api, ids = tenant.member(Role.MEMBER).issues, await statuses(tenant.owner)
    with refused("FAILED_PRECONDITION", "TRANSITION_NOT_ALLOWED") as refusal:
        await api.TransitionIssue(issue_id=issue.issue_id, status_id=ids[DONE])
    assert refusal.metadata == {"from_status_id": issue.status_id, "to_status_id": ids[DONE]}
    doing = await api.TransitionIssue(issue_id=issue.issue_id, status_id=ids[DOING])
    assert not doing.HasField("resolve_time")
    again = await api.TransitionIssue(issue_id=issue.issue_id, status_id=ids[DOING])
    assert again == doing
    done = await api.TransitionIssue(issue_id=issue.issue_id, status_id=ids[DONE], etag=doing.etag)
    assert (done.status_category, done.HasField("resolve_time")) == (DONE, True)
    with refused("ABORTED", "ETAG_MISMATCH"):
        await api.TransitionIssue(issue_id=issue.issue_id, status_id=ids[DOING], etag=doing.etag)
    reopened = await api.TransitionIssue(issue_id=issue.issue_id, status_id=ids[DOING])
    assert not reopened.HasField("resolve_time")
    viewer = tenant.member(Role.VIEWER)
    spans = list((await viewer.issues.ListStatusHistory(issue_id=issue.issue_id)).spans)
    assert [span.status_id for span in spans] == [issue.status_id, ids[DOING], ids[DONE], ids[DOING]]
    assert [span.leave_time for span in spans[:-1]] == [span.enter_time for span in spans[1:]]
    assert spans[0].enter_time == issue.create_time
    assert not spans[-1].HasField("leave_time")
    assert {span.changed_by_id for span in spans[1:]} == {str(tenant.people[Role.MEMBER].user_id)}
    paged = await viewer.issues.ListStatusHistory(issue_id=issue.issue_id, page_size=3)
    rest = await viewer.issues.ListStatusHistory(issue_id=issue.issue_id, page_size=3, page_token=paged.next_page_token)
    assert [*paged.spans, *rest.spans] == spans


async def test_transitions_at_once_leave_one_line_of_spans(tenant: Tenant, issue: Any) -> None:
    api, ids = tenant.owner.issues, await statuses(tenant.owner)
    moves = [ids[TODO], ids[DOING]] * 6
    await asyncio.gather(
        *(api.TransitionIssue(issue_id=issue.issue_id, status_id=move) for move in moves), return_exceptions=True
    )
    spans = (await api.ListStatusHistory(issue_id=issue.issue_id)).spans
    assert len(spans) > 1
    assert [span.seq for span in spans] == list(range(1, len(spans) + 1))
    assert [span.leave_time for span in spans[:-1]] == [span.enter_time for span in spans[1:]]
    assert spans[-1].status_id == (await api.GetIssue(issue_id=issue.issue_id)).status_id


async def test_an_issue_is_given_and_taken_back(house: House, tenant: Tenant, issue: Any) -> None:
    api, member = tenant.member(Role.MEMBER).issues, str(tenant.people[Role.MEMBER].user_id)
    given = await api.AssignIssue(issue_id=issue.issue_id, assignee_id=member, etag=issue.etag)
    assert given.assignee_id == member
    assert await api.AssignIssue(issue_id=issue.issue_id, assignee_id=member) == given
    with refused("ABORTED", "ETAG_MISMATCH"):
        await api.AssignIssue(issue_id=issue.issue_id, etag=issue.etag)
    assert (await api.AssignIssue(issue_id=issue.issue_id)).assignee_id == ""
    assert [action for action, _ in await outbox(house, tenant)][-2:] == ["issue.updated"] * 2


async def test_labels_come_and_go(house: House, tenant: Tenant, issue: Any) -> None:
    api = tenant.member(Role.MEMBER).issues
    first, second = sorted([(await make_label(tenant.owner)).label_id for _ in range(2)])
    await api.AddLabel(issue_id=issue.issue_id, label_id=second)
    both = await api.AddLabel(issue_id=issue.issue_id, label_id=first)
    assert list(both.label_ids) == [first, second]
    assert await api.AddLabel(issue_id=issue.issue_id, label_id=first) == both
    one = await api.RemoveLabel(issue_id=issue.issue_id, label_id=first)
    assert list(one.label_ids) == [second]
    assert await api.RemoveLabel(issue_id=issue.issue_id, label_id=first) == one
    again = await api.AddLabel(issue_id=issue.issue_id, label_id=first)
    assert list(again.label_ids) == [first, second]
    actions = [action for action, _ in await outbox(house, tenant) if action.startswith("issue_label")]
    assert actions == ["issue_label.created"] * 2 + ["issue_label.removed", "issue_label.added"]


async def test_a_deleted_issue_is_hidden_and_comes_back(house: House, tenant: Tenant, issue: Any) -> None:
    api, ids = tenant.member(Role.MEMBER).issues, await statuses(tenant.owner)
    with refused("ALREADY_EXISTS", "NOT_DELETED"):
        await api.UndeleteIssue(issue_id=issue.issue_id)
    deleted = await api.DeleteIssue(issue_id=issue.issue_id, etag=issue.etag)
    assert deleted.purge_time.seconds - deleted.delete_time.seconds == 30 * 86_400
    assert await api.GetIssue(issue_id=issue.issue_id) == deleted
    assert not (await api.ListIssues(project_id=issue.project_id)).issues
    shown = await api.ListIssues(project_id=issue.project_id, show_deleted=True)
    assert list(shown.issues) == [deleted]
    for call in (
        api.DeleteIssue(issue_id=issue.issue_id),
        api.UpdateIssue(issue=changed(issue, title="x")),
        api.TransitionIssue(issue_id=issue.issue_id, status_id=ids[TODO]),
        api.AssignIssue(issue_id=issue.issue_id),
    ):
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
            await call
    back = await api.UndeleteIssue(issue_id=issue.issue_id)
    assert (back.title, back.HasField("delete_time")) == (issue.title, False)
    actions = [action for action, _ in await outbox(house, tenant)]
    assert actions[-2:] == ["issue.deleted", "issue.undeleted"]


async def test_a_parent_is_not_deleted_before_its_children(tenant: Tenant, issue: Any) -> None:
    api = tenant.owner.issues
    child = await make_issue(tenant.owner, issue.project_id, parent_id=issue.issue_id)
    with refused("FAILED_PRECONDITION", "STATE_NOT_ALLOWED") as refusal:
        await api.DeleteIssue(issue_id=issue.issue_id)
    assert refusal.metadata == {"state": "has_children"}
    await api.DeleteIssue(issue_id=child.issue_id)
    await api.DeleteIssue(issue_id=issue.issue_id)
    with refused("FAILED_PRECONDITION", "STATE_NOT_ALLOWED") as refusal:
        await api.UndeleteIssue(issue_id=child.issue_id)
    assert refusal.metadata == {"state": "parent_deleted"}
    with refused("INVALID_ARGUMENT", "REFERENCE_NOT_FOUND"):
        await make_issue(tenant.owner, issue.project_id, parent_id=issue.issue_id)


async def test_parents_form_no_ring_and_stay_in_their_project(tenant: Tenant, issue: Any) -> None:
    api = tenant.owner.issues
    child = await make_issue(tenant.owner, issue.project_id, parent_id=issue.issue_id)
    grandchild = await make_issue(tenant.owner, issue.project_id, parent_id=child.issue_id)
    for parent in (issue, child, grandchild):
        with refused("FAILED_PRECONDITION", "PARENT_CYCLE"):
            await api.UpdateIssue(issue=changed(issue, parent_id=parent.issue_id))
    other = await make_project(tenant.owner)
    with refused("FAILED_PRECONDITION", "STATE_NOT_ALLOWED") as refusal:
        await make_issue(tenant.owner, other.project_id, parent_id=issue.issue_id)
    assert refusal.metadata == {"state": "other_project"}
    freed = await api.UpdateIssue(issue=changed(child), update_mask={"paths": ["parent_id"]})
    assert freed.parent_id == ""


async def test_two_issues_that_become_each_others_parent_at_once_do_not(tenant: Tenant, project: Any) -> None:
    api = tenant.owner.issues
    for _ in range(8):
        one, two = await asyncio.gather(*(make_issue(tenant.owner, project.project_id) for _ in range(2)))
        answers = await asyncio.gather(
            api.UpdateIssue(issue=changed(one, parent_id=two.issue_id)),
            api.UpdateIssue(issue=changed(two, parent_id=one.issue_id)),
            return_exceptions=True,
        )
        lost = [reason_of(answer) for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
        assert lost == ["PARENT_CYCLE"]


async def test_an_archived_project_takes_no_issues(house: House, tenant: Tenant, project: Any, issue: Any) -> None:
    from tests.issues.support import as_app  # noqa: PLC0415 - there is no RPC that archives a project yet

    async with as_app(house, tenant) as connection:
        await connection.execute("update issues.projects set archived_at = now()")
        await connection.commit()
    with refused("FAILED_PRECONDITION", "ARCHIVED") as refusal:
        await make_issue(tenant.owner, project.project_id)
    assert refusal.metadata == {"resource": "project"}
