"""AddTeamMember, RemoveTeamMember and ListTeamMembers, and what the database keeps by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.identity.world import as_role, events
from tests.support.client import Client, refused
from tests.support.house import House, Tenant

LONGEST = 10.0


async def make_team(client: Client, name: str = "Deck") -> str:
    return str((await client.identity.CreateTeam(team={"name": name})).team_id)


def user(tenant: Tenant, role: Role) -> str:
    return str(tenant.people[role].user_id)


async def members(client: Client, team_id: str) -> list[Any]:
    found: list[Any] = []
    token = ""
    while True:
        page = await client.identity.ListTeamMembers(team_id=team_id, page_size=2, page_token=token)
        found += page.members
        token = page.next_page_token
        if not token:
            return found


async def placeholder(tenant: Tenant) -> str:
    reply = await tenant.service("issues").identity.ImportMembers(
        external_source="github", authors=[{"external_id": str(new_id()), "display_name": "Ghost"}]
    )
    return str(reply.members[0].user_id)


async def test_members_come_lead_and_go(house: House) -> None:
    tenant = await house.tenant("members")
    manager, team_id = tenant.member(Role.MANAGER).identity, await make_team(tenant.owner)
    added = [await manager.AddTeamMember(team_id=team_id, user_id=user(tenant, role)) for role in Role]
    assert [member.user_id for member in added] == [user(tenant, role) for role in Role]
    assert {(member.is_lead, member.state, member.HasField("remove_time")) for member in added} == {(False, 1, False)}
    assert [member.display_name for member in added] == [role.name.title() for role in Role]
    viewer = tenant.member(Role.VIEWER)
    assert await members(viewer, team_id) == sorted(added, key=lambda member: str(member.user_id))

    one = user(tenant, Role.MEMBER)
    lead = await manager.AddTeamMember(team_id=team_id, user_id=one, is_lead=True)
    assert (lead.is_lead, lead.add_time) == (True, added[1].add_time)
    assert await manager.AddTeamMember(team_id=team_id, user_id=one, is_lead=True) == lead
    gone = await manager.RemoveTeamMember(team_id=team_id, user_id=one)
    assert (gone.is_lead, gone.HasField("remove_time")) == (False, True)
    assert await manager.RemoveTeamMember(team_id=team_id, user_id=one) == gone
    assert one not in [member.user_id for member in await members(viewer, team_id)]
    back = await manager.AddTeamMember(team_id=team_id, user_id=one)
    assert back.add_time.ToMicroseconds() > lead.add_time.ToMicroseconds()
    assert not back.HasField("remove_time")
    mine = [
        (action, changes.get("is_lead"))
        for action, _, changes in await events(house.database, team_id)
        if action.startswith("team_member") and changes.get("is_lead") != [None, False]
    ]
    assert mine == [
        ("team_member.updated", [False, True]),
        ("team_member.removed", [True, False]),
        ("team_member.added", None),
    ]


async def test_who_may_not(house: House) -> None:
    tenant, team_id = await house.tenant("denied"), ""
    team_id = await make_team(tenant.owner)
    for role in (Role.VIEWER, Role.MEMBER):
        for rpc in ("AddTeamMember", "RemoveTeamMember"):
            with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
                await getattr(tenant.member(role).identity, rpc)(team_id=team_id, user_id=user(tenant, Role.MEMBER))
    assert await members(tenant.owner, team_id) == []


async def test_other_tenants(house: House) -> None:
    own, other = await house.tenant("own"), await house.tenant("other")
    ours, theirs = await make_team(own.owner), await make_team(other.owner)
    await other.owner.identity.AddTeamMember(team_id=theirs, user_id=user(other, Role.OWNER))
    for team_id in (theirs, str(new_id())):
        for call in (
            own.owner.identity.AddTeamMember(team_id=team_id, user_id=user(own, Role.OWNER)),
            own.owner.identity.RemoveTeamMember(team_id=team_id, user_id=user(other, Role.OWNER)),
            own.owner.identity.ListTeamMembers(team_id=team_id),
        ):
            with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as refusal:
                await call
            assert refusal.metadata == {"resource": "team"}
    for stranger in (user(other, Role.OWNER), str(new_id())):
        with refused("INVALID_ARGUMENT", "REFERENCE_NOT_FOUND") as refusal:
            await own.owner.identity.AddTeamMember(team_id=ours, user_id=stranger)
        assert (refusal.metadata, refusal.fields) == ({"field": "user_id"}, ["user_id"])
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as refusal:
            await own.owner.identity.RemoveTeamMember(team_id=ours, user_id=stranger)
        assert refusal.metadata == {"resource": "team_member"}
    token = (await _page_of_two(own)).next_page_token
    with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
        await own.owner.identity.ListTeamMembers(team_id=ours, page_size=1, page_token=token)


async def _page_of_two(tenant: Tenant) -> Any:
    team_id = await make_team(tenant.owner, "Pages")
    for role in (Role.OWNER, Role.ADMIN):
        await tenant.owner.identity.AddTeamMember(team_id=team_id, user_id=user(tenant, role))
    return await tenant.owner.identity.ListTeamMembers(team_id=team_id, page_size=1)


async def test_wrong_fields_are_named(house: House) -> None:
    tenant = await house.tenant("fields")
    team_id = await make_team(tenant.owner)
    for request, named in (
        ({"team_id": "7", "user_id": user(tenant, Role.OWNER)}, "team_id"),
        ({"team_id": team_id, "user_id": ""}, "user_id"),
    ):
        for rpc in ("AddTeamMember", "RemoveTeamMember"):
            with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
                await getattr(tenant.owner.identity, rpc)(**request)
            assert refusal.fields == [named]


async def test_a_repeat_has_one_effect(house: House) -> None:
    tenant, request_id = await house.tenant("repeat"), str(new_id())
    owner, team_id = tenant.owner.identity, await make_team(tenant.owner)
    one = {"team_id": team_id, "user_id": user(tenant, Role.MEMBER)}
    first = await owner.AddTeamMember(**one, request_id=request_id)
    await owner.RemoveTeamMember(**one)
    # The answer of then, though she has left since.
    assert await owner.AddTeamMember(**one, request_id=request_id) == first
    assert await members(tenant.owner, team_id) == []
    with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
        await owner.AddTeamMember(**one, is_lead=True, request_id=request_id)


async def test_who_cannot_act_does_not_join(house: House) -> None:
    tenant = await house.tenant("cannot")
    owner, team_id = tenant.owner.identity, await make_team(tenant.owner)
    with refused("FAILED_PRECONDITION", "STATE_NOT_ALLOWED") as refusal:
        await owner.AddTeamMember(team_id=team_id, user_id=await placeholder(tenant))
    assert refusal.metadata == {"state": "placeholder"}
    one = user(tenant, Role.MEMBER)
    await owner.DisableMember(user_id=one)
    with refused("FAILED_PRECONDITION", "STATE_NOT_ALLOWED") as refusal:
        await owner.AddTeamMember(team_id=team_id, user_id=one)
    assert refusal.metadata == {"state": "disabled"}
    await owner.EnableMember(user_id=one)
    await owner.AddTeamMember(team_id=team_id, user_id=one, is_lead=True)
    # Disabled later she stays, seen as what she is, and can be taken out.
    await owner.DisableMember(user_id=one)
    (kept,) = await members(tenant.owner, team_id)
    assert (kept.user_id, kept.is_lead, kept.state) == (one, True, 2)
    await owner.RemoveTeamMember(team_id=team_id, user_id=one)
    assert await members(tenant.owner, team_id) == []


async def test_an_archived_team_keeps_its_members_and_gets_none(house: House) -> None:
    tenant = await house.tenant("archived")
    owner, team_id = tenant.owner.identity, await make_team(tenant.owner)
    for role in (Role.OWNER, Role.MEMBER):
        await owner.AddTeamMember(team_id=team_id, user_id=user(tenant, role))
    await owner.ArchiveTeam(team_id=team_id)
    assert len(await members(tenant.owner, team_id)) == 2
    for role in (Role.VIEWER, Role.MEMBER):
        with refused("FAILED_PRECONDITION", "ARCHIVED") as refusal:
            await owner.AddTeamMember(team_id=team_id, user_id=user(tenant, role))
        assert refusal.metadata == {"resource": "team"}
    await owner.RemoveTeamMember(team_id=team_id, user_id=user(tenant, Role.MEMBER))
    await owner.UnarchiveTeam(team_id=team_id)
    await owner.AddTeamMember(team_id=team_id, user_id=user(tenant, Role.VIEWER))
    assert {member.user_id for member in await members(tenant.owner, team_id)} == {
        user(tenant, Role.OWNER),
        user(tenant, Role.VIEWER),
    }


# By SQL, as the service's own role.


def as_manager(house: House, tenant: Tenant) -> Any:
    person = tenant.people[Role.MANAGER]
    return as_role(house.database, "bulkhead_identity_app", tenant_id=tenant.tenant_id, user_id=person.user_id, role=3)


JOIN = (
    "insert into identity.team_members (tenant_id, team_id, user_id, is_lead)"
    " values (%(tenant)s, %(team)s, %(user)s, false)"
)
RETURN = "update identity.team_members set removed_at = null where team_id = %(team)s and user_id = %(user)s"
LEAVE = "update identity.team_members set removed_at = now() where team_id = %(team)s and user_id = %(user)s"


async def sqlstate(house: House, tenant: Tenant, statement: str, team_id: str, user_id: str) -> str:
    values = {"tenant": tenant.tenant_id, "team": UUID(team_id), "user": UUID(user_id)}
    try:
        async with as_manager(house, tenant) as connection:
            cursor = await connection.execute(statement.encode(), values)
            return f"{cursor.rowcount} rows"
    except psycopg.DatabaseError as error:
        return str(error.sqlstate)


async def test_the_database_lets_nobody_in_either(house: House) -> None:
    tenant = await house.tenant("sql")
    owner, team_id, one = tenant.owner.identity, await make_team(tenant.owner), user(tenant, Role.MEMBER)
    assert await sqlstate(house, tenant, JOIN, team_id, await placeholder(tenant)) == "BH009"
    assert await sqlstate(house, tenant, JOIN, team_id, one) == "1 rows"
    leading = "update identity.team_members set is_lead = true, removed_at = now() where user_id = %(user)s"
    assert await sqlstate(house, tenant, leading, team_id, one) == "23514"
    assert await sqlstate(house, tenant, LEAVE, team_id, one) == "1 rows"
    await owner.DisableMember(user_id=one)
    assert await sqlstate(house, tenant, RETURN, team_id, one) == "BH009"
    await owner.EnableMember(user_id=one)
    await owner.ArchiveTeam(team_id=team_id)
    assert await sqlstate(house, tenant, RETURN, team_id, one) == "BH009"
    assert await sqlstate(house, tenant, JOIN, team_id, user(tenant, Role.ADMIN)) == "BH009"
    since = "update identity.team_members set added_at = now() where team_id = %(team)s"
    assert await sqlstate(house, tenant, since, team_id, one) == "42501"
    await owner.UnarchiveTeam(team_id=team_id)
    assert await sqlstate(house, tenant, RETURN, team_id, one) == "1 rows"


@pytest.mark.parametrize("change", ["ArchiveTeam", "DisableMember"])
async def test_nobody_slips_past_what_keeps_her_out(house: House, change: str) -> None:
    """She is being added, by hand, when the team is archived or she is disabled: that waits; the next is refused."""
    tenant = await house.tenant("race")
    team_id, one, other = await make_team(tenant.owner), user(tenant, Role.MEMBER), user(tenant, Role.VIEWER)
    ends: dict[str, Callable[[], Awaitable[Any]]] = {
        "ArchiveTeam": lambda: tenant.owner.identity.ArchiveTeam(team_id=team_id),
        "DisableMember": lambda: tenant.owner.identity.DisableMember(user_id=one),
    }
    values = {"tenant": tenant.tenant_id, "team": UUID(team_id), "user": UUID(one)}
    async with as_manager(house, tenant) as connection:
        await connection.execute(JOIN.encode(), values)
        ending = asyncio.ensure_future(ends[change]())
        done, _ = await asyncio.wait([ending], timeout=0.3)
        assert not done
    async with asyncio.timeout(LONGEST):
        await ending
    assert [member.user_id for member in await members(tenant.owner, team_id)] == [one]
    late = other if change == "ArchiveTeam" else one
    with refused("FAILED_PRECONDITION", "ARCHIVED" if change == "ArchiveTeam" else "STATE_NOT_ALLOWED"):
        await tenant.owner.identity.AddTeamMember(team_id=team_id, user_id=late)
