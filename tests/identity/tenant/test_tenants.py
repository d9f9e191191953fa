"""CreateTenant, GetTenant and ListMyTenants."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import grpc.aio
import pytest
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.identity.world import as_role, events, set_plan, set_status
from tests.support import people
from tests.support.client import reason_of, refused
from tests.support.house import House


def new_slug(word: str = "acme") -> str:
    return f"{word}-{new_id().hex[-12:]}"


async def test_its_maker_owns_it(house: House) -> None:
    person = await house.person("Ada")
    slug = new_slug()
    tenant = await house.user(person.user_id).identity.CreateTenant(
        tenant={"slug": slug, "name": " Acme & Söhne \U0001f98a"}
    )
    assert (tenant.slug, tenant.name, tenant.state, tenant.plan_code) == (slug, "Acme & Söhne \U0001f98a", 1, "free")
    owner = house.member(person.user_id, UUID(tenant.tenant_id), Role.OWNER)
    assert await owner.identity.GetTenant(tenant_id=tenant.tenant_id) == tenant
    (member,) = (await owner.identity.ListMembers()).members
    assert (member.user_id, member.role, member.display_name) == (str(person.user_id), Role.OWNER, "Ada")
    assert [action for action, _, _ in await events(house.database, tenant.tenant_id)] == ["tenant.created"]
    assert [
        (action, changes["role"])
        for action, _, changes in await events(house.database, person.user_id)
        if action == "member.created"
    ] == [("member.created", [None, "ROLE_OWNER"])]


async def test_a_repeat_makes_one(house: House) -> None:
    person = house.user((await house.person()).user_id)
    request: dict[str, Any] = {"tenant": {"slug": new_slug(), "name": "Acme"}, "request_id": str(new_id())}
    replies = await asyncio.gather(*(person.identity.CreateTenant(**request) for _ in range(4)))
    assert all(reply == replies[0] for reply in replies)
    assert len((await person.identity.ListMyTenants()).tenants) == 1
    with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
        await person.identity.CreateTenant(**{**request, "tenant": {"slug": new_slug(), "name": "Acme"}})


async def test_answers_are_kept_by_person(house: House) -> None:
    request: dict[str, Any] = {"tenant": {"slug": new_slug(), "name": "Acme"}, "request_id": str(new_id())}
    ann, eve = house.user((await house.person()).user_id), house.user((await house.person()).user_id)
    await ann.identity.CreateTenant(**request)
    with refused("ALREADY_EXISTS", "ALREADY_TAKEN"):
        await eve.identity.CreateTenant(**request)


async def test_a_slug_is_one_tenants(house: House) -> None:
    slug = new_slug()
    persons = [house.user((await house.person()).user_id) for _ in range(6)]

    async def one(person: Any) -> str:
        try:
            await person.identity.CreateTenant(tenant={"slug": slug, "name": "Acme"})
        except grpc.aio.AioRpcError as error:
            return reason_of(error)
        return "made"

    assert sorted(await asyncio.gather(*map(one, persons))) == ["ALREADY_TAKEN"] * 5 + ["made"]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"slug": ""}, "tenant.slug"),
        ({"slug": "ab"}, "tenant.slug"),
        ({"slug": "-acme"}, "tenant.slug"),
        ({"slug": "acme-"}, "tenant.slug"),
        ({"slug": "Acme"}, "tenant.slug"),
        ({"slug": "ac me"}, "tenant.slug"),
        ({"slug": "acme\n"}, "tenant.slug"),
        ({"slug": "a" * 64}, "tenant.slug"),
        ({"slug": "\u0430cme"}, "tenant.slug"),
        ({"slug": "admin"}, "tenant.slug"),
        ({"slug": "xn--acme"}, "tenant.slug"),
        ({"name": ""}, "tenant.name"),
        ({"name": "  "}, "tenant.name"),
        ({"name": "a\tb"}, "tenant.name"),
        ({"name": "\x00"}, "tenant.name"),
        ({"name": "x" * 101}, "tenant.name"),
        ({"tenant_id": "x"}, "tenant.tenant_id"),
        ({"description": "Ropes"}, "tenant.description"),
        ({"branding": {"color": "#123456"}}, "tenant.branding"),
    ],
)
async def test_what_is_wrong_is_named(house: House, changed: dict[str, Any], field: str) -> None:
    person = house.user((await house.person()).user_id)
    with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
        await person.identity.CreateTenant(tenant={"slug": new_slug(), "name": "Acme", **changed})
    assert field in refusal.fields


async def test_only_a_person_makes_one(house: House) -> None:
    with refused("UNAUTHENTICATED", "TOKEN_MISSING"):
        await house.nobody().identity.CreateTenant(tenant={"slug": new_slug(), "name": "Acme"})
    with refused("PERMISSION_DENIED", "CALLER_NOT_ALLOWED"):
        await house.service("issues").identity.CreateTenant(tenant={"slug": new_slug(), "name": "Acme"})
    with refused("UNAUTHENTICATED", "SESSION_ENDED"):
        await house.user(new_id()).identity.CreateTenant(tenant={"slug": new_slug(), "name": "Acme"})


async def test_every_member_sees_it_and_nobody_else(house: House) -> None:
    tenant, other = await house.tenant("own"), await house.tenant("other")
    for role in Role:
        found = await tenant.member(role).identity.GetTenant(tenant_id=str(tenant.tenant_id))
        assert found.slug == tenant.slug
    with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as theirs:
        await tenant.owner.identity.GetTenant(tenant_id=str(other.tenant_id))
    with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as nobodys:
        await tenant.owner.identity.GetTenant(tenant_id=str(new_id()))
    assert theirs.status == nobodys.status
    with refused("UNAUTHENTICATED", "TENANT_NOT_SELECTED"):
        await house.user(tenant.people[Role.OWNER].user_id).identity.GetTenant(tenant_id=str(tenant.tenant_id))
    with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
        await tenant.owner.identity.GetTenant(tenant_id="x")


async def test_a_token_for_a_tenant_one_is_no_member_of_is_worth_nothing(house: House) -> None:
    tenant, stranger = await house.tenant("closed"), await house.person()
    forged = house.member(stranger.user_id, tenant.tenant_id, Role.OWNER)
    with refused("UNAUTHENTICATED", "MEMBERSHIP_CHANGED"):
        await forged.identity.GetTenant(tenant_id=str(tenant.tenant_id))


class TestListMyTenants:
    async def test_pages_are_complete(self, house: House) -> None:
        person = house.user((await house.person()).user_id)
        made = [
            (await person.identity.CreateTenant(tenant={"slug": new_slug(), "name": f"T{i}"})).tenant_id
            for i in range(7)
        ]
        seen, token = [], ""
        while True:
            page = await person.identity.ListMyTenants(page_size=3, page_token=token)
            seen += [tenant.tenant_id for tenant in page.tenants]
            token = page.next_page_token
            if not token:
                break
        assert seen == made

    async def test_lists_what_one_can_enter(self, house: House) -> None:
        tenants = [await house.tenant(word) for word in ("suspended", "deleted", "left")]
        suspended, deleted, left = tenants
        person = await house.person()
        connection = await house.connection()
        for tenant in tenants:
            await set_plan(house.database, tenant.tenant_id, users=10)
            await people.add_member(connection, tenant.tenant_id, tenant.people[Role.OWNER], person, Role.MEMBER)
        await left.owner.identity.DisableMember(user_id=str(person.user_id))
        await set_status(house.database, suspended.tenant_id, "suspended")
        await set_status(house.database, deleted.tenant_id, "deleted")
        (found,) = (await house.user(person.user_id).identity.ListMyTenants()).tenants
        assert (found.tenant_id, found.state, found.role) == (str(suspended.tenant_id), 2, Role.MEMBER)

    async def test_a_page_token_is_its_owners(self, house: House) -> None:
        ann, eve = [house.user((await house.person()).user_id) for _ in range(2)]
        for _ in range(2):
            await ann.identity.CreateTenant(tenant={"slug": new_slug(), "name": "T"})
        token = (await ann.identity.ListMyTenants(page_size=1)).next_page_token
        for wrong in (token[:-1], "x", token + "A"):
            with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
                await ann.identity.ListMyTenants(page_token=wrong)
        with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
            await eve.identity.ListMyTenants(page_size=1, page_token=token)

    async def test_a_negative_page_is_refused(self, house: House) -> None:
        with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
            await house.user(new_id()).identity.ListMyTenants(page_size=-1)

    async def test_through_the_wall_there_is_nothing(self, house: House) -> None:
        tenant = await house.tenant("wall")
        owner = tenant.people[Role.OWNER].user_id
        async with as_role(house.database, "bulkhead_identity_app", user_id=owner) as connection:
            cursor = await connection.execute("select count(*) from identity.memberships")
            assert await cursor.fetchone() == (0,)
