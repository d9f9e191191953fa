"""CreateTeam, GetTeam, ListTeams, UpdateTeam, ArchiveTeam and UnarchiveTeam."""

from __future__ import annotations

from typing import Any

import pytest
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.identity.world import as_owner, events, set_status
from tests.support.client import Client, refused
from tests.support.house import House, Tenant

BELOW_MANAGERS = (Role.VIEWER, Role.MEMBER)


async def make_team(client: Client, name: str, **more: Any) -> Any:
    return await client.identity.CreateTeam(team={"name": name}, **more)


async def names(client: Client, **asked: Any) -> list[str]:
    """Of all pages, two teams each."""
    found: list[str] = []
    token = ""
    while True:
        page = await client.identity.ListTeams(page_size=2, page_token=token, **asked)
        found += [team.name for team in page.teams]
        token = page.next_page_token
        if not token:
            return found


async def test_a_team_is_made_read_and_changed(house: House) -> None:
    tenant = await house.tenant("teams")
    manager = tenant.member(Role.MANAGER).identity
    made = await manager.CreateTeam(team={"name": " Deck ", "description": "Hands\nand ropes"})
    assert (made.name, made.description, made.etag) == ("Deck", "Hands\nand ropes", '"v1"')
    assert not made.HasField("archive_time")
    assert await tenant.member(Role.VIEWER).identity.GetTeam(team_id=made.team_id) == made
    changed = await manager.UpdateTeam(team={"team_id": made.team_id, "name": "Bridge", "etag": made.etag})
    assert (changed.name, changed.description, changed.etag) == ("Bridge", "Hands\nand ropes", '"v2"')
    cleared = await manager.UpdateTeam(team={"team_id": made.team_id, "name": "Bridge"}, update_mask={"paths": ["*"]})
    assert (cleared.description, cleared.etag) == ("", '"v3"')
    assert [(action, sorted(changes)) for action, _, changes in await events(house.database, made.team_id)] == [
        ("team.created", ["description", "name"]),
        ("team.updated", ["name"]),
        ("team.updated", ["description"]),
    ]


async def test_members_and_viewers_change_no_team(house: House) -> None:
    tenant = await house.tenant("roles")
    team_id = (await make_team(tenant.owner, "Deck")).team_id
    for role in BELOW_MANAGERS:
        client = tenant.member(role).identity
        for call in (
            client.CreateTeam(team={"name": "Other"}),
            client.UpdateTeam(team={"team_id": team_id, "name": "Other"}),
            client.ArchiveTeam(team_id=team_id),
            client.UnarchiveTeam(team_id=team_id),
        ):
            with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
                await call
    assert await names(tenant.owner, show_archived=True) == ["Deck"]


async def test_another_tenants_team_is_none(house: House) -> None:
    own, other = await house.tenant("own"), await house.tenant("other")
    theirs = (await make_team(other.owner, "Deck")).team_id
    for team_id in (theirs, str(new_id())):
        for call in (
            own.owner.identity.GetTeam(team_id=team_id),
            own.owner.identity.UpdateTeam(team={"team_id": team_id, "name": "Mine"}),
            own.owner.identity.ArchiveTeam(team_id=team_id),
            own.owner.identity.UnarchiveTeam(team_id=team_id),
        ):
            with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as refusal:
                await call
            assert refusal.metadata == {"resource": "team"}
    assert await names(own.owner) == []
    assert (await make_team(own.owner, "Deck")).name == "Deck"
    assert await names(other.owner) == ["Deck"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": ""}, "team.name"),
        ({"name": "  "}, "team.name"),
        ({"name": "a\nb"}, "team.name"),
        ({"name": "x" * 101}, "team.name"),
        ({"name": "x", "description": "x" * 2001}, "team.description"),
        ({"name": "x", "description": "\x00"}, "team.description"),
        ({"name": "x", "team_id": "7"}, "team.team_id"),
    ],
)
async def test_wrong_fields_are_named(house: House, fields: dict[str, str], named: str) -> None:
    tenant = await house.tenant("fields")
    with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
        await tenant.owner.identity.CreateTeam(team=fields)
    assert refusal.fields == [named]


async def test_masks_and_etags(house: House) -> None:
    tenant = await house.tenant("masks")
    owner, team = tenant.owner.identity, await make_team(tenant.owner, "Deck")
    for path in ("archive_time", "team_id", "nothing"):
        with refused("INVALID_ARGUMENT", "INVALID_UPDATE_MASK"):
            await owner.UpdateTeam(team={"team_id": team.team_id, "name": "x"}, update_mask={"paths": [path]})
    with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
        await owner.UpdateTeam(team={"team_id": team.team_id}, update_mask={"paths": ["name"]})
    assert await owner.UpdateTeam(team={"team_id": team.team_id}) == team
    await owner.UpdateTeam(team={"team_id": team.team_id, "name": "Bridge"})
    for more in ({"name": "Late"}, {}):
        with refused("ABORTED", "ETAG_MISMATCH"):
            await owner.UpdateTeam(team={"team_id": team.team_id, "etag": team.etag, **more})
    assert (await owner.GetTeam(team_id=team.team_id)).name == "Bridge"


async def test_a_name_belongs_to_one_team_in_use(house: House) -> None:
    tenant = await house.tenant("names")
    owner, first = tenant.owner.identity, await make_team(tenant.owner, "Deck")
    with refused("ALREADY_EXISTS", "ALREADY_TAKEN") as refusal:
        await make_team(tenant.owner, "DECK")
    assert refusal.metadata == {"field": "team.name"}
    other = await make_team(tenant.owner, "Bridge")
    with refused("ALREADY_EXISTS", "ALREADY_TAKEN"):
        await owner.UpdateTeam(team={"team_id": other.team_id, "name": "deck"})

    archived = await owner.ArchiveTeam(team_id=first.team_id)
    assert archived.HasField("archive_time")
    assert await owner.ArchiveTeam(team_id=first.team_id) == archived
    await owner.UpdateTeam(team={"team_id": other.team_id, "name": "deck"})
    with refused("ALREADY_EXISTS", "ALREADY_TAKEN") as refusal:
        await owner.UnarchiveTeam(team_id=first.team_id)
    assert refusal.metadata == {"field": "team.name"}
    # The way out that the contract names.
    await owner.UpdateTeam(team={"team_id": first.team_id, "name": "Old deck"})
    back = await owner.UnarchiveTeam(team_id=first.team_id)
    assert (back.name, back.HasField("archive_time")) == ("Old deck", False)
    assert await owner.UnarchiveTeam(team_id=first.team_id) == back
    actions = [action for action, _, _ in await events(house.database, first.team_id)]
    assert actions == ["team.created", "team.archived", "team.updated", "team.unarchived"]


async def test_lists_are_complete_and_filtered(house: House) -> None:
    tenant = await house.tenant("lists")
    owner, member = tenant.owner, tenant.people[Role.MEMBER]
    made = {name: (await make_team(owner, name)).team_id for name in ("delta", "Alpha", "charlie", "Bravo")}
    # Three archived ones of one name: what tells them apart is their id.
    for _ in range(3):
        await owner.identity.ArchiveTeam(team_id=(await make_team(owner, "echo")).team_id)
    assert await names(tenant.member(Role.VIEWER)) == ["Alpha", "Bravo", "charlie", "delta"]
    everything = ["Alpha", "Bravo", "charlie", "delta", "echo", "echo", "echo"]
    assert await names(owner, show_archived=True) == everything
    for name in ("Alpha", "delta"):
        await owner.identity.AddTeamMember(team_id=made[name], user_id=str(member.user_id))
    await owner.identity.AddTeamMember(team_id=made["Bravo"], user_id=str(member.user_id))
    await owner.identity.RemoveTeamMember(team_id=made["Bravo"], user_id=str(member.user_id))
    for asked, found in (
        ("user_id = me", ["Alpha", "delta"]),
        ("user_id != me", ["Bravo", "charlie"]),
        (f'user_id = "{new_id()}"', []),
        ('name = "Alpha" OR name:"ch*"', ["Alpha", "charlie"]),
        ('create_time > "2126-01-01T00:00:00Z"', []),
    ):
        assert await names(tenant.member(Role.MEMBER), filter=asked) == found, asked
    for wrong in ("team_id = me", "name >", "user_id = 7"):
        with refused("INVALID_ARGUMENT", "INVALID_FILTER"):
            await owner.identity.ListTeams(filter=wrong)
    token = (await owner.identity.ListTeams(page_size=1)).next_page_token
    for other in ({"show_archived": True}, {"filter": "user_id = me"}):
        with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
            await owner.identity.ListTeams(page_size=1, page_token=token, **other)
    with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
        await owner.identity.ListTeams(page_size=-1)


async def test_a_repeat_has_one_effect(house: House) -> None:
    tenant, request_id = await house.tenant("repeat"), str(new_id())
    first = await make_team(tenant.owner, "Deck", request_id=request_id)
    assert await make_team(tenant.owner, "Deck", request_id=request_id) == first
    with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
        await make_team(tenant.owner, "Bridge", request_id=request_id)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("UpdateTeam", {"team": {"team_id": first.team_id, "name": "Bow"}}),
        ("ArchiveTeam", {"team_id": first.team_id}),
        ("UnarchiveTeam", {"team_id": first.team_id}),
    ]
    for rpc, request in calls:
        call, again = getattr(tenant.owner.identity, rpc), str(new_id())
        assert await call(**request, request_id=again) == await call(**request, request_id=again)
    assert len(await events(house.database, first.team_id)) == 4


async def test_a_suspended_tenants_teams_are_read_only(house: House) -> None:
    tenant: Tenant = await house.tenant("suspended")
    team = await make_team(tenant.owner, "Deck")
    await set_status(house.database, tenant.tenant_id, "suspended")
    # The suspension has raised every version: tokens of before are refused.
    async with as_owner(house.database) as connection:
        cursor = await connection.execute(
            "select version from identity.memberships where tenant_id = %s and user_id = %s",
            (tenant.tenant_id, tenant.people[Role.OWNER].user_id),
        )
        row = await cursor.fetchone()
    assert row is not None
    owner = house.member(tenant.people[Role.OWNER].user_id, tenant.tenant_id, Role.OWNER, row[0])
    assert await owner.identity.GetTeam(team_id=team.team_id) == team
    for call in (
        make_team(owner, "Bridge"),
        owner.identity.ArchiveTeam(team_id=team.team_id),
        owner.identity.AddTeamMember(team_id=team.team_id, user_id=str(tenant.people[Role.OWNER].user_id)),
    ):
        with refused("FAILED_PRECONDITION", "TENANT_SUSPENDED"):
            await call
