"""Archived teams own no new projects; what they own they keep."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any
from uuid import UUID

import grpc.aio
import psycopg
import pytest
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.issues.support import as_app
from tests.support.builders import make_project, make_workspace
from tests.support.client import Client, reason_of, refused
from tests.support.house import House, Tenant

LONGEST = 10.0


async def make_team(tenant: Tenant) -> str:
    made = await tenant.owner.identity.CreateTeam(team={"name": f"Team {time.perf_counter_ns()}"})
    return str(made.team_id)


async def give(client: Client, project_id: str, team_id: str, **more: Any) -> Any:
    return await client.issues.UpdateProject(project={"project_id": project_id, "owner_team_id": team_id, **more})


async def test_an_archived_team_gets_no_project_and_keeps_its_own(tenant: Tenant) -> None:
    tenant.lift_limits()
    team_id = await make_team(tenant)
    kept = await make_project(tenant.owner, owner_team_id=team_id)
    other = await make_project(tenant.owner, workspace_id=kept.workspace_id)
    await tenant.owner.identity.ArchiveTeam(team_id=team_id)
    for call in (
        make_project(tenant.owner, workspace_id=kept.workspace_id, owner_team_id=team_id),
        give(tenant.owner, other.project_id, team_id),
    ):
        with refused("FAILED_PRECONDITION", "ARCHIVED") as refusal:
            await call
        assert refusal.metadata == {"resource": "team"}
    # Its own projects live on: changed, even with the team named again, and read.
    changed = await give(tenant.owner, kept.project_id, team_id, name="Kept")
    assert (changed.name, changed.owner_team_id) == ("Kept", team_id)
    everything = {"paths": ["*"]}
    await tenant.owner.issues.UpdateProject(project=changed, update_mask=everything)
    taken = await tenant.owner.issues.UpdateProject(
        project={"project_id": kept.project_id}, update_mask={"paths": ["owner_team_id"]}
    )
    assert taken.owner_team_id == ""
    with refused("FAILED_PRECONDITION", "ARCHIVED"):
        await give(tenant.owner, kept.project_id, team_id)
    await tenant.owner.identity.UnarchiveTeam(team_id=team_id)
    assert (await give(tenant.owner, kept.project_id, team_id)).owner_team_id == team_id


async def test_by_sql_too(house: House, tenant: Tenant, stranger: Tenant, project: Any) -> None:
    team_id, theirs = await make_team(tenant), await make_team(stranger)
    for one, team in ((tenant, team_id), (stranger, theirs)):
        await one.owner.identity.ArchiveTeam(team_id=team)
    insert = (
        "insert into issues.projects (tenant_id, project_id, workspace_id, key, name, owner_team_id)"
        " values (%(tenant)s, %(new)s, %(workspace)s, 'SQL', 'x', %(team)s)"
    )
    update = "update issues.projects set owner_team_id = %(team)s where project_id = %(project)s"
    # Of another tenant's team nothing is told: it is as one that is not there.
    for statement in (insert, update):
        for team, expected in ((team_id, "BH009"), (theirs, "23503"), (str(new_id()), "23503")):
            values = {
                "tenant": tenant.tenant_id,
                "new": new_id(),
                "workspace": UUID(project.workspace_id),
                "project": UUID(project.project_id),
                "team": UUID(team),
            }
            async with as_app(house, tenant) as connection:
                with pytest.raises(psycopg.DatabaseError) as refusal:
                    await connection.execute(statement.encode(), values)
                assert refusal.value.sqlstate == expected
    async with as_app(house, tenant) as connection:
        with pytest.raises(psycopg.DatabaseError) as refusal:
            await connection.execute("select identity.hold_team(%s, %s)", (stranger.tenant_id, UUID(theirs)))
        assert refusal.value.sqlstate == "BH005"


async def test_archiving_waits_for_a_project_that_is_being_made(house: House, tenant: Tenant, project: Any) -> None:
    """The race without luck: the project is given to the team by hand, and not committed yet."""
    team_id = await make_team(tenant)
    connection = await psycopg.AsyncConnection.connect(house.database.dsn("bulkhead_issues_app"))
    async with connection:
        for name, value in (("tenant_id", tenant.tenant_id), ("role", Role.OWNER.value), ("writing", "true")):
            await connection.execute("select set_config(%s, %s, true)", (f"app.{name}", str(value)))
        await connection.execute(
            "update issues.projects set owner_team_id = %s where project_id = %s",
            (UUID(team_id), UUID(project.project_id)),
        )
        archiving = asyncio.ensure_future(tenant.owner.identity.ArchiveTeam(team_id=team_id))
        done, _ = await asyncio.wait([archiving], timeout=0.3)
        assert not done
        await connection.commit()
    async with asyncio.timeout(LONGEST):
        await archiving
    assert (await tenant.owner.issues.GetProject(project_id=project.project_id)).owner_team_id == team_id


async def owned(tenant: Tenant, house: House, team_id: str) -> int:
    async with as_app(house, tenant) as connection:
        cursor = await connection.execute(
            "select count(*) from issues.projects where tenant_id = %s and owner_team_id = %s",
            (tenant.tenant_id, UUID(team_id)),
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def archive_against_projects(house: House, tenant: Tenant, rng: random.Random, rounds: int) -> tuple[int, int]:
    """How many projects got a team before it was archived, and how many came too late."""
    tenant.lift_limits()
    workspace_id = (await make_workspace(tenant.owner)).workspace_id
    spare = [(await make_project(tenant.owner, workspace_id=workspace_id)).project_id for _ in range(4)]
    told: list[str] = []

    async def make(team_id: str) -> None:
        while not told or told[-1] != "ARCHIVED":
            await attempt(make_project(tenant.owner, workspace_id=workspace_id, owner_team_id=team_id))

    async def change(team_id: str, project_id: str) -> None:
        await asyncio.sleep(rng.uniform(0.0, 0.15))
        await attempt(give(tenant.owner, project_id, team_id))

    async def attempt(call: Any) -> None:
        try:
            await call
            told.append("given")
        except grpc.aio.AioRpcError as error:
            told.append(reason_of(error))

    for _ in range(rounds):
        told.append("new round")
        team_id = await make_team(tenant)
        running = [asyncio.create_task(make(team_id)) for _ in range(2)]
        running += [asyncio.create_task(change(team_id, project_id)) for project_id in spare]
        await asyncio.sleep(rng.uniform(0.02, 0.12))
        async with asyncio.timeout(LONGEST):
            await tenant.owner.identity.ArchiveTeam(team_id=team_id)
            at_return = await owned(tenant, house, team_id)
            await asyncio.gather(*running)
        assert await owned(tenant, house, team_id) == at_return
    assert set(told) == {"new round", "given", "ARCHIVED"}
    return told.count("given"), told.count("ARCHIVED")


async def test_no_project_comes_late(house: House, tenant: Tenant, rng: random.Random) -> None:
    given, refusals = await archive_against_projects(house, tenant, rng, 8)
    assert given > 0
    assert refusals >= 8


@pytest.mark.soak
async def test_no_project_comes_late_200_times(house: House, tenant: Tenant, rng: random.Random) -> None:
    given, refusals = await archive_against_projects(house, tenant, rng, 200)
    assert given > 200
    assert refusals >= 200
