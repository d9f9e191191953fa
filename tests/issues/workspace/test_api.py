from __future__ import annotations

from bulkhead.issues.v1 import workspace_pb2
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.issues.support import RANDOM_ID, outbox
from tests.support.builders import make_workspace
from tests.support.client import refused
from tests.support.house import House, Tenant


async def test_a_workspace_is_made_read_and_listed(tenant: Tenant) -> None:
    made = await make_workspace(tenant.member(Role.MANAGER), name="  Ships  ", description="All of\nthem")
    assert (made.name, made.description, made.etag) == ("Ships", "All of\nthem", '"v1"')
    assert made.create_time == made.update_time
    viewer = tenant.member(Role.VIEWER)
    assert await viewer.issues.GetWorkspace(workspace_id=made.workspace_id) == made
    assert list((await viewer.issues.ListWorkspaces()).workspaces) == [made]


async def test_the_first_workspace_brings_the_statuses_and_the_next_does_not(house: House, tenant: Tenant) -> None:
    assert not (await tenant.owner.issues.ListStatuses()).statuses
    await make_workspace(tenant.owner)
    await make_workspace(tenant.owner)
    actions = [action for action, _ in await outbox(house, tenant)]
    assert (actions.count("workspace.created"), actions.count("status.created")) == (2, 6)


async def test_members_and_viewers_make_no_workspace(house: House, tenant: Tenant) -> None:
    for role in (Role.MEMBER, Role.VIEWER):
        with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
            await make_workspace(tenant.member(role))
    assert not await outbox(house, tenant)


async def test_a_name_is_taken_whatever_its_case_and_width(tenant: Tenant, stranger: Tenant) -> None:
    await make_workspace(tenant.owner, name="Ships")
    for name in ("SHIPS", "Ｓｈｉｐｓ"):
        with refused("ALREADY_EXISTS", "ALREADY_TAKEN") as refusal:
            await make_workspace(tenant.owner, name=name)
        assert refusal.metadata["field"] == "workspace.name"
    assert (await make_workspace(stranger.owner, name="Ships")).name == "Ships"


async def test_a_name_is_one_line_of_1_to_100_characters(tenant: Tenant) -> None:
    for name in ("", "   ", "x" * 101, "a\nb", "a\x00b"):
        with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
            await make_workspace(tenant.owner, name=name)
        assert refusal.fields == ["workspace.name"]
    assert (await make_workspace(tenant.owner, name="🛟" * 100)).name == "🛟" * 100


async def test_another_tenants_workspace_is_none(tenant: Tenant, stranger: Tenant) -> None:
    made = await make_workspace(tenant.owner)
    for workspace_id in (made.workspace_id, RANDOM_ID):
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as refusal:
            await stranger.owner.issues.GetWorkspace(workspace_id=workspace_id)
        assert refusal.metadata == {"resource": "workspace"}
    assert not (await stranger.owner.issues.ListWorkspaces()).workspaces


async def test_a_repeated_request_makes_one_workspace(tenant: Tenant) -> None:
    request = {"workspace": workspace_pb2.Workspace(name="Once"), "request_id": str(new_id())}
    first = await tenant.owner.issues.CreateWorkspace(**request)
    assert await tenant.owner.issues.CreateWorkspace(**request) == first
    with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
        await tenant.owner.issues.CreateWorkspace(
            workspace=workspace_pb2.Workspace(name="Twice"), request_id=request["request_id"]
        )
    assert len((await tenant.owner.issues.ListWorkspaces()).workspaces) == 1


async def test_pages_hold_every_workspace_once(tenant: Tenant) -> None:
    made = [(await make_workspace(tenant.owner)).workspace_id for _ in range(5)]
    listed: list[str] = []
    token = ""
    while True:
        page = await tenant.owner.issues.ListWorkspaces(page_size=2, page_token=token)
        listed += [one.workspace_id for one in page.workspaces]
        token = page.next_page_token
        if not token:
            break
        assert len(page.workspaces) == 2
    assert listed == made
