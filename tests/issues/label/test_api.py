from __future__ import annotations

import asyncio
from typing import Any

from bulkhead.issues.v1 import label_pb2
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from grpc.aio import AioRpcError

from tests.issues.support import RANDOM_ID, outbox
from tests.support.builders import make_issue, make_label
from tests.support.client import reason_of, refused
from tests.support.house import House, Tenant


async def test_a_label_is_made_read_and_listed_by_name(tenant: Tenant) -> None:
    manager, viewer = tenant.member(Role.MANAGER), tenant.member(Role.VIEWER)
    bug = await make_label(manager, name="bug", color="#d73a4a")
    ape = await make_label(manager, name="Ape")
    assert ape.color == "#888888"
    assert await viewer.issues.GetLabel(label_id=bug.label_id) == bug
    assert list((await viewer.issues.ListLabels()).labels) == [ape, bug]
    first = await viewer.issues.ListLabels(page_size=1)
    assert list(first.labels) == [ape]
    second = await viewer.issues.ListLabels(page_size=1, page_token=first.next_page_token)
    assert (list(second.labels), second.next_page_token) == ([bug], "")


async def test_members_and_viewers_change_no_label(tenant: Tenant) -> None:
    made = await make_label(tenant.owner)
    for role in (Role.MEMBER, Role.VIEWER):
        api = tenant.member(role).issues
        for call in (
            api.CreateLabel(label=label_pb2.Label(name="x")),
            api.UpdateLabel(label=label_pb2.Label(label_id=made.label_id, name="x")),
            api.ArchiveLabel(label_id=made.label_id),
            api.UnarchiveLabel(label_id=made.label_id),
        ):
            with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
                await call


async def test_another_tenants_label_is_none(tenant: Tenant, stranger: Tenant) -> None:
    made = await make_label(tenant.owner)
    api = stranger.owner.issues
    for label_id in (made.label_id, RANDOM_ID):
        for call in (
            api.GetLabel(label_id=label_id),
            api.UpdateLabel(label=label_pb2.Label(label_id=label_id, name="x")),
            api.ArchiveLabel(label_id=label_id),
            api.UnarchiveLabel(label_id=label_id),
        ):
            with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as refusal:
                await call
            assert refusal.metadata == {"resource": "label"}
    assert await tenant.owner.issues.GetLabel(label_id=made.label_id) == made


async def test_update_and_its_refusals(tenant: Tenant) -> None:
    made, other = await make_label(tenant.owner), await make_label(tenant.owner, name="Taken")
    api = tenant.owner.issues
    changed = await api.UpdateLabel(label=label_pb2.Label(label_id=made.label_id, color="#000000", etag=made.etag))
    assert (changed.name, changed.color, changed.etag) == (made.name, "#000000", '"v2"')
    with refused("ABORTED", "ETAG_MISMATCH"):
        await api.UpdateLabel(label=label_pb2.Label(label_id=made.label_id, name="x", etag=made.etag))
    with refused("ALREADY_EXISTS", "ALREADY_TAKEN"):
        await api.UpdateLabel(label=label_pb2.Label(label_id=made.label_id, name="TAKEN"))
    with refused("INVALID_ARGUMENT", "INVALID_UPDATE_MASK"):
        await api.UpdateLabel(label=label_pb2.Label(label_id=made.label_id), update_mask={"paths": ["etag"]})
    for fields, named in (
        ({"name": ""}, "label.name"),
        ({"name": "a\tb"}, "label.name"),
        ({"color": "red"}, "label.color"),
        ({"color": "#D73A4A"}, "label.color"),
        ({"label_id": "nonsense"}, "label.label_id"),
    ):
        with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
            await api.UpdateLabel(
                label=label_pb2.Label(**{"label_id": made.label_id, **fields}), update_mask={"paths": ["name", "color"]}
            )
        assert named in refusal.fields
    assert await api.GetLabel(label_id=other.label_id) == other


async def test_an_archived_label_stays_on_its_issues_and_goes_on_no_other(
    house: House, tenant: Tenant, project: Any
) -> None:
    api = tenant.owner.issues
    label = await make_label(tenant.owner)
    issue = await make_issue(tenant.owner, project.project_id, label_ids=[label.label_id])
    other = await make_issue(tenant.owner, project.project_id)
    archived = await api.ArchiveLabel(label_id=label.label_id)
    assert archived.HasField("archive_time")
    assert await api.ArchiveLabel(label_id=label.label_id) == archived
    assert not (await api.ListLabels()).labels
    assert list((await api.ListLabels(show_archived=True)).labels) == [archived]
    assert list((await api.GetIssue(issue_id=issue.issue_id)).label_ids) == [label.label_id]
    assert await api.AddLabel(issue_id=issue.issue_id, label_id=label.label_id) == issue
    for call in (
        api.AddLabel(issue_id=other.issue_id, label_id=label.label_id),
        make_issue(tenant.owner, project.project_id, label_ids=[label.label_id]),
    ):
        with refused("FAILED_PRECONDITION", "ARCHIVED") as refusal:
            await call
        assert refusal.metadata == {"resource": "label"}
    restored = await api.UnarchiveLabel(label_id=label.label_id)
    assert not restored.HasField("archive_time")
    assert await api.UnarchiveLabel(label_id=label.label_id) == restored
    actions = [action for action, entity in await outbox(house, tenant) if entity == label.label_id]
    assert actions == ["label.created", "label.archived", "label.unarchived"]


async def test_an_issue_carries_a_hundred(tenant: Tenant, project: Any) -> None:
    api = tenant.owner.issues
    made = [await make_label(tenant.owner) for _ in range(102)]
    issue = await make_issue(tenant.owner, project.project_id, label_ids=[label.label_id for label in made[:99]])
    added = [api.AddLabel(issue_id=issue.issue_id, label_id=label.label_id) for label in made[99:101]]
    # Both at once: one of them is the hundredth.
    answers = await asyncio.gather(*added, return_exceptions=True)
    full = next(one for one in answers if not isinstance(one, BaseException))
    assert len(full.label_ids) == 100
    assert [reason_of(one) for one in answers if isinstance(one, AioRpcError)] == ["STATE_NOT_ALLOWED"]
    with refused("FAILED_PRECONDITION", "STATE_NOT_ALLOWED") as refusal:
        await api.AddLabel(issue_id=issue.issue_id, label_id=made[101].label_id)
    assert refusal.metadata == {"state": "too_many_labels"}
    again = await api.AddLabel(issue_id=issue.issue_id, label_id=made[0].label_id)
    assert again == full
    await api.RemoveLabel(issue_id=issue.issue_id, label_id=made[0].label_id)
    assert len((await api.AddLabel(issue_id=issue.issue_id, label_id=made[101].label_id)).label_ids) == 100


async def test_a_repeated_request_makes_one_label(tenant: Tenant) -> None:
    request = {"label": label_pb2.Label(name="once"), "request_id": str(new_id())}
    first = await tenant.owner.issues.CreateLabel(**request)
    assert await tenant.owner.issues.CreateLabel(**request) == first
    # The same id of another principal is another call.
    with refused("ALREADY_EXISTS", "ALREADY_TAKEN"):
        await tenant.member(Role.ADMIN).issues.CreateLabel(**request)


async def test_two_names_that_look_alike_are_one(tenant: Tenant) -> None:
    made = await make_label(tenant.owner, name="caf\u00e9 one")
    for twin in (
        "cafe\u0301 one",
        "CAF\u00c9 one",
        "caf\u200b\u00e9 one",
        "ca\u00adf\u00e9 one",
        "caf\u200d\u00e9 one",
        "\u3164caf\u00e9 one",
        "cafe\u200b\u0301  one",
        "\uff43af\u00e9 one",
    ):
        with refused("ALREADY_EXISTS", "ALREADY_TAKEN"):
            await make_label(tenant.owner, name=twin)
    for blank in ("\u200b", "\u3164", "\u2800", "\u0301"):
        with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
            await make_label(tenant.owner, name=blank)
    assert made.name == "caf\u00e9 one"


async def test_letters_that_fold_alike_are_one(tenant: Tenant) -> None:
    for name, twin in (
        ("Stra\u00dfe", "STRASSE"),
        ("\u039f\u0394\u039f\u03a3", "\u03bf\u03b4\u03bf\u03c2"),
        ("\ufb01x", "FIX"),
    ):
        await make_label(tenant.owner, name=name)
        with refused("ALREADY_EXISTS", "ALREADY_TAKEN"):
            await make_label(tenant.owner, name=twin)
