"""Support access, from the owner's grant to its end: who comes in, what she may, what is told of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import grpc.aio
import psycopg
import pytest
from bulkhead_cli import administration
from bulkhead_identity.lookalikes import reads_like_support
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.identity.api_key.keys import later
from tests.identity.platform.world import GRANT, administrator, enter, helper_in
from tests.identity.test_texts import IMITATIONS, READ_BY_SQL
from tests.identity.world import PostOffice, as_owner, as_role, events, new_address, set_plan, set_status
from tests.support import people
from tests.support.builders import make_label
from tests.support.client import Client, reason_of, refused
from tests.support.house import House, Tenant
from tests.support.postgres import ScratchDatabase

OUT = ("UNAUTHENTICATED", "MEMBERSHIP_CHANGED")
PLATFORM_LOG = "00000000-0000-0000-0000-000000000001"


async def logged(database: ScratchDatabase, tenant: Tenant, action: str) -> list[tuple[str, Any, Any]]:
    """In which log, by whom, and with which request."""
    async with as_role(database, "bulkhead_identity_relay") as connection:
        cursor = await connection.execute(
            "select o.tenant_id::text, o.actor_id, o.request_id from identity.outbox as o"
            " where o.action = %s and (o.tenant_id = %s or o.entity_id = %s) order by o.outbox_id",
            (action, tenant.tenant_id, tenant.tenant_id),
        )
        return await cursor.fetchall()


async def expire(house: House, tenant: Tenant) -> None:
    """The grant and who came by it have had their time."""
    async with as_owner(house.database) as connection:
        for statement in (
            "update identity.memberships set support_until = now() where tenant_id = %s and support_until is not null",
            "update identity.support_grants set expires_at = now() where tenant_id = %s",
        ):
            await connection.execute(statement.encode(), (tenant.tenant_id,))


@pytest.mark.parametrize("rpc", ["ChangeRole", "DisableMember", "LeaveTenant"])
async def test_it_ends_with_the_ownership_of_who_granted_it(house: House, rpc: str) -> None:
    """An owner who is one no more has let nobody in that stays."""
    tenant, second = await house.tenant("granted"), await house.person("Olga")
    tenant.lift_limits()
    await people.add_member(await house.connection(), tenant.tenant_id, tenant.people[Role.OWNER], second, Role.OWNER)
    helper, _, grant = await helper_in(tenant)
    await helper.issues.ListLabels()
    granter = str(tenant.people[Role.OWNER].user_id)
    other = house.member(second.user_id, tenant.tenant_id, Role.OWNER).identity
    if rpc == "ChangeRole":
        await other.ChangeRole(user_id=granter, role=Role.ADMIN.value)
    elif rpc == "DisableMember":
        await other.DisableMember(user_id=granter)
    else:
        signed_in = await house.signed_in(tenant.people[Role.OWNER])
        await signed_in.identity.LeaveTenant(tenant_id=str(tenant.tenant_id))
    with refused(*OUT):
        await helper.issues.ListLabels()
    client, _ = await administrator(house)
    with refused("FAILED_PRECONDITION", "STATE_NOT_ALLOWED") as refusal:
        await client.identity.EnterSupportAccess(tenant_id=str(tenant.tenant_id))
    assert refusal.metadata == {"state": "not_granted"}
    assert [action for action, _, _ in await events(house.database, grant.grant_id)][1:] == ["support_grant.revoked"]


async def test_the_whole_story(house: House) -> None:
    tenant, (client, person) = await house.tenant("story"), await administrator(house)
    tenant_id = str(tenant.tenant_id)
    label = await make_label(tenant.owner)
    with refused("FAILED_PRECONDITION", "STATE_NOT_ALLOWED") as refusal:
        await client.identity.EnterSupportAccess(tenant_id=tenant_id)
    assert refusal.metadata == {"state": "not_granted"}
    grant = await tenant.owner.identity.GrantSupportAccess(**GRANT)
    owner = str(tenant.people[Role.OWNER].user_id)
    assert (grant.role, grant.reason, grant.granted_by) == (Role.MANAGER, "The import hangs.", owner)
    assert grant.expire_time.seconds - grant.create_time.seconds in (3599, 3600, 3601)

    entered = await client.identity.EnterSupportAccess(tenant_id=tenant_id)
    assert (entered.role, entered.support_expire_time) == (Role.MANAGER, grant.expire_time)
    helper = house.with_token(entered.access_token.token)
    assert (await helper.issues.GetLabel(label_id=label.label_id)) == label
    made = await make_label(helper)
    assert made.label_id in {one.label_id for one in (await tenant.owner.issues.ListLabels()).labels}
    with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
        await helper.identity.InviteMember(email="friend@example.com", role=1)

    # What she did is hers in the tenant's own log; that she came is in both.
    async with as_role(house.database, "bulkhead_issues_relay") as connection:
        cursor = await connection.execute(
            "select tenant_id, actor_id from issues.outbox where entity_id = %s", (made.label_id,)
        )
        assert await cursor.fetchall() == [(tenant.tenant_id, person.user_id)]
    assert [one[:2] for one in await logged(house.database, tenant, "support_entry.created")] == [
        (tenant_id, person.user_id)
    ]
    assert [one[:2] for one in await logged(house.database, tenant, "tenant.support_entered")] == [
        (PLATFORM_LOG, person.user_id)
    ]

    revoked = await tenant.owner.identity.RevokeSupportAccess(grant_id=grant.grant_id)
    assert (revoked.revoked_by, revoked.HasField("revoke_time")) == (owner, True)
    for call in (helper.issues.ListLabels(), helper.identity.ListMembers(), make_label(helper)):
        with refused(*OUT):
            await call
    with refused("FAILED_PRECONDITION", "STATE_NOT_ALLOWED"):
        await client.identity.EnterSupportAccess(tenant_id=tenant_id)
    actions = [action for action, *_ in await events(house.database, grant.grant_id)]
    assert actions == ["support_grant.created", "support_grant.revoked"]


async def test_each_entering_is_told_and_counted_once(house: House) -> None:
    tenant = await house.tenant("again")
    await tenant.owner.identity.GrantSupportAccess(**GRANT)
    client, _ = await administrator(house)
    other, _ = await administrator(house)
    request = {"tenant_id": str(tenant.tenant_id), "request_id": str(new_id())}
    first = await client.identity.EnterSupportAccess(**request)
    with refused("FAILED_PRECONDITION", "SECRET_ALREADY_SHOWN"):
        await client.identity.EnterSupportAccess(**request)
    with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
        await other.identity.EnterSupportAccess(**request)
    second = await enter(house, client, tenant.tenant_id)
    # Nothing of her standing has changed, so both tokens work.
    for helper in (house.with_token(first.access_token.token), second):
        await helper.issues.ListLabels()
    assert len(await logged(house.database, tenant, "support_entry.created")) == 2


async def test_takes_no_seat_and_is_no_tenant_of_hers(house: House) -> None:
    tenant = await house.tenant("seat")
    await set_plan(house.database, tenant.tenant_id, users=5)
    helper, person, _ = await helper_in(tenant)
    assert (await tenant.owner.identity.GetUsage()).active_members == 5
    signed_in = await house.signed_in(person)
    assert not (await signed_in.identity.ListMyTenants(show_deleted=True)).tenants
    with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
        await signed_in.identity.SelectTenant(tenant_id=str(tenant.tenant_id))
    (seen,) = [one for one in (await helper.identity.ListMembers()).members if one.user_id == str(person.user_id)]
    assert (seen.display_name, seen.is_support) == ("Helga (Bulkhead support)", True)


async def test_she_is_marked_where_no_name_reaches(house: House) -> None:
    """In every list of people, for every role, and when it is over: nobody else is, whatever they are called."""
    tenant = await house.tenant("marked")
    tenant.lift_limits()
    _, person, _ = await helper_in(tenant)
    await tenant.owner.identity.CreateApiKey(display_name="Support", role=Role.VIEWER.value)
    helper, owner = str(person.user_id), tenant.owner.identity
    team = await owner.CreateTeam(team={"name": "Help"})
    for user_id in (helper, str(tenant.people[Role.MEMBER].user_id)):
        await owner.AddTeamMember(team_id=team.team_id, user_id=user_id)
    for ended in (False, True):
        if ended:
            await owner.RevokeSupportAccess()
        for role in Role:
            identity = tenant.member(role).identity
            members = (await identity.ListMembers()).members
            cards = (await identity.BatchGetMembers(user_ids=[one.user_id for one in members])).members
            in_team = (await identity.ListTeamMembers(team_id=team.team_id)).members
            assert len(members) == len(cards) == 7
            for shown in (members, cards, in_team):
                assert [one.user_id for one in shown if one.is_support] == [helper]


async def test_ends_with_its_time(house: House) -> None:
    tenant = await house.tenant("time")
    helper, _, grant = await helper_in(tenant)
    await expire(house, tenant)
    for call in (helper.issues.ListLabels(), make_label(helper)):
        with refused(*OUT):
            await call
    # And makes room for another.
    again = await tenant.owner.identity.GrantSupportAccess(**{**GRANT, "role": Role.VIEWER.value})
    assert again.grant_id != grant.grant_id


async def test_a_token_ends_with_the_grant(house: House) -> None:
    tenant = await house.tenant("short")
    await tenant.owner.identity.GrantSupportAccess(**{**GRANT, "duration": {"seconds": 60}})
    client, _ = await administrator(house)
    entered = await client.identity.EnterSupportAccess(tenant_id=str(tenant.tenant_id))
    assert entered.access_token.expire_time.seconds <= entered.support_expire_time.seconds


async def test_a_narrower_grant_narrows_who_is_in(house: House) -> None:
    tenant = await house.tenant("narrow")
    helper, person, _ = await helper_in(tenant, role=Role.ADMIN.value)
    await helper.identity.GetUsage()
    await tenant.owner.identity.RevokeSupportAccess()
    await tenant.owner.identity.GrantSupportAccess(**{**GRANT, "role": Role.VIEWER.value})
    with refused(*OUT):
        await helper.identity.GetUsage()
    viewer = await enter(house, await house.platform_admin(person), tenant.tenant_id)
    await viewer.issues.ListLabels()
    with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
        await make_label(viewer)


async def test_who_administers_no_more_is_out_everywhere(house: House) -> None:
    tenants = [await house.tenant("out") for _ in range(2)]
    client, person = await administrator(house)
    helpers = []
    for tenant in tenants:
        await tenant.owner.identity.GrantSupportAccess(**GRANT)
        helpers.append(await enter(house, client, tenant.tenant_id))
    administration.set_administrator(house.database.admin_dsn, person.email, is_admin=False)
    for helper in helpers:
        with refused(*OUT):
            await helper.issues.ListLabels()


class TestGrant:
    async def test_is_the_owners_to_give_and_take(self, house: House) -> None:
        tenant, other = await house.tenant("owner"), await house.tenant("other")
        for role in (Role.VIEWER, Role.MEMBER, Role.MANAGER, Role.ADMIN):
            for call in (
                tenant.member(role).identity.GrantSupportAccess(**GRANT),
                tenant.member(role).identity.RevokeSupportAccess(),
            ):
                with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
                    await call
        grant = await tenant.owner.identity.GrantSupportAccess(**GRANT)
        for grant_id in (grant.grant_id, str(new_id())):
            with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
                await other.owner.identity.RevokeSupportAccess(grant_id=grant_id)
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
            await other.owner.identity.RevokeSupportAccess()
        helper, _, _ = await helper_in(other, role=Role.ADMIN.value)
        with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
            await helper.identity.GrantSupportAccess(**GRANT)

    @pytest.mark.parametrize(
        "changed",
        [
            {"role": 0},
            {"role": Role.OWNER.value},
            {"role": 9},
            {"duration": {"seconds": 59}},
            {"duration": {"seconds": 604_801}},
            {"reason": ""},
            {"reason": " "},
            {"reason": "x" * 501},
            {"reason": "a\nb"},
        ],
    )
    async def test_what_is_wrong_is_refused(self, house: House, changed: dict[str, Any]) -> None:
        tenant = await house.tenant("wrong")
        with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
            await tenant.owner.identity.GrantSupportAccess(**{**GRANT, **changed})

    async def test_one_is_open_at_a_time(self, house: House) -> None:
        tenant = await house.tenant("one")

        async def one() -> str:
            try:
                return str((await tenant.owner.identity.GrantSupportAccess(**GRANT)).grant_id)
            except grpc.aio.AioRpcError as error:
                return reason_of(error)

        said = await asyncio.gather(*(one() for _ in range(6)))
        assert sorted(said)[1:] == ["ALREADY_TAKEN"] * 5
        with refused("ALREADY_EXISTS", "ALREADY_TAKEN") as refusal:
            await tenant.owner.identity.GrantSupportAccess(**GRANT)
        # It is no field of the request, so that no BadRequest names it.
        assert (refusal.metadata, refusal.fields) == ({"field": "support_access"}, [])

    async def test_repeats_are_answered_alike(self, house: House) -> None:
        tenant = await house.tenant("repeat")
        request = {**GRANT, "request_id": str(new_id())}
        replies = await asyncio.gather(*(tenant.owner.identity.GrantSupportAccess(**request) for _ in range(4)))
        assert all(reply == replies[0] for reply in replies)
        revoke = {"grant_id": replies[0].grant_id, "request_id": str(new_id())}
        ends = await asyncio.gather(*(tenant.owner.identity.RevokeSupportAccess(**revoke) for _ in range(4)))
        assert all(end == ends[0] for end in ends)
        assert await tenant.owner.identity.RevokeSupportAccess(grant_id=replies[0].grant_id) == ends[0]


class TestEnter:
    async def test_is_for_administrators_with_a_session(self, house: House) -> None:
        tenant, person = await house.tenant("session"), await house.person()
        await tenant.owner.identity.GrantSupportAccess(**GRANT)
        await house.platform_admin(person)
        ended = house.with_token(house.mint.person(person.user_id, platform_admin=True))
        with refused("UNAUTHENTICATED", "SESSION_ENDED"):
            await ended.identity.EnterSupportAccess(tenant_id=str(tenant.tenant_id))
        with refused("PERMISSION_DENIED", "CALLER_NOT_ALLOWED"):
            await (await house.signed_in(await house.person())).identity.EnterSupportAccess(
                tenant_id=str(tenant.tenant_id)
            )

    async def test_needs_a_tenant_that_is_there(self, house: House) -> None:
        tenant, (client, _) = await house.tenant("there"), await administrator(house)
        await tenant.owner.identity.GrantSupportAccess(**GRANT)
        await set_status(house.database, tenant.tenant_id, "deleted")
        for tenant_id in (str(tenant.tenant_id), str(new_id())):
            with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
                await client.identity.EnterSupportAccess(tenant_id=tenant_id)
        with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
            await client.identity.EnterSupportAccess(tenant_id="x")

    async def test_a_member_comes_in_as_a_member(self, house: House) -> None:
        """Or an admin whom she does not like could be let in again by the back door."""
        tenant, (client, person) = await house.tenant("member"), await administrator(house)
        tenant.lift_limits()
        await people.add_member(
            await house.connection(), tenant.tenant_id, tenant.people[Role.OWNER], person, Role.VIEWER
        )
        await tenant.owner.identity.GrantSupportAccess(**{**GRANT, "role": Role.ADMIN.value})
        for _ in range(2):
            with refused("FAILED_PRECONDITION", "STATE_NOT_ALLOWED") as refusal:
                await client.identity.EnterSupportAccess(tenant_id=str(tenant.tenant_id))
            assert refusal.metadata == {"state": "member"}
            await tenant.owner.identity.DisableMember(user_id=str(person.user_id))


async def test_leaves_no_door_open(house: House, mails: PostOffice) -> None:
    """A key, an invitation or a friend with a higher role would outlast the grant."""
    tenant = await house.tenant("door")
    tenant.lift_limits()
    viewer, member = (str(tenant.people[role].user_id) for role in (Role.VIEWER, Role.MEMBER))
    old = await tenant.owner.identity.CreateApiKey(display_name="old", role=Role.VIEWER.value)
    await tenant.owner.identity.DisableMember(user_id=member)
    helper, _, _ = await helper_in(tenant, role=Role.ADMIN.value)
    friend = new_address("friend")
    for call in (
        helper.identity.InviteMember(email=friend, role=Role.VIEWER.value),
        helper.identity.CreateApiKey(display_name="new", role=Role.VIEWER.value),
        helper.identity.CreateApiKey(display_name="other", user_id=old.api_key.user_id),
        helper.identity.ChangeRole(user_id=viewer, role=Role.ADMIN.value),
        helper.identity.EnableMember(user_id=member),
    ):
        with refused("FAILED_PRECONDITION", "STATE_NOT_ALLOWED") as refusal:
            await call
        assert refusal.metadata == {"state": "support"}
    assert await mails.to(friend) == []
    assert len((await helper.identity.ListApiKeys()).api_keys) == 1
    # To close doors is what an admin is let in for.
    await helper.identity.RevokeApiKey(api_key_id=old.api_key.api_key_id)
    await helper.identity.DisableMember(user_id=viewer)
    admin = tenant.member(Role.ADMIN).identity
    await admin.EnableMember(user_id=viewer)
    await admin.InviteMember(email=friend, role=Role.VIEWER.value)


class TestImpossible:
    async def test_nobody_in_the_tenant_makes_her_more(self, house: House) -> None:
        tenant = await house.tenant("more")
        _, person, _ = await helper_in(tenant)
        user_id = str(person.user_id)
        for call in (
            tenant.owner.identity.ChangeRole(user_id=user_id, role=Role.ADMIN.value),
            tenant.owner.identity.DisableMember(user_id=user_id),
        ):
            with refused("FAILED_PRECONDITION", "STATE_NOT_ALLOWED") as refusal:
                await call
            assert refusal.metadata == {"state": "support"}
        await tenant.owner.identity.RevokeSupportAccess()
        with refused("FAILED_PRECONDITION", "STATE_NOT_ALLOWED"):
            await tenant.owner.identity.EnableMember(user_id=user_id)

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ("support_until = null", "STATE_NOT_ALLOWED"),
            ("role = 5", "memberships_support_until_check"),
        ],
    )
    async def test_not_even_the_tables_owner_makes_her_a_member(self, house: House, change: str, error: str) -> None:
        tenant = await house.tenant("table")
        _, person, _ = await helper_in(tenant)
        async with as_owner(house.database) as connection:
            with pytest.raises(psycopg.Error, match=error):
                await connection.execute(
                    f"update identity.memberships set {change} where tenant_id = %s and user_id = %s".encode(),
                    (tenant.tenant_id, person.user_id),
                )

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ("role = 5", psycopg.errors.CheckViolation),
            ("expires_at = now() + interval '8 days'", psycopg.errors.CheckViolation),
            ("reason = ''", psycopg.errors.CheckViolation),
        ],
    )
    async def test_no_grant_is_wider_or_longer(self, house: House, change: str, error: type[Exception]) -> None:
        tenant = await house.tenant("grant")
        await tenant.owner.identity.GrantSupportAccess(**GRANT)
        async with as_owner(house.database) as connection:
            with pytest.raises(error):
                await connection.execute(
                    f"update identity.support_grants set {change} where tenant_id = %s".encode(), (tenant.tenant_id,)
                )

    async def test_what_was_taken_back_stays_so(self, house: House) -> None:
        tenant = await house.tenant("back")
        await tenant.owner.identity.GrantSupportAccess(**GRANT)
        await tenant.owner.identity.RevokeSupportAccess()
        context = {"tenant_id": tenant.tenant_id, "user_id": tenant.people[Role.OWNER].user_id, "role": 5}
        async with as_role(house.database, "bulkhead_identity_app", **context) as connection:
            await connection.execute("update identity.support_grants set revoked_at = null")
            cursor = await connection.execute("select count(*) from identity.support_grants where revoked_at is null")
            assert await cursor.fetchone() == (0,)

    @pytest.mark.parametrize("role", [1, 2, 3, 4])
    async def test_below_an_owner_there_are_no_grants(self, house: House, role: int) -> None:
        tenant = await house.tenant("below")
        await tenant.owner.identity.GrantSupportAccess(**GRANT)
        context = {"tenant_id": tenant.tenant_id, "user_id": tenant.people[Role.ADMIN].user_id, "role": role}
        async with as_role(house.database, "bulkhead_identity_app", **context) as connection:
            cursor = await connection.execute("select count(*) from identity.support_grants")
            assert await cursor.fetchone() == (0,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute(
                    "insert into identity.support_grants (tenant_id, grant_id, role, reason, expires_at)"
                    " values (%s, %s, 1, 'x', now() + interval '1 hour')",
                    (tenant.tenant_id, new_id()),
                )


async def test_nothing_is_written_after_the_end(house: House) -> None:
    """The helper writes while the owner shows her out: what she did was done before the answer."""
    tenant = await house.tenant("race")
    client, _ = await administrator(house)
    for _ in range(20):
        await tenant.owner.identity.GrantSupportAccess(**GRANT)
        helper = await enter(house, client, tenant.tenant_id)
        writing = [asyncio.create_task(_keep_writing(helper)) for _ in range(3)]
        await asyncio.sleep(0.02)
        await tenant.owner.identity.RevokeSupportAccess()
        at_the_end = _labels(house, tenant)
        await asyncio.gather(*writing)
        assert _labels(house, tenant) == at_the_end > 0


async def test_no_invitation_makes_her_more(house: House, mails: PostOffice) -> None:
    """She leaves, and an admin asks her back with a role that the owner has not granted."""
    tenant = await house.tenant("asked")
    tenant.lift_limits()
    _, person, _ = await helper_in(tenant, role=Role.VIEWER.value)
    signed_in = await house.signed_in(person)
    await signed_in.identity.LeaveTenant(tenant_id=str(tenant.tenant_id))
    await tenant.member(Role.ADMIN).identity.InviteMember(email=person.email, role=Role.ADMIN.value)
    with refused("FAILED_PRECONDITION", "INVITATION_INVALID"):
        await signed_in.identity.AcceptInvitation(token=(await mails.to(person.email))[-1].token)
    again = await enter(house, await house.platform_admin(person), tenant.tenant_id)
    with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
        await again.identity.ListInvitations()


async def test_nobody_comes_in_past_the_end_of_her_office(house: House) -> None:
    """She asks to be let in while the platform takes its rights from her: she is in and shown out, or never in."""
    tenants = [await house.tenant("office") for _ in range(3)]
    for tenant in tenants:
        await tenant.owner.identity.GrantSupportAccess(**GRANT)
    for turn in range(20):
        client, person = await administrator(house)
        entering = [asyncio.create_task(_try_to_enter(client, tenant)) for tenant in tenants * 3]
        await asyncio.sleep(turn * 0.002)
        await asyncio.to_thread(
            administration.set_administrator, house.database.admin_dsn, person.email, is_admin=False
        )
        # Never a deadlock.
        assert set(await asyncio.gather(*entering)) <= {"", "CALLER_NOT_ALLOWED"}
        async with as_owner(house.database) as connection:
            cursor = await connection.execute(
                "select count(*) from identity.memberships where user_id = %s and support_until > clock_timestamp()",
                (person.user_id,),
            )
            assert await cursor.fetchone() == (0,)


async def _try_to_enter(client: Client, tenant: Tenant) -> str:
    try:
        await enter(tenant.house, client, tenant.tenant_id)
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    return ""


async def _keep_writing(helper: Client) -> None:
    refusal = ""
    while not refusal:
        try:
            await make_label(helper)
        except grpc.aio.AioRpcError as error:
            refusal = reason_of(error)
    assert refusal == "MEMBERSHIP_CHANGED"


def _labels(house: House, tenant: Tenant) -> int:
    with psycopg.connect(house.database.admin_dsn) as connection:
        row = connection.execute(
            "select count(*) from issues.labels where tenant_id = %s", (tenant.tenant_id,)
        ).fetchone()
    assert row is not None
    return int(row[0])


async def test_nobody_is_called_like_her(house: House) -> None:
    """People, service accounts, teams and tenants: wherever a name is given that others see."""
    tenant = await house.tenant("imitated")
    owner, somebody = tenant.owner.identity, await house.signed_in(tenant.people[Role.OWNER])
    account = {"email": new_address(), "password": "nobody has this one"}
    for name in IMITATIONS:
        for give, given in (
            (house.nobody().identity.SignUp, {**account, "full_name": name}),
            (somebody.identity.UpdateMe, {"user": {"full_name": name}}),
            (somebody.identity.UpdateMe, {"user": {"first_name": name}}),
            (somebody.identity.CreateTenant, {"tenant": {"slug": f"t{new_id().hex[:20]}", "name": name}}),
            (owner.CreateTeam, {"team": {"name": name}}),
            (owner.UpdateTenant, {"tenant": {"tenant_id": str(tenant.tenant_id), "name": name}}),
            (owner.CreateApiKey, {"display_name": name, "role": 1, "expire_time": later(hours=1)}),
        ):
            with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
                await give(**given)
            assert "come to help" in refusal.message


async def test_no_statement_of_the_service_calls_somebody_like_her(house: House) -> None:
    """Past the rules: SQL of the service's own role."""
    tenant = await house.tenant("sql")
    person = tenant.people[Role.OWNER]
    team = await tenant.owner.identity.CreateTeam(team={"name": "Help"})
    key = await tenant.owner.identity.CreateApiKey(display_name="Key", role=Role.VIEWER.value)
    context = {"tenant_id": tenant.tenant_id, "user_id": person.user_id, "role": 5}
    statements = {
        "update identity.users set full_name = %(name)s where user_id = %(user)s": {"user": person.user_id},
        "update identity.users set last_name = %(name)s where user_id = %(user)s": {"user": person.user_id},
        "update identity.tenants set name = %(name)s": {},
        "update identity.teams set name = %(name)s where team_id = %(team)s": {"team": team.team_id},
        "select identity.create_service_account(%(id)s, %(name)s, 1::smallint)": {"id": new_id()},
        "insert into identity.api_keys (tenant_id, api_key_id, user_id, display_name, prefix, secret_hash) values"
        " (%(tenant)s, %(id)s, %(user)s, %(name)s, 'bhk_x', sha256('x'))": {
            "tenant": tenant.tenant_id,
            "id": new_id(),
            "user": key.api_key.user_id,
        },
    }
    assert len(READ_BY_SQL) > len(IMITATIONS) / 2
    for statement, values in statements.items():
        for name in READ_BY_SQL:
            async with as_role(house.database, "bulkhead_identity_app", **context) as connection:
                with pytest.raises(psycopg.Error, match="must not read like"):
                    await connection.execute(statement.encode(), {**values, "name": name})


async def test_every_name_has_the_trigger(house: House) -> None:
    """Whatever statement comes: also of tables that only functions of the schema write."""
    query = """
    select c.table_name || '.' || c.column_name, exists (
        select from pg_trigger as t inner join pg_attribute as a on a.attrelid = t.tgrelid and a.attnum = any(t.tgattr)
        where t.tgrelid = ('identity.' || c.table_name)::regclass and t.tgfoid = 'identity.refuse_name'::regproc
        and t.tgenabled = 'O' and a.attname = c.column_name
        and pg_get_triggerdef(t.oid) like '%BEFORE INSERT OR UPDATE OF%'
        and position(format('reads_like_support(new.%s)', c.column_name) in pg_get_triggerdef(t.oid)) > 0
    )
    from information_schema.columns as c inner join information_schema.tables as o using (table_schema, table_name)
    where c.table_schema = 'identity' and o.table_type = 'BASE TABLE' and c.column_name ~ '(^|_)name$'
    """
    with psycopg.connect(house.database.admin_dsn) as connection:
        guarded: dict[str, bool] = dict(connection.execute(query).fetchall())
    # Plans are the platform's own.
    assert guarded.pop("plans.name") is False
    assert len(guarded) >= 8
    assert [name for name, is_guarded in guarded.items() if not is_guarded] == []


async def test_the_rule_knows_what_the_table_refuses(house: House) -> None:
    """Or the table's refusal would be the first: letters, digits and signs of every kind between and in the words."""
    with psycopg.connect(house.database.admin_dsn) as connection:
        chance = random.Random(4711)
        names = ["".join(_disguised(chance)) for _ in range(20_000)]
        query = "select name from unnest(%s::text[]) as u (name) where identity.reads_like_support(name)"
        refused_here = [name for (name,) in connection.execute(query, (names,)).fetchall()]
    assert 2_000 < len(refused_here) < 18_000
    assert [name for name in refused_here if not reads_like_support(name)] == []


def _disguised(chance: random.Random) -> Iterator[str]:
    for letter in "bulkhead support":
        yield chance.choices([letter, letter.upper(), "\u043e", ""], [60, 38, 1, 1])[0]
        if chance.random() < 0.3:
            yield chance.choice("\u0301\u200b\u00ad-. 10\u043e\u00df\u1e9e\u3164\u0669\u20dd\ufe0f")
