"""LeaveTenant, coming back, GetMember, and what stays of a member who is not active."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.identity.world import PostOffice, as_owner, as_role, events, set_plan, set_status
from tests.support import people
from tests.support.client import Client, refused
from tests.support.house import House, Tenant
from tests.support.people import Person


@pytest.fixture
async def tenant(house: House) -> Tenant:
    return await house.tenant("leave")


def herself(house: House, tenant: Tenant, role: Role) -> Client:
    """The member without her tenant."""
    return house.user(tenant.people[role].user_id)


async def invitation_for(mails: PostOffice, tenant: Tenant, person: Person, role: Role) -> str:
    await tenant.owner.identity.InviteMember(email=person.email, role=role.value)
    return [mail for mail in await mails.to(person.email) if "invites you" in mail.subject][-1].token


async def used(house: House, tenant: Tenant) -> tuple[int, int]:
    async with as_role(house.database, "bulkhead_identity_app", tenant_id=tenant.tenant_id, role=1) as connection:
        cursor = await connection.execute("select active_members, open_invitations from identity.tenant_usage")
        row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1]


class TestLeave:
    @pytest.mark.parametrize("role", [Role.VIEWER, Role.MEMBER, Role.MANAGER, Role.ADMIN], ids=lambda role: role.name)
    async def test_everybody_may_go(self, house: House, tenant: Tenant, role: Role) -> None:
        user_id, member = str(tenant.people[role].user_id), tenant.member(role)
        assert await used(house, tenant) == (5, 0)
        await herself(house, tenant, role).identity.LeaveTenant(tenant_id=str(tenant.tenant_id))
        assert await used(house, tenant) == (4, 0)
        with refused("UNAUTHENTICATED", "MEMBERSHIP_CHANGED"):
            await member.issues.ListLabels()
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
            await (await house.signed_in(tenant.people[role])).identity.SelectTenant(tenant_id=str(tenant.tenant_id))
        left = await tenant.owner.identity.GetMember(user_id=user_id)
        assert (left.state, left.disabled_by, left.role) == (2, user_id, role)
        assert left.HasField("leave_time")
        ((action, _, changes),) = [one for one in await events(house.database, user_id) if one[0] == "member.updated"]
        assert (action, changes["state"]) == ("member.updated", ["STATE_ACTIVE", "STATE_DISABLED"])
        assert changes["leave_time"][0] is None

    async def test_a_repeat_changes_nothing_more(self, house: House, tenant: Tenant) -> None:
        me, request_id = herself(house, tenant, Role.VIEWER), str(new_id())
        for again in ({"request_id": request_id}, {"request_id": request_id}, {}):
            await me.identity.LeaveTenant(tenant_id=str(tenant.tenant_id), **again)
        with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
            await me.identity.LeaveTenant(tenant_id=str(new_id()), request_id=request_id)
        found = await events(house.database, tenant.people[Role.VIEWER].user_id)
        assert [action for action, _, _ in found].count("member.updated") == 1

    async def test_a_repeat_of_before_does_not_end_what_began_since(
        self, house: House, mails: PostOffice, tenant: Tenant
    ) -> None:
        """The answer to an old request_id is an answer, not an act."""
        me, request_id = herself(house, tenant, Role.VIEWER), str(new_id())
        await me.identity.LeaveTenant(tenant_id=str(tenant.tenant_id), request_id=request_id)
        await me.identity.AcceptInvitation(
            token=await invitation_for(mails, tenant, tenant.people[Role.VIEWER], Role.MEMBER)
        )
        await me.identity.LeaveTenant(tenant_id=str(tenant.tenant_id), request_id=request_id)
        assert await used(house, tenant) == (5, 0)

    async def test_the_last_owner_stays(self, house: House, tenant: Tenant) -> None:
        owner = herself(house, tenant, Role.OWNER)
        with refused("FAILED_PRECONDITION", "LAST_OWNER"):
            await owner.identity.LeaveTenant(tenant_id=str(tenant.tenant_id))
        await tenant.owner.identity.ChangeRole(user_id=str(tenant.people[Role.ADMIN].user_id), role=5)
        await owner.identity.LeaveTenant(tenant_id=str(tenant.tenant_id))
        with refused("FAILED_PRECONDITION", "LAST_OWNER"):
            await herself(house, tenant, Role.ADMIN).identity.LeaveTenant(tenant_id=str(tenant.tenant_id))

    async def test_what_is_not_hers_is_not_there(self, house: House, tenant: Tenant) -> None:
        other = await house.tenant("other")
        me = herself(house, tenant, Role.MEMBER)
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as theirs:
            await me.identity.LeaveTenant(tenant_id=str(other.tenant_id))
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as unknown:
            await me.identity.LeaveTenant(tenant_id=str(new_id()))
        await tenant.owner.identity.DisableMember(user_id=str(tenant.people[Role.VIEWER].user_id))
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as disabled:
            await herself(house, tenant, Role.VIEWER).identity.LeaveTenant(tenant_id=str(tenant.tenant_id))
        assert theirs.status == unknown.status == disabled.status
        assert not (await tenant.owner.identity.GetMember(user_id=str(tenant.people[Role.VIEWER].user_id))).HasField(
            "leave_time"
        )
        with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
            await me.identity.LeaveTenant(tenant_id="x")
        with refused("UNAUTHENTICATED", "TOKEN_MISSING"):
            await house.nobody().identity.LeaveTenant(tenant_id=str(tenant.tenant_id))

    async def test_a_stranger_waits_for_no_lock_of_theirs(self, house: House, tenant: Tenant) -> None:
        """Or she could tell that the tenant is there, and hold up those who are in it."""
        stranger = house.user((await house.person()).user_id)
        async with as_owner(house.database) as connection:
            await connection.execute(
                "select from identity.tenant_usage where tenant_id = %s for update", (tenant.tenant_id,)
            )
            with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
                await stranger.identity.LeaveTenant(tenant_id=str(tenant.tenant_id), timeout=3)

    async def test_a_deleted_tenant_is_not_there(self, house: House, tenant: Tenant) -> None:
        me = herself(house, tenant, Role.MEMBER)
        await set_status(house.database, tenant.tenant_id, "deleted")
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
            await me.identity.LeaveTenant(tenant_id=str(tenant.tenant_id))

    async def test_waits_for_a_write_that_was_let_in(self, house: House, tenant: Tenant) -> None:
        member = tenant.people[Role.MANAGER].user_id
        async with as_role(house.database, "bulkhead_issues_app") as connection:
            await connection.execute(
                "select from identity.check_membership(%s, %s, 3::smallint, 1, true)", (tenant.tenant_id, member)
            )
            leaving = asyncio.ensure_future(
                herself(house, tenant, Role.MANAGER).identity.LeaveTenant(tenant_id=str(tenant.tenant_id))
            )
            done, _ = await asyncio.wait([leaving], timeout=0.3)
            assert not done
        async with asyncio.timeout(5):
            await leaving


class TestComingBack:
    async def test_by_an_invitation_only(self, house: House, mails: PostOffice, tenant: Tenant) -> None:
        person = tenant.people[Role.ADMIN]
        me, user_id = house.user(person.user_id), str(person.user_id)
        await me.identity.LeaveTenant(tenant_id=str(tenant.tenant_id))
        with refused("FAILED_PRECONDITION", "STATE_NOT_ALLOWED") as refusal:
            await tenant.owner.identity.EnableMember(user_id=user_id)
        assert refusal.metadata == {"state": "left"}
        # The plan has five seats: hers is the one that is free, and the invitation holds it.
        token = await invitation_for(mails, tenant, person, Role.MEMBER)
        assert await used(house, tenant) == (4, 1)
        joined = await me.identity.AcceptInvitation(token=token)
        assert (joined.tenant_id, joined.role) == (str(tenant.tenant_id), Role.MEMBER)
        assert await used(house, tenant) == (5, 0)
        member = await tenant.owner.identity.GetMember(user_id=user_id)
        assert (member.state, member.role, member.disabled_by) == (1, Role.MEMBER, "")
        assert not member.HasField("leave_time")
        # Tokens of before are of the admin she was.
        with refused("UNAUTHENTICATED", "MEMBERSHIP_CHANGED"):
            await tenant.member(Role.ADMIN).identity.ListMembers()
        await house.member(person.user_id, tenant.tenant_id, Role.MEMBER, version=3).identity.ListMembers()
        assert await me.identity.AcceptInvitation(token=token) == joined

    async def test_an_old_invitation_is_used_up(self, house: House, mails: PostOffice, tenant: Tenant) -> None:
        await set_plan(house.database, tenant.tenant_id, users=9)
        person = await house.person()
        me = house.user(person.user_id)
        token = await invitation_for(mails, tenant, person, Role.MEMBER)
        await me.identity.AcceptInvitation(token=token)
        await me.identity.LeaveTenant(tenant_id=str(tenant.tenant_id))
        with refused("FAILED_PRECONDITION", "INVITATION_INVALID"):
            await me.identity.AcceptInvitation(token=token)
        assert await used(house, tenant) == (5, 0)

    async def test_only_into_a_free_seat(self, house: House, mails: PostOffice, tenant: Tenant) -> None:
        person = tenant.people[Role.MEMBER]
        me = house.user(person.user_id)
        await me.identity.LeaveTenant(tenant_id=str(tenant.tenant_id))
        token = await invitation_for(mails, tenant, person, Role.MEMBER)
        await set_plan(house.database, tenant.tenant_id, users=4)
        with refused("RESOURCE_EXHAUSTED", "PLAN_LIMIT_REACHED"):
            await me.identity.AcceptInvitation(token=token)
        await set_plan(house.database, tenant.tenant_id, users=5)
        await me.identity.AcceptInvitation(token=token)

    async def test_who_was_disabled_does_not_come_back(self, house: House, mails: PostOffice, tenant: Tenant) -> None:
        """Not by leaving either, which she cannot any more."""
        person = tenant.people[Role.MEMBER]
        await tenant.owner.identity.DisableMember(user_id=str(person.user_id))
        with refused("ALREADY_EXISTS", "ALREADY_TAKEN"):
            await tenant.owner.identity.InviteMember(email=person.email, role=2)

    async def test_no_admins_sql_brings_her_back(self, house: House, tenant: Tenant) -> None:
        person = tenant.people[Role.MEMBER]
        await house.user(person.user_id).identity.LeaveTenant(tenant_id=str(tenant.tenant_id))
        context = {"tenant_id": tenant.tenant_id, "user_id": tenant.people[Role.OWNER].user_id, "role": 5}
        for statement, told in (
            ("update identity.memberships set status = 'active' where user_id = %s", "STATE_NOT_ALLOWED"),
            ("update identity.memberships set left_at = null where user_id = %s", "permission denied"),
        ):
            with pytest.raises(Exception, match=told):
                async with as_role(house.database, "bulkhead_identity_app", **context) as connection:
                    await connection.execute(statement, (person.user_id,))


class TestGetMember:
    async def test_shows_what_the_list_shows(self, house: House, tenant: Tenant) -> None:
        for listed in (await tenant.owner.identity.ListMembers()).members:
            assert await tenant.member(Role.VIEWER).identity.GetMember(user_id=listed.user_id) == listed

    async def test_others_are_nobody(self, house: House, tenant: Tenant) -> None:
        other = await house.tenant("other")
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as theirs:
            await tenant.owner.identity.GetMember(user_id=str(other.people[Role.OWNER].user_id))
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as unknown:
            await tenant.owner.identity.GetMember(user_id=str(new_id()))
        assert theirs.status == unknown.status
        assert theirs.metadata == {"resource": "member"}
        with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
            await tenant.owner.identity.GetMember(user_id="x")
        with refused("UNAUTHENTICATED", "TENANT_NOT_SELECTED"):
            await house.user(new_id()).identity.GetMember(user_id=str(new_id()))


async def team_of(house: House, tenant: Tenant, user_id: UUID) -> UUID:
    team_id = new_id()
    async with as_role(
        house.database,
        "bulkhead_identity_app",
        tenant_id=tenant.tenant_id,
        user_id=tenant.people[Role.OWNER].user_id,
        role=5,
    ) as connection:
        await connection.execute(
            "insert into identity.teams (tenant_id, team_id, name) values (%s, %s, %s)",
            (tenant.tenant_id, team_id, str(team_id)),
        )
        await connection.execute(
            "insert into identity.team_members (tenant_id, team_id, user_id, is_lead) values (%s, %s, %s, true)",
            (tenant.tenant_id, team_id, user_id),
        )
    return team_id


async def teams(house: House, tenant: Tenant, person: Person) -> list[UUID]:
    """As every service learns them when she calls."""
    role, version = await people.membership(await house.connection(), tenant.tenant_id, person.user_id)
    async with as_role(house.database, "bulkhead_issues_app") as connection:
        cursor = await connection.execute(
            "select team_ids from identity.check_membership(%s, %s, %s::smallint, %s, false)",
            (tenant.tenant_id, person.user_id, role.value, version),
        )
        row = await cursor.fetchone()
    assert row is not None
    return list(row[0])


async def test_her_teams_survive(house: House, mails: PostOffice, tenant: Tenant) -> None:
    """Disabling and enabling, leaving and coming back."""
    person = tenant.people[Role.MEMBER]
    user_id = str(person.user_id)
    team_id = await team_of(house, tenant, person.user_id)
    assert await teams(house, tenant, person) == [team_id]

    async def in_the_team() -> list[tuple[object, ...]]:
        async with as_role(house.database, "bulkhead_identity_app", tenant_id=tenant.tenant_id, role=1) as connection:
            cursor = await connection.execute(
                "select user_id, is_lead, removed_at, version from identity.team_members where team_id = %s", (team_id,)
            )
            return await cursor.fetchall()

    before = await in_the_team()
    assert before == [(person.user_id, True, None, 1)]
    await tenant.owner.identity.DisableMember(user_id=user_id)
    assert await in_the_team() == before
    await tenant.owner.identity.EnableMember(user_id=user_id)
    assert await teams(house, tenant, person) == [team_id]
    me = house.user(person.user_id)
    await me.identity.LeaveTenant(tenant_id=str(tenant.tenant_id))
    assert await in_the_team() == before
    await me.identity.AcceptInvitation(token=await invitation_for(mails, tenant, person, Role.VIEWER))
    assert await teams(house, tenant, person) == [team_id]
