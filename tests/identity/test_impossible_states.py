"""States that data-model.md calls impossible, each tried by SQL: as the app role, as the definer's functions allow, and
as the tables' owner, who is stopped by constraints and triggers alone."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.identity.world import as_owner, as_role, new_address
from tests.support.house import House, Tenant
from tests.support.people import NO_PASSWORD, Connection, set_context, start_session

DENIED = "42501"
CHECK = "23514"
UNIQUE = "23505"
REFERENCE = "23503"
REFUSED = "BH009"
FULL = "BH008"


@dataclass(frozen=True)
class Setting:
    """Two tenants, and how to act in the first as its owner."""

    house: House
    own: Tenant
    other: Tenant

    def app(self, role: Role = Role.OWNER) -> Any:
        return as_role(
            self.house.database,
            "bulkhead_identity_app",
            tenant_id=self.own.tenant_id,
            user_id=self.own.people[role].user_id,
            role=role.value,
            actor_type="person",
        )

    def values(self) -> dict[str, Any]:
        return {
            "tenant": self.own.tenant_id,
            "other": self.other.tenant_id,
            **{role.name.lower(): person.user_id for role, person in self.own.people.items()},
            "stranger": self.other.people[Role.MEMBER].user_id,
            "new": new_id(),
            "hash": secrets.token_bytes(32),
            "email": new_address(),
        }


@pytest_asyncio.fixture(scope="module")
async def setting(house: House) -> AsyncIterator[Setting]:
    yield Setting(house, await house.tenant("own"), await house.tenant("other"))


async def refusal(connection: Connection, statement: str, values: dict[str, Any]) -> str:
    """The SQLSTATE, or the number of rows touched."""
    try:
        async with connection.transaction():
            cursor = await connection.execute(statement.encode(), values)
            await connection.execute("set constraints all immediate")
    except psycopg.DatabaseError as error:
        return str(error.sqlstate)
    return f"{cursor.rowcount} rows"


INVITE = (
    "insert into identity.invitations (tenant_id, invitation_id, email, role, token_hash, expires_at)"
    " values (%(tenant)s, %(new)s, %(email)s, 2, %(hash)s, now() + interval '1 day')"
)

AS_APP = {
    # Tables that no statement of the app role may write at all.
    "a membership out of nothing": (
        "insert into identity.memberships (tenant_id, user_id, kind, role, display_name)"
        " values (%(tenant)s, %(stranger)s, 'person', 5, 'X')",
        DENIED,
    ),
    "a membership's version": (
        "update identity.memberships set version = 1 where tenant_id = %(tenant)s and user_id = %(member)s",
        DENIED,
    ),
    "who disabled her": (
        "update identity.memberships set disabled_by = %(owner)s where tenant_id = %(tenant)s and user_id = %(member)s",
        DENIED,
    ),
    "a member made to leave": (
        "update identity.memberships set status = 'disabled', left_at = now()"
        " where tenant_id = %(tenant)s and user_id = %(member)s",
        DENIED,
    ),
    "a deleted membership": ("delete from identity.memberships where tenant_id = %(tenant)s", DENIED),
    "all memberships gone at once": ("truncate identity.memberships", DENIED),
    "another plan": ("update identity.tenants set plan_code = 'enterprise' where tenant_id = %(tenant)s", DENIED),
    "a plan without limits": ("update identity.plans set max_users = null", DENIED),
    "more room": ("update identity.tenant_usage set active_members = 0 where tenant_id = %(tenant)s", DENIED),
    "a tenant out of nothing": (
        "insert into identity.tenants (tenant_id, slug, name) values (%(new)s, 'nothing', 'X')",
        DENIED,
    ),
    "an administrator of the platform": (
        "update identity.users set is_platform_admin = true where user_id = %(owner)s",
        DENIED,
    ),
    "a forged event": (
        "insert into identity.outbox (tenant_id, action, entity_type, entity_id)"
        " values (%(tenant)s, 'member.updated', 'member', %(member)s)",
        DENIED,
    ),
    "a hidden event": ("delete from identity.outbox", DENIED),
    "an event that says it succeeded": (
        "select identity.record_event('member.updated', 'member', %(member)s, 'ok', '{}')",
        "P0001",
    ),
    "another's password": (
        "update identity.user_credentials set password_hash = '$argon2id$x' where user_id = %(owner)s",
        DENIED,
    ),
    "the owner's place": ("set local role bulkhead_identity_owner", DENIED),
    "the definer's place": ("set local role bulkhead_identity_definer", DENIED),
    # Other tenants.
    "another tenant's members": (
        "update identity.memberships set role = 1 where tenant_id = %(other)s",
        "0 rows",
    ),
    "an invitation into another tenant": (INVITE.replace("%(tenant)s", "%(other)s"), DENIED),
    "a team of another tenant": (
        "insert into identity.teams (tenant_id, team_id, name) values (%(other)s, %(new)s, 'X')",
        DENIED,
    ),
    "a member moved into another tenant": (
        "update identity.memberships set tenant_id = %(other)s where user_id = %(member)s",
        DENIED,
    ),
    "a team member of another tenant": (
        "insert into identity.team_members (tenant_id, team_id, user_id)"
        " select tenant_id, team_id, %(stranger)s from identity.teams where tenant_id = %(tenant)s",
        REFERENCE,
    ),
    # Own tenant, wrong state.
    "no owner": (
        "update identity.memberships set role = 4 where tenant_id = %(tenant)s and role = 5",
        REFUSED,
    ),
    "no active owner": (
        "update identity.memberships set status = 'disabled' where tenant_id = %(tenant)s and role = 5",
        REFUSED,
    ),
    "everybody disabled at once": (
        "update identity.memberships set status = 'disabled' where tenant_id = %(tenant)s",
        REFUSED,
    ),
    "a sixth role": ("update identity.memberships set role = 6 where tenant_id = %(tenant)s", DENIED),
    "no role": (
        "update identity.memberships set role = 0 where tenant_id = %(tenant)s and user_id = %(member)s",
        CHECK,
    ),
    "another status": (
        "update identity.memberships set status = 'x' where tenant_id = %(tenant)s and user_id = %(member)s",
        CHECK,
    ),
    "one seat too many": (INVITE, FULL),
    "a session of somebody else ended": (
        "update identity.sessions set revoked_at = now(), revoked_reason = 'logout' where user_id <> %(owner)s",
        "0 rows",
    ),
}


@pytest.mark.parametrize(("statement", "expected"), AS_APP.values(), ids=AS_APP)
async def test_the_app_role_cannot_make(setting: Setting, statement: str, expected: str) -> None:
    async with as_owner(setting.house.database) as connection:
        await connection.execute(
            "insert into identity.teams (tenant_id, team_id, name) values (%s, %s, %s)",
            (setting.own.tenant_id, new_id(), new_address()),
        )
    async with setting.app() as connection:
        assert await refusal(connection, statement, setting.values()) == expected


CHANGES = {
    "a role": "update identity.memberships set role = 3 where tenant_id = %(tenant)s and user_id = %(member)s",
    "a status": (
        "update identity.memberships set status = 'disabled' where tenant_id = %(tenant)s and user_id = %(member)s"
    ),
    "an owner's role": "update identity.memberships set role = 4 where tenant_id = %(tenant)s and user_id = %(owner)s",
    "a rise to owner": "update identity.memberships set role = 5 where tenant_id = %(tenant)s and user_id = %(member)s",
    "an invitation": INVITE,
    "an owner's invitation": INVITE.replace(" 2,", " 5,"),
    "a team": "insert into identity.teams (tenant_id, team_id, name) values (%(tenant)s, %(new)s, %(email)s)",
}
# What a statement does by the caller's role, from viewer to owner: touches a row, touches none, or is refused.
MATRIX = {
    "a role": ["0 rows", "0 rows", "0 rows", "1 rows", "1 rows"],
    "a status": ["0 rows", "0 rows", "0 rows", "1 rows", "1 rows"],
    "an owner's role": ["0 rows", "0 rows", "0 rows", "0 rows", REFUSED],
    "a rise to owner": ["0 rows", "0 rows", "0 rows", DENIED, "1 rows"],
    "an invitation": [DENIED, DENIED, DENIED, "1 rows", "1 rows"],
    "an owner's invitation": [DENIED, DENIED, DENIED, DENIED, "1 rows"],
    "a team": [DENIED, DENIED, "1 rows", "1 rows", "1 rows"],
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("role", list(Role), ids=lambda role: role.name.lower())
async def test_sql_gives_no_more_rights_than_the_rpcs(house: House, what: str, role: Role) -> None:
    setting = Setting(house, await house.tenant("matrix"), await house.tenant("other"))
    async with as_owner(house.database) as connection:
        await connection.execute(
            "update identity.tenants set max_users_override = 9 where tenant_id = %s", (setting.own.tenant_id,)
        )
    async with setting.app(role) as connection:
        assert await refusal(connection, CHANGES[what], setting.values()) == MATRIX[what][role - 1]


async def test_nobody_sees_or_does_anything_without_a_context(house: House) -> None:
    await house.tenant("dark")
    async with as_role(house.database, "bulkhead_identity_app") as connection:
        for table in (
            "tenants",
            "memberships",
            "invitations",
            "teams",
            "team_members",
            "tenant_usage",
            "users",
            "sessions",
        ):
            cursor = await connection.execute(f"select count(*) from identity.{table}".encode())
            assert await cursor.fetchone() == (0,), table


async def test_a_person_sees_her_own_row_only(house: House) -> None:
    tenant = await house.tenant("row")
    me = tenant.people[Role.OWNER].user_id
    async with as_role(
        house.database, "bulkhead_identity_app", tenant_id=tenant.tenant_id, user_id=me, role=5
    ) as connection:
        cursor = await connection.execute("select user_id from identity.users")
        assert await cursor.fetchall() == [(me,)]


AS_OWNER = {
    "a disabled membership without who": (
        "update identity.memberships set status = 'disabled' where tenant_id = %(tenant)s and user_id = %(member)s",
        CHECK,
    ),
    "a member with rights who has left": (
        "update identity.memberships set left_at = now() where tenant_id = %(tenant)s and user_id = %(member)s",
        REFUSED,
    ),
    "a membership of another kind than its user": (
        "update identity.memberships set kind = 'service' where tenant_id = %(tenant)s and user_id = %(member)s",
        REFERENCE,
    ),
    "a person without an address": ("update identity.users set email = null where user_id = %(member)s", CHECK),
    "an address twice": (
        "update identity.users set email = upper((select email from identity.users where user_id = %(owner)s))"
        " where user_id = %(member)s",
        UNIQUE,
    ),
    "a deleted tenant without an end": (
        "update identity.tenants set status = 'deleted' where tenant_id = %(tenant)s",
        CHECK,
    ),
    "a live tenant with an end": (
        "update identity.tenants set deleted_at = now(), purge_after = now() where tenant_id = %(tenant)s",
        CHECK,
    ),
    "a slug with capitals": ("update identity.tenants set slug = 'ACME' where tenant_id = %(tenant)s", CHECK),
    "a slug twice": (
        "update identity.tenants set slug = (select slug from identity.tenants where tenant_id = %(other)s)"
        " where tenant_id = %(tenant)s",
        UNIQUE,
    ),
    "the platform's log as a tenant": (
        "insert into identity.tenants (tenant_id, slug, name) values (app.platform_log_id(), 'platform-log', 'X')",
        CHECK,
    ),
    "a tenant without an owner": (
        "insert into identity.tenants (tenant_id, slug, name) values (%(new)s, 'ownerless', 'X')",
        REFUSED,
    ),
    "a password in clear": (
        "update identity.user_credentials set password_hash = 'secret' where user_id = %(member)s",
        CHECK,
    ),
    "an invitation that begins accepted": (
        INVITE.replace("token_hash,", "token_hash, status,").replace("%(hash)s,", "%(hash)s, 'accepted',"),
        REFUSED,
    ),
    "a plan without a seat": ("update identity.plans set max_users = 0", CHECK),
    "a tenant on no plan": ("update identity.tenants set plan_code = 'gold' where tenant_id = %(tenant)s", REFERENCE),
    "a session that ended for no reason": ("update identity.sessions set revoked_at = now()", CHECK),
}


@pytest.mark.parametrize(("statement", "expected"), AS_OWNER.values(), ids=AS_OWNER)
async def test_not_even_the_owner_can_make(setting: Setting, statement: str, expected: str) -> None:
    await start_session(await setting.house.connection(), setting.own.people[Role.OWNER])
    async with as_owner(setting.house.database) as connection:
        # With all that a caller can be given. A trigger that asks for rights (guard_slug does; its refusal is held by
        # tenant/test_update.py) would answer first, and the constraint behind it could be gone without anybody seeing.
        await set_context(connection, role=Role.OWNER.value)
        assert await refusal(connection, statement, setting.values()) == expected


async def test_an_invitation_is_settled_once(house: House) -> None:
    tenant = await house.tenant("settled")
    async with as_owner(house.database) as connection:
        cursor = await connection.execute(
            "select invitation_id from identity.invitations where tenant_id = %s and status = 'accepted' limit 1",
            (tenant.tenant_id,),
        )
        row = await cursor.fetchone()
        assert row is not None
        for status in ("open", "revoked", "expired"):
            told = await refusal(
                connection,
                "update identity.invitations set status = %(status)s, accepted_at = null, accepted_by = null"
                " where tenant_id = %(tenant)s and invitation_id = %(invitation)s",
                {"status": status, "tenant": tenant.tenant_id, "invitation": row[0]},
            )
            assert told == REFUSED


async def test_two_live_invitations_for_one_address(house: House) -> None:
    tenant = await house.tenant("twice")
    async with as_owner(house.database) as connection:
        await connection.execute(
            "update identity.tenants set max_users_override = 9 where tenant_id = %s", (tenant.tenant_id,)
        )
    setting = Setting(house, tenant, tenant)
    values = setting.values()
    async with setting.app() as connection:
        assert await refusal(connection, INVITE, values) == "1 rows"
        again = {**setting.values(), "email": values["email"].upper()}
        assert await refusal(connection, INVITE, again) == UNIQUE


async def test_a_used_token_is_used_once(house: House) -> None:
    """By twenty callers at once, and by SQL as the tables' owner."""
    person, token = new_id(), secrets.token_bytes(32)
    async with as_role(house.database, "bulkhead_identity_app") as connection:
        await connection.execute(
            "select identity.sign_up(%s, %s, 'A', '$argon2id$x', %s, %s, interval '1 hour', %s, null)",
            (person, new_address(), new_id(), token, new_id()),
        )

    async def use() -> str:
        async with as_role(house.database, "bulkhead_identity_app") as connection:
            return await refusal(connection, "select identity.verify_email(%(token)s, null)", {"token": token})

    assert sorted(await asyncio.gather(*(use() for _ in range(20)))) == sorted(["1 rows"] + [REFUSED] * 19)


async def test_a_refresh_token_has_one_child(house: House) -> None:
    person = (await house.person()).user_id
    session, parent = new_id(), new_id()
    async with as_role(house.database, "bulkhead_identity_app") as connection:
        await connection.execute(
            "select identity.start_session("
            "%s, %s, interval '1 day', %s, %s, interval '1 day', null, null, %s, null, true, %s)",
            (session, person, parent, secrets.token_bytes(32), NO_PASSWORD, new_id()),
        )
    child = (
        "insert into identity.refresh_tokens (refresh_token_id, session_id, parent_id, token_hash, expires_at)"
        " values (%(new)s, %(session)s, %(parent)s, %(hash)s, now() + interval '1 day')"
    )
    async with as_owner(house.database) as connection:
        for parent_id, expected in ((parent, "1 rows"), (parent, UNIQUE), (None, UNIQUE)):
            values = {"new": new_id(), "session": session, "parent": parent_id, "hash": secrets.token_bytes(32)}
            assert await refusal(connection, child, values) == expected


async def test_more_projects_than_the_plan_allows(house: House) -> None:
    tenant, other = await house.tenant("projects"), await house.tenant("other")

    async def claim(for_tenant: UUID) -> str:
        async with as_role(house.database, "bulkhead_issues_app", tenant_id=tenant.tenant_id, role=3) as connection:
            return await refusal(connection, "select identity.claim_project(%(tenant)s)", {"tenant": for_tenant})

    assert sorted(await asyncio.gather(*(claim(tenant.tenant_id) for _ in range(10)))) == ["1 rows"] * 3 + [FULL] * 7
    assert await claim(other.tenant_id) == "BH005"
    async with as_role(house.database, "bulkhead_issues_app", tenant_id=tenant.tenant_id, role=3) as connection:
        await connection.execute("select identity.release_project(%s)", (tenant.tenant_id,))
    assert [await claim(tenant.tenant_id), await claim(tenant.tenant_id)] == ["1 rows", FULL]
