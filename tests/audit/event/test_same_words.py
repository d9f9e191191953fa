"""ListActivity and the log say of one change the same: the field's name, the value before and the value after."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from bulkhead.audit.v1 import audit_event_pb2 as event_pb
from bulkhead.issues.v1 import issue_pb2, project_pb2, workflow_pb2
from bulkhead_kit.caller import Role
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from tests.audit.delivery import deliver, listed
from tests.support.builders import make_issue, make_label, make_project, statuses
from tests.support.client import Client
from tests.support.house import House, Tenant

Said = tuple[str, str | None, str | None]
FOLLOWS = {"resolve_time", "remove_time"}
"""What events tell besides: when the status or the label that ListActivity tells made it so."""


async def test_a_change_of_an_issue_is_told_alike(house: House) -> None:
    tenant = await house.tenant("acme")
    issue_id = await _change_everything(tenant)
    await deliver(house, tenant)
    owner = tenant.owner
    activity = (await owner.issues.ListActivity(issue_id=issue_id, page_size=200)).changes
    told = Counter(
        (
            one.field,
            one.old_value if one.HasField("old_value") else None,
            one.new_value if one.HasField("new_value") else None,
        )
        for one in activity
    )
    events = [one for one in await listed(owner, f'entity_id = "{issue_id}"') if one.action != "issue.created"]
    for event in events:
        assert await _of_one_event(owner, event) == event
    said = Counter(_said(one) for event in events for one in event.changes if one.field not in FOLLOWS)
    assert said == told
    assert {field for field, *_ in told} == {
        *("type", "title", "description", "status_id", "priority", "assignee_id", "parent_id", "label_ids"),
        *("estimate_minutes", "spent_minutes", "start_time", "due_time", "metadata", "delete_time"),
    }
    assert ("priority", "PRIORITY_UNSPECIFIED", "PRIORITY_HIGH") in said
    assert ("due_time", None, "2026-12-24T18:30:00.500Z") in said


async def test_a_new_issue_is_told_as_it_is_got(house: House) -> None:
    tenant = await house.tenant("acme")
    project = await make_project(tenant.owner)
    made = await tenant.owner.issues.CreateIssue(
        issue={
            "project_id": project.project_id,
            "title": "New",
            "type": issue_pb2.ISSUE_TYPE_BUG,
            "priority": project_pb2.PRIORITY_URGENT,
            "due_time": _time("2026-12-24T18:30:00Z"),
            "start_time": _time("2026-12-01T00:00:00.000001Z"),
            "estimate_minutes": 5,
            "metadata": _struct(a=[1, "x", None]),
        }
    )
    await deliver(house, tenant)
    (event,) = await listed(tenant.owner, f'entity_id = "{made.issue_id}"')
    shown = MessageToDict(made, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    values = {one.field: json.loads(one.new_json) for one in event.changes}
    assert values == {field: shown[field] for field in values}
    assert values.keys() >= {"type", "priority", "due_time", "start_time", "estimate_minutes", "metadata", "status_id"}


async def _change_everything(tenant: Tenant) -> str:
    owner = tenant.owner
    project, label = await make_project(owner), await make_label(owner)
    issue, parent = [await make_issue(owner, project.project_id) for _ in range(2)]
    fields: dict[str, Any] = {
        "type": issue_pb2.ISSUE_TYPE_BUG,
        "title": 'Other words: “more”, \\ and "less"',
        "description": "Two\nlines.",
        "priority": project_pb2.PRIORITY_HIGH,
        "parent_id": parent.issue_id,
        "estimate_minutes": 5,
        "spent_minutes": 90,
        "start_time": _time("2026-12-01T00:00:00.000001Z"),
        "due_time": _time("2026-12-24T18:30:00.5Z"),
        "metadata": _struct(severity=3, ratio=1.5, words=["b", "a"]),
    }
    paths = {"paths": list(fields)}
    await owner.issues.UpdateIssue(issue={"issue_id": issue.issue_id, **fields}, update_mask=paths)
    await owner.issues.UpdateIssue(issue={"issue_id": issue.issue_id, "title": "Back"}, update_mask=paths)
    member = str(tenant.people[Role.MEMBER].user_id)
    await owner.issues.AssignIssue(issue_id=issue.issue_id, assignee_id=member)
    await owner.issues.AddLabel(issue_id=issue.issue_id, label_id=label.label_id)
    await owner.issues.RemoveLabel(issue_id=issue.issue_id, label_id=label.label_id)
    done = (await statuses(owner))[workflow_pb2.STATUS_CATEGORY_CANCELLED]
    await owner.issues.TransitionIssue(issue_id=issue.issue_id, status_id=done)
    await owner.issues.DeleteIssue(issue_id=issue.issue_id)
    await owner.issues.UndeleteIssue(issue_id=issue.issue_id)
    return str(issue.issue_id)


async def _of_one_event(client: Client, event: event_pb.AuditEvent) -> event_pb.AuditEvent:
    """As GetEvent has it, which gives the salt too."""
    got: event_pb.AuditEvent = await client.audit.GetEvent(event_id=event.event_id)
    assert got.salt
    got.ClearField("salt")
    return got


def _said(change: event_pb.FieldChange) -> Said:
    return change.field, _text(change.old_json), _text(change.new_json)


def _text(value: str) -> str | None:
    """JSON of a text, a number or nothing as ListActivity writes it; a struct is JSON there too."""
    parsed = json.loads(value)
    return parsed if parsed is None or isinstance(parsed, str) else value


def _time(text: str) -> Timestamp:
    stamp = Timestamp()
    stamp.FromJsonString(text)
    return stamp


def _struct(**values: Any) -> Struct:
    made = Struct()
    made.update(values)
    return made
