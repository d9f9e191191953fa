"""CloseAccount: what is left of a person, and who cannot go yet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import grpc.aio
import psycopg
import pytest
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.identity.world import PASSWORD, PostOffice, as_owner, as_role, events, log_in, new_address, sign_up
from tests.support import people
from tests.support.builders import make_issue, make_project
from tests.support.client import Client, reason_of, refused
from tests.support.house import House, Tenant
from tests.support.people import Person

PROFILE = {"first_name": "Ann", "last_name": "Lee", "avatar_url": "https://a.example/a.png", "phone": "12345"}


@dataclass(frozen=True)
class Somebody:
    person: Person
    client: Client
    """Signed in, without a tenant."""
    refresh_token: str


@pytest.fixture(name="ann")
async def fixture_ann(house: House, mails: PostOffice) -> Somebody:
    email = new_address()
    user_id = await sign_up(house, mails, email)
    client, login = await log_in(house, email)
    return Somebody(Person(UUID(user_id), email), client, login.refresh_token.token)


async def join(house: House, tenant: Tenant, one: Somebody, role: Role) -> Client:
    tenant.lift_limits()
    await people.add_member(await house.connection(), tenant.tenant_id, tenant.people[Role.OWNER], one.person, role)
    return house.member(one.person.user_id, tenant.tenant_id, role)


async def close(one: Somebody, password: str = PASSWORD, **more: Any) -> None:
    await one.client.identity.CloseAccount(password=password, **more)


async def test_nothing_is_left_but_what_refers_to_her(house: House, mails: PostOffice, ann: Somebody) -> None:
    tenants = [await house.tenant("one"), await house.tenant("two")]
    inside = [await join(house, tenants[0], ann, Role.OWNER), await join(house, tenants[1], ann, Role.MEMBER)]
    user_id = str(ann.person.user_id)
    await ann.client.identity.UpdateMe(user={"full_name": "Ann Lee", **PROFILE})
    project = await make_project(inside[0], lead_id=user_id)
    issue = await make_issue(inside[0], project.project_id, assignee_id=user_id)
    team = await inside[0].identity.CreateTeam(team={"name": "Deck"})
    await inside[0].identity.AddTeamMember(team_id=team.team_id, user_id=user_id, is_lead=True)
    other, _ = await log_in(house, ann.person.email)
    await close(ann)

    for tenant in tenants:
        seen = await tenant.owner.identity.GetMember(user_id=user_id)
        assert (seen.display_name, seen.avatar_url, seen.state) == ("Deleted user", "", 2)
        with refused("FAILED_PRECONDITION", "STATE_NOT_ALLOWED"):
            await tenant.owner.identity.EnableMember(user_id=user_id)
    kept = await tenants[0].owner.issues.GetIssue(issue_id=issue.issue_id)
    assert (kept.reporter_id, kept.assignee_id) == (user_id, user_id)
    assert not (await tenants[0].owner.identity.ListTeamMembers(team_id=team.team_id)).members
    for client in inside:
        with refused("UNAUTHENTICATED", "MEMBERSHIP_CHANGED"):
            await client.issues.ListLabels()
    for client in (ann.client, other):
        with refused("UNAUTHENTICATED", "SESSION_ENDED"):
            await client.identity.GetMe()
        with refused("UNAUTHENTICATED", "SESSION_ENDED"):
            await client.identity.SelectTenant(tenant_id=str(tenants[0].tenant_id))
        with refused("UNAUTHENTICATED", "SESSION_ENDED"):
            await client.identity.CreateTenant(tenant={"slug": f"t{new_id()}", "name": "x"})
    with refused("UNAUTHENTICATED", "REFRESH_TOKEN_INVALID"):
        await house.nobody().identity.RefreshToken(refresh_token=ann.refresh_token)
    with refused("UNAUTHENTICATED", "CREDENTIALS_INVALID"):
        await log_in(house, ann.person.email)
    assert "closed" in (await mails.to(ann.person.email))[-1].subject.lower()
    await nothing_personal_is_left(house, ann.person)
    # Her address is free, for somebody new who is not her.
    assert await sign_up(house, mails, ann.person.email) != user_id


async def nothing_personal_is_left(house: House, person: Person) -> None:
    async with as_owner(house.database) as connection:
        cursor = await connection.execute(
            """
            select to_jsonb(u) - 'created_at' - 'updated_at' - 'version' - 'created_by' - 'last_login_at',
                to_jsonb(p) - 'created_at' - 'updated_at' - 'version' - 'created_by'
            from identity.users as u inner join identity.user_profiles as p on p.user_id = u.user_id
            where u.user_id = %s
            """,
            (person.user_id,),
        )
        row = await cursor.fetchone()
    assert row is not None
    told = {key: value for part in row for key, value in part.items() if value not in (None, False, {})}
    assert told == {
        "user_id": str(person.user_id),
        "kind": "person",
        "status": "erased",
        "full_name": "Deleted user",
    }


async def test_a_tenants_last_owner_stays(house: House, ann: Somebody) -> None:
    made = await ann.client.identity.CreateTenant(tenant={"slug": f"t{new_id()}", "name": "Hers"})
    tenant = await house.tenant("other")
    inside = await join(house, tenant, ann, Role.MEMBER)
    with refused("FAILED_PRECONDITION", "LAST_OWNER") as refusal:
        await close(ann)
    assert refusal.metadata == {"tenant_id": made.tenant_id}
    # Nothing happened, in any tenant.
    await inside.identity.ListMembers()
    assert (await ann.client.identity.GetMe()).email == ann.person.email


async def test_a_tenant_that_cannot_come_back_holds_nobody(house: House, ann: Somebody) -> None:
    slug = f"t{new_id()}"
    made = await ann.client.identity.CreateTenant(tenant={"slug": slug, "name": "Hers"})
    chosen = await ann.client.identity.SelectTenant(tenant_id=made.tenant_id)
    inside = house.with_token(chosen.access_token.token)
    await inside.identity.DeleteTenant(tenant_id=made.tenant_id, slug=slug)
    with refused("FAILED_PRECONDITION", "LAST_OWNER"):
        await close(ann)
    async with as_owner(house.database) as connection:
        await connection.execute(
            "update identity.tenants set purge_after = now() where tenant_id = %s", (made.tenant_id,)
        )
    await close(ann)


async def test_only_with_the_password(house: House, ann: Somebody) -> None:
    with refused("UNAUTHENTICATED", "CREDENTIALS_INVALID"):
        await close(ann, "not her password at all")
    with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
        await close(ann, "")
    told = [(action, outcome) for action, outcome, _ in await events(house.database, ann.person.user_id)]
    assert told[-1] == ("user.close_failed", "failed")
    assert (await ann.client.identity.GetMe()).email == ann.person.email
    for _ in range(6):
        try:
            await close(ann, "not her password at all")
        except grpc.aio.AioRpcError as error:
            last = reason_of(error)
    assert last == "RATE_LIMITED"


async def test_a_repeat_is_told_the_same(house: House, ann: Somebody) -> None:
    request_id = str(new_id())
    await close(ann, request_id=request_id)
    await close(ann, request_id=request_id)
    with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
        await close(ann, "another password", request_id=request_id)
    with refused("UNAUTHENTICATED", "SESSION_ENDED"):
        await close(ann)


async def test_only_a_person_has_an_account(house: House) -> None:
    tenant = await house.tenant("who")
    with refused("UNAUTHENTICATED", "TOKEN_MISSING"):
        await house.nobody().identity.CloseAccount(password=PASSWORD)
    with refused("PERMISSION_DENIED", "CALLER_NOT_ALLOWED"):
        await tenant.service("issues").identity.CloseAccount(password=PASSWORD)


async def outcome(call: Awaitable[Any]) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    return "done"


async def test_nothing_that_runs_beside_it_brings_her_back(house: House, mails: PostOffice) -> None:
    """Closing, while she logs in, changes her name, founds a tenant and writes: whatever is told, she is gone."""
    for _ in range(3):
        email = new_address()
        person = Person(UUID(await sign_up(house, mails, email)), email)
        client, login = await log_in(house, email)
        ann, tenant = Somebody(person, client, login.refresh_token.token), await house.tenant("beside")
        inside = await join(house, tenant, ann, Role.MANAGER)
        async with asyncio.timeout(20):
            told = await asyncio.gather(
                outcome(close(ann)),
                outcome(log_in(house, email)),
                *(outcome(client.identity.UpdateMe(user={"full_name": f"Ann {n}"})) for n in range(3)),
                outcome(client.identity.CreateTenant(tenant={"slug": f"t{new_id()}", "name": "x"})),
                *(outcome(inside.issues.CreateLabel(label={"name": f"label {n}"})) for n in range(3)),
            )
        assert set(told) <= {"done", "SESSION_ENDED", "MEMBERSHIP_CHANGED", "CREDENTIALS_INVALID", "LAST_OWNER"}, told
        async with as_owner(house.database) as connection:
            cursor = await connection.execute(
                """
                select u.status, u.full_name, (
                    select count(*) from identity.memberships as m
                    where m.user_id = u.user_id and (m.status = 'active' or m.display_name <> 'Deleted user')
                ), (select count(*) from identity.sessions as s where s.user_id = u.user_id and s.revoked_at is null)
                from identity.users as u where u.user_id = %s
                """,
                (person.user_id,),
            )
            row = await cursor.fetchone()
        if told[0] == "done":
            assert row == ("erased", "Deleted user", 0, 0)
        else:
            # The tenant she founded meanwhile has nobody but her.
            assert (told[0], row and row[0]) == ("LAST_OWNER", "active")


async def test_nobody_else_can_be_closed_by_sql(house: House, ann: Somebody) -> None:
    other = await house.person("Other")
    async with as_owner(house.database) as connection:
        cursor = await connection.execute(
            "select s.session_id, c.password_hash from identity.sessions as s inner join identity.user_credentials as c"
            " on c.user_id = s.user_id where s.user_id = %s",
            (ann.person.user_id,),
        )
        row = await cursor.fetchone()
    assert row is not None
    session_id, password_hash = row
    for user_id, checked in ((other.user_id, password_hash), (ann.person.user_id, "$argon2id$guessed")):
        async with as_role(house.database, "bulkhead_identity_app", user_id=user_id) as connection:
            with pytest.raises(psycopg.DatabaseError) as refusal:
                await connection.execute(
                    "select identity.close_account(%s, %s, '$argon2id$x', %s)", (session_id, checked, new_id())
                )
        assert refusal.value.sqlstate in ("BH016", "BH010")
    # A closed account joins nothing, not even by the tables' owner.
    await close(ann)
    tenant = await house.tenant("closed")
    async with as_owner(house.database) as connection:
        with pytest.raises(psycopg.DatabaseError) as refusal:
            await connection.execute(
                "insert into identity.memberships (tenant_id, user_id, kind, role, display_name)"
                " values (%s, %s, 'person', 2, 'x')",
                (tenant.tenant_id, ann.person.user_id),
            )
    assert refusal.value.sqlstate == "BH016"
