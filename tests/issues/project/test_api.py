from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
from bulkhead.issues.v1 import project_pb2
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from google.protobuf import struct_pb2

from tests.identity.platform.world import administrator
from tests.issues.support import RANDOM_ID, outbox
from tests.support.builders import make_issue, make_project, make_workspace
from tests.support.client import reason_of, refused
from tests.support.house import House, Tenant


async def test_a_project_is_made_read_and_listed(tenant: Tenant) -> None:
    workspace = await make_workspace(tenant.owner)
    metadata = struct_pb2.Struct()
    metadata.update({"cost centre": "B7", "levels": [1, 2.5], "nested": {"yes": True, "nothing": None}})
    made = await make_project(
        tenant.member(Role.MANAGER),
        workspace_id=workspace.workspace_id,
        key="HULL",
        name=" Hull ",
        description="Sensors\nand wires",
        status=project_pb2.PROJECT_STATUS_ON_HOLD,
        priority=project_pb2.PRIORITY_HIGH,
        lead_id=str(tenant.people[Role.MEMBER].user_id),
        start_date="2026-01-01",
        end_date="2026-12-31",
        budget="12500.5",
        metadata=metadata,
    )
    assert (made.key, made.name, made.budget, made.etag) == ("HULL", "Hull", "12500.50", '"v1"')
    assert made.metadata == metadata
    viewer = tenant.member(Role.VIEWER)
    assert await viewer.issues.GetProject(project_id=made.project_id) == made
    assert await viewer.issues.GetProject(key="HULL") == made
    assert list((await viewer.issues.ListProjects()).projects) == [made]
    of_workspace = await viewer.issues.ListProjects(workspace_id=workspace.workspace_id)
    assert list(of_workspace.projects) == [made]
    assert not (await viewer.issues.ListProjects(workspace_id=RANDOM_ID)).projects


async def test_members_and_viewers_make_and_change_no_project(tenant: Tenant, project: Any) -> None:
    for role in (Role.MEMBER, Role.VIEWER):
        client = tenant.member(role)
        with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
            await make_project(client, workspace_id=project.workspace_id)
        with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
            await client.issues.UpdateProject(project=project_pb2.Project(project_id=project.project_id, name="x"))


async def test_another_tenants_project_is_none(tenant: Tenant, stranger: Tenant, project: Any) -> None:
    for which in ({"project_id": project.project_id}, {"project_id": RANDOM_ID}, {"key": project.key}):
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as refusal:
            await stranger.owner.issues.GetProject(**which)
        assert refusal.metadata == {"resource": "project"}
    with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
        await stranger.owner.issues.UpdateProject(project=project_pb2.Project(project_id=project.project_id, name="x"))
    assert (await tenant.owner.issues.GetProject(project_id=project.project_id)) == project


async def test_references_to_another_tenants_things_are_refused_alike(tenant: Tenant, stranger: Tenant) -> None:
    theirs = await make_workspace(stranger.owner)
    ours = await make_workspace(tenant.owner)
    member = str(stranger.people[Role.MEMBER].user_id)
    for field, resource, values in (
        ("workspace_id", "workspace", (theirs.workspace_id, RANDOM_ID)),
        ("lead_id", "member", (member, RANDOM_ID)),
        ("owner_team_id", "team", (RANDOM_ID,)),
    ):
        for value in values:
            with refused("INVALID_ARGUMENT", "REFERENCE_NOT_FOUND") as refusal:
                await make_project(tenant.owner, **{"workspace_id": ours.workspace_id, field: value})
            assert refusal.message == f"project.{field}: no such {resource} in this tenant"


async def test_wrong_fields_are_named(tenant: Tenant) -> None:
    workspace_id = (await make_workspace(tenant.owner)).workspace_id
    nan = struct_pb2.Struct()
    nan.update({"x": float("nan")})
    large = struct_pb2.Struct()
    large.update({"x": "y" * 17_000})
    for fields, named in (
        ({"key": ""}, "project.key"),
        ({"key": "low"}, "project.key"),
        ({"name": " "}, "project.name"),
        ({"name": "a\u2028b"}, "project.name"),
        ({"start_date": "2026-02-30"}, "project.start_date"),
        ({"start_date": "2026-02-02", "end_date": "2026-02-01"}, "project.end_date"),
        ({"budget": "-1"}, "project.budget"),
        ({"status": 77}, "project.status"),
        ({"metadata": nan}, "project.metadata"),
        ({"metadata": large}, "project.metadata"),
        ({"workspace_id": "x"}, "project.workspace_id"),
    ):
        with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
            await make_project(tenant.owner, **{"workspace_id": workspace_id, **fields})
        assert refusal.fields == [named]


async def test_a_key_is_taken_for_ever_in_its_tenant(tenant: Tenant, stranger: Tenant, project: Any) -> None:
    with refused("ALREADY_EXISTS", "ALREADY_TAKEN") as refusal:
        await make_project(tenant.owner, key=project.key)
    assert refusal.metadata["field"] == "project.key"
    assert (await make_project(stranger.owner, key=project.key)).key == project.key


async def test_the_plans_limit_of_projects_holds_with_many_at_once(house: House, tenant: Tenant) -> None:
    platform, _ = await administrator(house)
    await platform.identity.ChangePlan(
        tenant_id=str(tenant.tenant_id), plan_code="free", overrides={"max_projects": 10}
    )
    workspace_id = (await make_workspace(tenant.owner)).workspace_id

    async def attempt() -> str:
        try:
            await make_project(tenant.owner, workspace_id=workspace_id)
        except grpc.aio.AioRpcError as error:
            return reason_of(error)
        return "made"

    answers = await asyncio.gather(*(attempt() for _ in range(100)))
    assert (answers.count("made"), answers.count("PLAN_LIMIT_REACHED")) == (10, 90)
    with refused("RESOURCE_EXHAUSTED", "PLAN_LIMIT_REACHED") as refusal:
        await make_project(tenant.owner, workspace_id=workspace_id)
    assert refusal.metadata == {"limit": "projects", "value": "10", "used": "10"}
    usage = await tenant.owner.identity.GetUsage()
    assert [limit.used for limit in usage.limits if limit.limit == "projects"] == [10]


async def test_update_writes_what_the_mask_says(tenant: Tenant, project: Any) -> None:
    manager = tenant.member(Role.MANAGER)
    changed = await manager.issues.UpdateProject(
        project=project_pb2.Project(project_id=project.project_id, name="New", description="ignored"),
        update_mask={"paths": ["name"]},
    )
    assert (changed.name, changed.description, changed.etag) == ("New", "", '"v2"')
    changed = await manager.issues.UpdateProject(
        project=project_pb2.Project(project_id=project.project_id, name="Whole", etag=changed.etag),
        update_mask={"paths": ["*"]},
    )
    assert (changed.name, changed.status) == ("Whole", project_pb2.PROJECT_STATUS_ACTIVE)
    for path in ("key", "project_id", "create_time", "nothing"):
        with refused("INVALID_ARGUMENT", "INVALID_UPDATE_MASK"):
            await manager.issues.UpdateProject(
                project=project_pb2.Project(project_id=project.project_id), update_mask={"paths": [path]}
            )


async def test_two_updates_with_one_etag_are_one_update(tenant: Tenant, project: Any) -> None:
    def update(name: str) -> Any:
        return tenant.owner.issues.UpdateProject(
            project=project_pb2.Project(project_id=project.project_id, name=name, etag=project.etag)
        )

    answers = await asyncio.gather(update("a"), update("b"), return_exceptions=True)
    assert [reason_of(one) for one in answers if isinstance(one, grpc.aio.AioRpcError)] == ["ETAG_MISMATCH"]


async def test_a_new_issue_does_not_change_its_projects_etag(house: House, tenant: Tenant, project: Any) -> None:
    await make_issue(tenant.member(Role.MEMBER), project.project_id)
    assert await tenant.owner.issues.GetProject(project_id=project.project_id) == project
    assert "project.updated" not in [action for action, _ in await outbox(house, tenant)]


async def test_a_repeated_request_makes_one_project(tenant: Tenant) -> None:
    workspace_id = (await make_workspace(tenant.owner)).workspace_id
    request = {
        "project": project_pb2.Project(workspace_id=workspace_id, key="ONCE", name="Once"),
        "request_id": str(new_id()),
    }
    answers = await asyncio.gather(*(tenant.owner.issues.CreateProject(**request) for _ in range(4)))
    assert all(answer == answers[0] for answer in answers)
    assert len((await tenant.owner.issues.ListProjects()).projects) == 1
