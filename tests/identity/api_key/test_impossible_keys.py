"""Keys and accounts that data-model.md calls impossible, each tried by SQL."""

from __future__ import annotations

import secrets
from typing import Any

import psycopg
import pytest
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.identity.api_key.keys import make_key
from tests.identity.world import as_owner, as_role
from tests.support.house import House, Tenant

DENIED = "42501"
CHECK = "23514"


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("update identity.api_keys set revoked_at = null where api_key_id = %(revoked)s", "BH009"),
        ("update identity.api_keys set revoked_at = now() where api_key_id = %(revoked)s", "BH009"),
        ("update identity.api_keys set user_id = %(person)s where api_key_id = %(live)s", DENIED),
        ("update identity.api_keys set secret_hash = %(hash)s where api_key_id = %(live)s", DENIED),
        ("update identity.api_keys set expires_at = null where api_key_id = %(live)s", DENIED),
        ("update identity.api_keys set ip_ranges = '{}' where api_key_id = %(live)s", DENIED),
        ("update identity.api_keys set last_used_at = null where api_key_id = %(live)s", DENIED),
        ("update identity.api_keys set version = 1 where api_key_id = %(live)s", DENIED),
        ("update identity.memberships set version = 9 where user_id = %(account)s", DENIED),
        ("update identity.memberships set role = 5 where user_id = %(account)s", CHECK),
        ("update identity.memberships set kind = 'person' where user_id = %(account)s", DENIED),
        ("delete from identity.api_keys where api_key_id = %(live)s", DENIED),
        ("select secret_hash from identity.api_keys", DENIED),
        ("insert into identity.users (user_id, kind, full_name) values (%(new)s, 'service', 'x')", DENIED),
        ("select identity.create_service_account(%(new)s, 'x', 5::smallint)", CHECK),
        ("select identity.create_service_account(%(new)s, '', 2::smallint)", CHECK),
    ],
)
async def test_by_the_app_role(house: House, statement: str, expected: str) -> None:
    tenant = await house.tenant("impossible")
    values = await values_of(tenant)
    with pytest.raises(psycopg.DatabaseError) as refusal:
        async with acting(house, tenant, Role.OWNER) as connection:
            await connection.execute(statement.encode(), values)
    assert refusal.value.sqlstate == expected


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, ""),
        ({"user_id": "person"}, "BH003"),
        ({"user_id": "new"}, "23503"),
        ({"user_id": "disabled"}, "BH009"),
        ({"secret_hash": b"short"}, CHECK),
        ({"prefix": "bh_secret_and_all"}, CHECK),
        ({"display_name": ""}, CHECK),
        ({"expires_at": "2020-01-01"}, CHECK),
        ({"ip_ranges": ["10.0.0.0/8"] * 21}, CHECK),
        ({"ip_ranges": [None]}, CHECK),
        ({"ip_ranges": [["10.0.0.0/8"], ["11.0.0.0/8"]]}, CHECK),
    ],
)
async def test_keys_that_cannot_be(house: House, changed: dict[str, Any], expected: str) -> None:
    tenant = await house.tenant("cannot")
    values = await values_of(tenant)
    row = {
        "tenant_id": tenant.tenant_id,
        "api_key_id": values["new"],
        "user_id": values["account"],
        "display_name": "x",
        "prefix": "bh_aaaaaaaa",
        "secret_hash": values["hash"],
        "ip_ranges": [],
        "expires_at": None,
        **{name: values.get(value, value) if isinstance(value, str) else value for name, value in changed.items()},
    }
    statement = """
        insert into identity.api_keys (
            tenant_id, api_key_id, user_id, display_name, prefix, secret_hash, ip_ranges, expires_at
        ) values (
            %(tenant_id)s, %(api_key_id)s, %(user_id)s, %(display_name)s, %(prefix)s, %(secret_hash)s,
            cast(%(ip_ranges)s as cidr[]), %(expires_at)s
        )
    """
    if not expected:
        async with acting(house, tenant, Role.ADMIN) as connection:
            await connection.execute(statement, row)
        return
    with pytest.raises(psycopg.DatabaseError) as refusal:
        async with acting(house, tenant, Role.ADMIN) as connection:
            await connection.execute(statement, row)
    assert refusal.value.sqlstate == expected


async def test_who_revoked_and_when_is_not_the_callers_to_say(house: House) -> None:
    tenant = await house.tenant("stamped")
    values = await values_of(tenant)
    async with acting(house, tenant, Role.ADMIN) as connection:
        await connection.execute(
            "update identity.api_keys set revoked_at = '2001-01-01' where api_key_id = %(live)s", values
        )
        cursor = await connection.execute(
            "select revoked_at = now(), revoked_by from identity.api_keys where api_key_id = %(live)s", values
        )
        assert await cursor.fetchone() == (True, tenant.people[Role.ADMIN].user_id)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MEMBER, Role.MANAGER])
async def test_lower_roles_neither_see_nor_make_nor_end(house: House, role: Role) -> None:
    tenant = await house.tenant("lower")
    values = await values_of(tenant)
    async with acting(house, tenant, role) as connection:
        cursor = await connection.execute("select count(*) from identity.api_keys")
        assert await cursor.fetchone() == (0,)
        cursor = await connection.execute(
            "update identity.api_keys set revoked_at = now() where api_key_id = %(live)s", values
        )
        assert cursor.rowcount == 0
        with pytest.raises(psycopg.DatabaseError) as refusal:
            await connection.execute("select identity.create_service_account(%(new)s, 'x', 1::smallint)", values)
        assert refusal.value.sqlstate == "BH007"


@pytest.mark.parametrize(
    "role",
    [
        "bulkhead_identity_worker",
        "bulkhead_issues_worker",
        "bulkhead_identity_relay",
        "bulkhead_platform_app",
        "bulkhead_ops",
    ],
)
async def test_other_logins_find_no_keys(house: House, role: str) -> None:
    async with as_role(house.database, role) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("select * from identity.find_api_key('', null)")


async def test_the_owner_cannot_lift_an_account_either(house: House) -> None:
    tenant = await house.tenant("owner")
    values = await values_of(tenant)
    with pytest.raises(psycopg.errors.CheckViolation):
        async with as_owner(house.database) as connection:
            await connection.execute("update identity.memberships set role = 5 where user_id = %(account)s", values)


def acting(house: House, tenant: Tenant, role: Role) -> Any:
    return as_role(
        house.database,
        "bulkhead_identity_app",
        tenant_id=tenant.tenant_id,
        user_id=tenant.people[role].user_id,
        role=role.value,
        actor_type="person",
    )


async def values_of(tenant: Tenant) -> dict[str, Any]:
    live, revoked, disabled = [(await make_key(tenant.owner)).api_key for _ in range(3)]
    await tenant.owner.identity.RevokeApiKey(api_key_id=revoked.api_key_id)
    await tenant.owner.identity.DisableMember(user_id=disabled.user_id)
    return {
        "live": live.api_key_id,
        "revoked": revoked.api_key_id,
        "account": live.user_id,
        "disabled": disabled.user_id,
        "person": tenant.people[Role.MEMBER].user_id,
        "new": new_id(),
        "hash": secrets.token_bytes(32),
    }
