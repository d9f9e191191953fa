"""How many tenants one person makes."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import grpc.aio
import psycopg
import pytest
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from google.rpc import error_details_pb2

from tests.identity.platform.world import administrator
from tests.identity.world import as_owner, as_role
from tests.support.client import Client, reason_of, refused
from tests.support.house import House

LIMIT = 10
AN_HOUR = 20


async def make(client: Client, **fields: Any) -> Any:
    slug = f"m-{new_id().hex[-12:]}"
    return await client.identity.CreateTenant(tenant={"slug": slug, "name": "Many"}, **fields)


async def outcome(call: Any) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    return "made"


async def let_an_hour_pass(house: House, user_id: Any) -> None:
    async with as_owner(house.database) as connection:
        # Triggers stamp, and keep, when a row was made.
        await connection.execute("alter table identity.tenants disable trigger aa_stamp")
        await connection.execute(
            "update identity.tenants set created_at = created_at - interval '1 hour' where created_by = %s", (user_id,)
        )
        await connection.execute("alter table identity.tenants enable trigger aa_stamp")


async def test_of_fifty_at_once_ten_are_made(house: House) -> None:
    person = await house.person()
    client = house.user(person.user_id)
    told = Counter(await asyncio.gather(*(outcome(make(client)) for _ in range(50))))
    assert told == {"made": LIMIT, "PLAN_LIMIT_REACHED": 40}
    assert len((await client.identity.ListMyTenants()).tenants) == LIMIT
    with refused("RESOURCE_EXHAUSTED", "PLAN_LIMIT_REACHED") as refusal:
        await make(client)
    assert refusal.metadata == {"limit": "tenants", "value": "10", "used": "10"}
    quota = error_details_pb2.QuotaFailure()
    assert any(detail.Unpack(quota) for detail in refusal.status.details)
    assert quota.violations[0].subject == "tenants"
    # Others are not concerned.
    await make(house.user((await house.person()).user_id))


async def test_a_repeat_of_the_tenth_is_answered(house: House) -> None:
    client = house.user((await house.person()).user_id)
    for _ in range(LIMIT - 1):
        await make(client)
    request = {"tenant": {"slug": f"m-{new_id().hex[-12:]}", "name": "Last"}, "request_id": str(new_id())}
    made = await client.identity.CreateTenant(**request)
    assert await client.identity.CreateTenant(**request) == made


async def test_a_deleted_one_counts_until_it_is_gone_for_good(house: House) -> None:
    person = await house.person()
    client = house.user(person.user_id)
    made = [await make(client) for _ in range(LIMIT)]
    owner = house.member(person.user_id, made[0].tenant_id, Role.OWNER)
    await owner.identity.DeleteTenant(tenant_id=made[0].tenant_id, slug=made[0].slug)
    with refused("RESOURCE_EXHAUSTED", "PLAN_LIMIT_REACHED"):
        await make(client)
    # So what comes back is never one too many.
    await client.identity.UndeleteTenant(tenant_id=made[0].tenant_id)
    with refused("RESOURCE_EXHAUSTED", "PLAN_LIMIT_REACHED"):
        await make(client)
    await owner.identity.DeleteTenant(tenant_id=made[0].tenant_id, slug=made[0].slug)
    async with as_owner(house.database) as connection:
        await connection.execute(
            "update identity.tenants set deleted_at = now() - interval '31 days', purge_after = now()"
            " where tenant_id = %s",
            (made[0].tenant_id,),
        )
    told = Counter(await asyncio.gather(*(outcome(make(client)) for _ in range(3))))
    assert told == {"made": 1, "PLAN_LIMIT_REACHED": 2}
    with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
        await client.identity.UndeleteTenant(tenant_id=made[0].tenant_id)


async def test_one_given_away_counts_for_who_made_it(house: House) -> None:
    tenant, heir = await house.tenant("given"), await house.person("Heir")
    maker = tenant.people[Role.OWNER]
    await tenant.owner.identity.ChangeRole(user_id=str(tenant.people[Role.ADMIN].user_id), role=Role.OWNER.value)
    for client, fits in ((house.user(maker.user_id), LIMIT - 1), (house.user(heir.user_id), LIMIT)):
        told = Counter([await outcome(make(client)) for _ in range(LIMIT + 1)])
        assert told["made"] == fits


class TestSetTenantLimit:
    async def test_the_platform_raises_and_lowers_it_and_the_rate_holds(self, house: House) -> None:
        (client, admin), person = await administrator(house), await house.person()
        many = house.user(person.user_id)
        made = await client.identity.SetTenantLimit(user_id=str(person.user_id), max_tenants=100)
        assert (made.user_id, made.max_tenants, made.tenants) == (str(person.user_id), 100, 0)
        told = Counter(await asyncio.gather(*(outcome(make(many)) for _ in range(AN_HOUR + 5))))
        assert told == {"made": AN_HOUR, "RATE_LIMITED": 5}
        with refused("RESOURCE_EXHAUSTED", "RATE_LIMITED") as refusal:
            await make(many)
        assert refusal.metadata == {"limit": "tenants", "rate": "20/3600s"}
        wait = error_details_pb2.RetryInfo()
        assert any(detail.Unpack(wait) for detail in refusal.status.details)
        assert 0 < wait.retry_delay.seconds <= 3600
        await let_an_hour_pass(house, person.user_id)
        await make(many)
        lowered = await client.identity.SetTenantLimit(user_id=str(person.user_id), max_tenants=3)
        assert (lowered.max_tenants, lowered.tenants) == (3, AN_HOUR + 1)
        with refused("RESOURCE_EXHAUSTED", "PLAN_LIMIT_REACHED"):
            await make(many)
        # What they have stays; the same number again is no event.
        assert await client.identity.SetTenantLimit(user_id=str(person.user_id), max_tenants=3) == lowered
        async with as_role(house.database, "bulkhead_identity_relay") as connection:
            cursor = await connection.execute(
                "select action, actor_id, changes -> 'max_tenants' from identity.outbox"
                " where entity_type = 'tenant_allowance' and entity_id = %s order by outbox_id",
                (person.user_id,),
            )
            assert await cursor.fetchall() == [
                ("tenant_allowance.created", admin.user_id, [None, 100]),
                ("tenant_allowance.updated", admin.user_id, [100, 3]),
            ]

    async def test_is_for_administrators_and_persons(self, house: House) -> None:
        (client, _), tenant = await administrator(house), await house.tenant("limited")
        person = str(tenant.people[Role.MEMBER].user_id)
        for other in (tenant.owner, house.user(tenant.people[Role.OWNER].user_id)):
            with refused("PERMISSION_DENIED", "CALLER_NOT_ALLOWED"):
                await other.identity.SetTenantLimit(user_id=person, max_tenants=50)
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
            await client.identity.SetTenantLimit(user_id=str(new_id()), max_tenants=50)
        for wrong in (-1, 100_001):
            with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
                await client.identity.SetTenantLimit(user_id=person, max_tenants=wrong)
        none = await client.identity.SetTenantLimit(user_id=person, max_tenants=0)
        assert none.max_tenants == 0
        with refused("RESOURCE_EXHAUSTED", "PLAN_LIMIT_REACHED"):
            await make(house.user(tenant.people[Role.MEMBER].user_id))


@pytest.mark.parametrize(
    "statement",
    [
        "select identity.set_tenant_limit(%(user)s, 1000)",
        "insert into identity.tenant_allowances (user_id, max_tenants) values (%(user)s, 1000)",
        "update identity.tenant_allowances set max_tenants = 1000",
        "select identity.tenants_of(%(user)s)",
        "select identity.spread_face(%(user)s, 10)",
        "insert into identity.tenants (tenant_id, slug, name) values (gen_random_uuid(), 'past-the-limit', 'x')",
    ],
)
async def test_the_service_has_no_way_past_it(house: House, statement: str) -> None:
    person = await house.person()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with as_role(house.database, "bulkhead_identity_app", user_id=person.user_id) as connection:
            await connection.execute(statement.encode(), {"user": person.user_id})
