"""UpdateTenant and GetUsage."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
import psycopg
import pytest
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from google.protobuf import json_format, struct_pb2

from tests.identity.tenant.test_tenants import new_slug
from tests.identity.world import as_role, events, set_plan, set_status
from tests.support.client import refused
from tests.support.house import House, Tenant


def struct(**values: Any) -> struct_pb2.Struct:
    return json_format.ParseDict(values, struct_pb2.Struct())


async def update(tenant: Tenant, role: Role = Role.ADMIN, **fields: Any) -> Any:
    """With a mask of these fields, so that an empty value is written too."""
    paths = [name for name in fields if name != "etag"]
    return await tenant.member(role).identity.UpdateTenant(
        tenant={"tenant_id": str(tenant.tenant_id), **fields}, update_mask={"paths": paths}
    )


FIELDS: dict[str, Any] = {
    "name": "Söhne & Co",
    "domain": "example.com",
    "description": "Ships.\nAnd bulkheads.",
    "logo_url": "https://example.com/logo.png",
    "website_url": "http://example.com/?a=b#c",
    "industry": "Ship building",
    "size": 3,
}


async def test_what_is_written_is_read(house: House) -> None:
    tenant = await house.tenant("update")
    branding, settings = struct(color="#123456", dark=True), struct(week={"begins": 1})
    changed = await update(tenant, **FIELDS, branding=branding, settings=settings)
    assert {name: getattr(changed, name) for name in FIELDS} == FIELDS
    assert (changed.branding, changed.settings, changed.slug) == (branding, settings, tenant.slug)
    assert await tenant.member(Role.VIEWER).identity.GetTenant(tenant_id=str(tenant.tenant_id)) == changed
    ((_, _, changes),) = [one for one in await events(house.database, tenant.tenant_id) if one[0] == "tenant.updated"]
    assert changes["industry"] == [None, "Ship building"]
    assert set(changes) == {*FIELDS, "branding", "settings"}


async def test_the_mask_says_what_is_written(house: House) -> None:
    tenant = await house.tenant("mask")
    await update(tenant, **FIELDS)
    admin, tenant_id = tenant.member(Role.ADMIN).identity, str(tenant.tenant_id)
    kept = await admin.UpdateTenant(tenant={"tenant_id": tenant_id, "industry": "Harbours"})
    assert (kept.industry, kept.domain, kept.size) == ("Harbours", "example.com", 3)
    emptied = await update(tenant, domain="", size=0, logo_url="", website_url="", industry="", description="")
    assert (emptied.domain, emptied.size, emptied.logo_url, emptied.description) == ("", 0, "", "")
    unchanged = await admin.UpdateTenant(tenant={"tenant_id": tenant_id})
    assert unchanged == emptied
    for path in ("state", "plan_code", "tenant_id", "etag", "purge_time", "nothing", "branding.color"):
        with refused("INVALID_ARGUMENT", "INVALID_UPDATE_MASK"):
            await admin.UpdateTenant(tenant={"tenant_id": tenant_id}, update_mask={"paths": [path]})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", " "),
        ("name", "a\nb"),
        ("slug", "Ab"),
        ("slug", ""),
        ("slug", "xn--acme"),
        ("slug", "admin"),
        ("domain", "no domain"),
        ("domain", "x" * 64 + ".example"),
        ("description", "x" * 2001),
        ("description", "\x00"),
        ("logo_url", "javascript:alert(1)"),
        ("logo_url", "http://example.com/logo.png"),
        ("logo_url", "https://ann@example.com/logo.png"),
        ("logo_url", "https://"),
        ("logo_url", "https://[::1"),
        ("website_url", "example.com"),
        ("website_url", "data:text/html,x"),
        ("website_url", "https://example.com/\nx"),
        ("website_url", "https://" + "x" * 2000),
        ("industry", "x" * 101),
        ("size", 9),
        ("branding", struct(a="x" * 9000)),
        ("settings", struct(a=[1.0] * 5000)),
        ("settings", struct(a="\x00")),
        ("etag", "v1"),
    ],
)
async def test_what_is_wrong_is_named(house: House, field: str, value: Any) -> None:
    tenant = await house.tenant("wrong")
    with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
        await update(tenant, Role.OWNER, **{"description": "", field: value})
    assert refusal.fields == [f"tenant.{field}"]


async def test_what_is_short_enough_as_json_fits(house: House) -> None:
    """However much room the database gives to each of many numbers."""
    tenant = await house.tenant("numbers")
    many = struct(a=[0.0] * 1600)
    changed = await update(tenant, Role.OWNER, branding=many, settings=many)
    assert changed.branding == changed.settings == many


async def test_who_may(house: House) -> None:
    tenant, other = await house.tenant("may"), await house.tenant("may-not")
    for role in (Role.VIEWER, Role.MEMBER, Role.MANAGER):
        with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
            await update(tenant, role, industry="x")
    with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
        await tenant.owner.identity.UpdateTenant(tenant={"tenant_id": str(other.tenant_id), "industry": "x"})
    with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
        await tenant.owner.identity.UpdateTenant(tenant={"industry": "x"})
    await set_status(house.database, tenant.tenant_id, "suspended")
    with refused("FAILED_PRECONDITION", "TENANT_SUSPENDED"):
        await update(tenant, industry="x")


async def test_a_repeat_is_answered_alike(house: House) -> None:
    tenant = await house.tenant("again")
    request = {"tenant": {"tenant_id": str(tenant.tenant_id), "industry": "x"}, "request_id": str(new_id())}
    replies = await asyncio.gather(*(tenant.owner.identity.UpdateTenant(**request) for _ in range(4)))
    assert all(reply == replies[0] for reply in replies)
    with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
        await tenant.owner.identity.UpdateTenant(**{**request, "tenant": {"tenant_id": str(tenant.tenant_id)}})


async def test_of_two_who_read_the_same_one_writes(house: House) -> None:
    tenant = await house.tenant("etag")
    etag = (await tenant.owner.identity.GetTenant(tenant_id=str(tenant.tenant_id))).etag

    async def one(name: str) -> str:
        try:
            await update(tenant, industry=name, etag=etag)
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "written"

    assert sorted(await asyncio.gather(*map(one, "abcd"))) == ["ABORTED", "ABORTED", "ABORTED", "written"]
    with refused("ABORTED", "ETAG_MISMATCH"):
        await update(tenant, etag=etag)


async def test_the_slug_is_the_owners_and_nobody_elses(house: House) -> None:
    tenant, other = await house.tenant("slug"), await house.tenant("slug")
    wanted = new_slug()
    with refused("PERMISSION_DENIED", "ROLE_TOO_LOW") as refusal:
        await update(tenant, Role.ADMIN, slug=wanted)
    assert refusal.metadata == {"least_role": "OWNER"}
    assert (await update(tenant, Role.ADMIN, slug=tenant.slug)).slug == tenant.slug
    with refused("ALREADY_EXISTS", "ALREADY_TAKEN"):
        await update(tenant, Role.OWNER, slug=other.slug)
    assert (await update(tenant, Role.OWNER, slug=wanted)).slug == wanted
    assert (await update(other, Role.OWNER, slug=tenant.slug)).slug == tenant.slug


class TestUsage:
    async def test_counts_what_limits_count(self, house: House) -> None:
        tenant = await house.tenant("usage")
        await set_plan(house.database, tenant.tenant_id, users=9)
        await tenant.owner.identity.InviteMember(email=f"{new_slug()}@example.com", role=1)
        for role in Role:
            usage = await tenant.member(role).identity.GetUsage()
            assert (usage.plan_code, usage.plan_name) == ("free", "Free")
            assert (usage.active_members, usage.open_invitations) == (5, 1)
            assert [(one.limit, one.used, one.value, one.source) for one in usage.limits] == [
                ("users", 6, 9, 2),
                ("projects", 0, 3, 1),
                ("storage_bytes", 0, 1 << 30, 1),
            ]

    async def test_no_limit_is_no_value(self, house: House) -> None:
        tenant = await house.tenant("boundless")
        tenant.lift_limits()
        usage = await tenant.owner.identity.GetUsage()
        assert not any(one.HasField("value") for one in usage.limits)

    async def test_it_is_the_own_tenants(self, house: House) -> None:
        tenant = await house.tenant("usage")
        with refused("UNAUTHENTICATED", "TENANT_NOT_SELECTED"):
            await house.user(tenant.people[Role.OWNER].user_id).identity.GetUsage()
        with refused("UNAUTHENTICATED", "TOKEN_MISSING"):
            await house.nobody().identity.GetUsage()


@pytest.mark.parametrize("column", ["status", "status_reason", "deleted_at", "purge_after", "plan_code", "version"])
async def test_no_role_reaches_past_the_grants(house: House, column: str) -> None:
    tenant = await house.tenant("sql")
    async with as_role(house.database, "bulkhead_identity_app", tenant_id=tenant.tenant_id, role=5) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(f"update identity.tenants set {column} = {column}".encode())


@pytest.mark.parametrize("role", range(7))
async def test_sql_writes_by_role(house: House, role: int) -> None:
    tenant = await house.tenant("sql")
    context = {"tenant_id": tenant.tenant_id, "user_id": tenant.people[Role.OWNER].user_id, "role": role}
    async with as_role(house.database, "bulkhead_identity_app", **context) as connection:
        cursor = await connection.execute("update identity.tenants set industry = 'x'")
        assert cursor.rowcount == int(role >= 4)
    async with as_role(house.database, "bulkhead_identity_app", **context) as connection:
        change = connection.execute("update identity.tenants set slug = %s", (new_slug(),))
        if role == 4:
            with pytest.raises(psycopg.Error, match="ROLE_TOO_LOW"):
                await change
        else:
            assert (await change).rowcount == int(role > 4)
