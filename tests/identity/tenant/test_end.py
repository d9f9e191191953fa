"""DeleteTenant and UndeleteTenant: gone at once, and back as it was."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
import psycopg
import pytest
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.identity.world import as_owner, as_role, events, set_status
from tests.support import people
from tests.support.builders import make_label
from tests.support.client import Client, reason_of, refused
from tests.support.house import House, Tenant

THIRTY_DAYS = 30 * 24 * 3600
GONE = ("NOT_FOUND", "RESOURCE_NOT_FOUND")


async def delete(tenant: Tenant, client: Client | None = None, **fields: Any) -> Any:
    request = {"tenant_id": str(tenant.tenant_id), "slug": tenant.slug, **fields}
    return await (client or tenant.owner).identity.DeleteTenant(**request)


async def owner_of(tenant: Tenant) -> Client:
    return await tenant.house.signed_in(tenant.people[Role.OWNER])


async def test_it_is_gone_for_everybody_and_comes_back_whole(house: House) -> None:
    tenant = await house.tenant("gone")
    label = await make_label(tenant.owner)
    tenant_id = str(tenant.tenant_id)
    deleted = await delete(tenant)
    assert (deleted.tenant_id, deleted.state) == (tenant_id, 3)
    assert deleted.purge_time.seconds - deleted.delete_time.seconds == THIRTY_DAYS
    for role in Role:
        member = tenant.member(role)
        for call in (
            member.identity.GetTenant(tenant_id=tenant_id),
            member.identity.ListMembers(),
            member.identity.GetUsage(),
            member.issues.GetLabel(label_id=label.label_id),
            member.issues.ListLabels(),
            house.service("issues", tenant.tenant_id).identity.ImportMembers(
                external_source="x", authors=[{"external_id": "1", "display_name": "A"}]
            ),
        ):
            with refused(*GONE):
                await call
    for role in Role:
        person = await house.signed_in(tenant.people[role])
        with refused(*GONE):
            await person.identity.SelectTenant(tenant_id=tenant_id)
        assert not (await person.identity.ListMyTenants()).tenants
        # Only who can bring it back still sees it, and only if she asks.
        shown = (await person.identity.ListMyTenants(show_deleted=True)).tenants
        assert [one.tenant_id for one in shown] == ([tenant_id] if role == Role.OWNER else [])
        assert all(one.state == 3 and one.purge_time == deleted.purge_time for one in shown)
    owner = await owner_of(tenant)
    back = await owner.identity.UndeleteTenant(tenant_id=tenant_id)
    assert (back.state, back.HasField("delete_time"), back.HasField("purge_time")) == (1, False, False)
    assert await tenant.owner.issues.GetLabel(label_id=label.label_id) == label
    assert await tenant.owner.identity.GetTenant(tenant_id=tenant_id) == back
    assert [action for action, *_ in await events(house.database, tenant.tenant_id)] == [
        "tenant.created",
        "tenant.deleted",
        "tenant.undeleted",
    ]


async def test_only_an_owner_and_only_by_its_slug(house: House) -> None:
    tenant, other = await house.tenant("confirm"), await house.tenant("confirm")
    for role in (Role.VIEWER, Role.MEMBER, Role.MANAGER, Role.ADMIN):
        with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
            await delete(tenant, tenant.member(role))
    for slug in (other.slug, tenant.slug.upper(), f"{tenant.slug} ", f"{tenant.slug}\0"):
        with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
            await delete(tenant, slug=slug)
        assert refusal.fields == ["slug"]
    with refused(*GONE):
        await delete(tenant, tenant_id=str(other.tenant_id), slug=other.slug)
    with refused("UNAUTHENTICATED", "TENANT_NOT_SELECTED"):
        await delete(tenant, await owner_of(tenant))
    forged = house.member(tenant.people[Role.ADMIN].user_id, tenant.tenant_id, Role.OWNER)
    with refused("UNAUTHENTICATED", "MEMBERSHIP_CHANGED"):
        await delete(tenant, forged)
    await set_status(house.database, tenant.tenant_id, "suspended")
    with refused("FAILED_PRECONDITION", "TENANT_SUSPENDED"):
        await delete(tenant)


async def test_a_repeat_is_answered_and_a_second_finds_nothing(house: House) -> None:
    tenant = await house.tenant("twice")
    request_id = str(new_id())
    replies = await asyncio.gather(*(delete(tenant, request_id=request_id) for _ in range(4)))
    assert all(reply == replies[0] for reply in replies)
    with refused(*GONE):
        await delete(tenant)
    owner, request = await owner_of(tenant), {"tenant_id": str(tenant.tenant_id), "request_id": str(new_id())}
    back = await asyncio.gather(*(owner.identity.UndeleteTenant(**request) for _ in range(4)))
    assert all(reply == back[0] for reply in back)
    with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
        await owner.identity.UndeleteTenant(**{**request, "tenant_id": str(new_id())})


class TestUndelete:
    async def test_is_for_active_owners(self, house: House) -> None:
        tenant = await house.tenant("back")
        await delete(tenant)
        tenant_id = str(tenant.tenant_id)
        others = [await house.signed_in(tenant.people[role]) for role in Role if role != Role.OWNER]
        others += [await house.signed_in(await house.person())]
        for person in others:
            with refused(*GONE) as theirs:
                await person.identity.UndeleteTenant(tenant_id=tenant_id)
            with refused(*GONE) as nobodys:
                await person.identity.UndeleteTenant(tenant_id=str(new_id()))
            assert theirs.status == nobodys.status
        with refused("PERMISSION_DENIED", "CALLER_NOT_ALLOWED"):
            await house.service("issues").identity.UndeleteTenant(tenant_id=tenant_id)

    async def test_of_a_live_one_is_refused(self, house: House) -> None:
        tenant = await house.tenant("live")
        with refused("ALREADY_EXISTS", "NOT_DELETED"):
            await (await owner_of(tenant)).identity.UndeleteTenant(tenant_id=str(tenant.tenant_id))
        with refused(*GONE):
            admin = await house.signed_in(tenant.people[Role.ADMIN])
            await admin.identity.UndeleteTenant(tenant_id=str(tenant.tenant_id))

    async def test_ends_with_the_purge_time(self, house: House) -> None:
        tenant = await house.tenant("late")
        await delete(tenant)
        async with as_owner(house.database) as connection:
            await connection.execute(
                "update identity.tenants set purge_after = now() where tenant_id = %s", (tenant.tenant_id,)
            )
        owner = await owner_of(tenant)
        with refused(*GONE):
            await owner.identity.UndeleteTenant(tenant_id=str(tenant.tenant_id))
        assert not (await owner.identity.ListMyTenants(show_deleted=True)).tenants

    async def test_needs_an_id(self, house: House) -> None:
        with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
            await house.user(new_id()).identity.UndeleteTenant(tenant_id="x")

    async def test_a_stranger_keeps_nobody_waiting(self, house: House) -> None:
        """She is refused without a lock, so whoever writes in the tenant does not notice."""
        tenant, stranger = await house.tenant("wait"), await house.person()
        async with as_role(house.database, "bulkhead_identity_app", user_id=stranger.user_id) as connection:
            with pytest.raises(psycopg.Error, match="RESOURCE_NOT_FOUND"):
                async with connection.transaction():
                    await connection.execute("select identity.undelete_tenant(%s)", (tenant.tenant_id,))
            cursor = await connection.execute(
                "select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'"
            )
            assert await cursor.fetchone() == (0,)


async def test_a_member_cannot_end_it_by_sql(house: House) -> None:
    """The function believes the context's user, and checks her standing like every call's."""
    tenant = await house.tenant("function")
    for role, told in ((Role.ADMIN, Role.ADMIN), (Role.ADMIN, Role.OWNER), (Role.VIEWER, Role.OWNER)):
        async with as_role(house.database, "bulkhead_identity_app", user_id=tenant.people[role].user_id) as connection:
            with pytest.raises(psycopg.Error, match=r"MEMBERSHIP_CHANGED|ROLE_TOO_LOW"):
                async with connection.transaction():
                    await connection.execute(
                        "select identity.delete_tenant(%s, %s, %s::smallint, 1)",
                        (tenant.tenant_id, tenant.slug, told.value),
                    )


ROUNDS = 12


async def test_nothing_is_written_after_it_is_gone(house: House) -> None:
    """Writers of every role in two services while the owner deletes: what is acknowledged was there before."""
    for _ in range(ROUNDS):
        tenant = await house.tenant("race")
        writers = [asyncio.create_task(_keep_writing(tenant, role)) for role in (Role.OWNER, Role.ADMIN, Role.MANAGER)]
        async with asyncio.timeout(60):
            while not _labels(house, tenant):  # noqa: ASYNC110 - rows tell nobody
                await asyncio.sleep(0.01)
        await delete(tenant)
        at_its_end = _labels(house, tenant)
        await asyncio.gather(*writers)
        assert _labels(house, tenant) == at_its_end > 0


async def _keep_writing(tenant: Tenant, role: Role) -> None:
    refusal = ""
    while not refusal:
        try:
            await make_label(tenant.member(role))
        except grpc.aio.AioRpcError as error:
            refusal = reason_of(error)
    assert refusal == "RESOURCE_NOT_FOUND"


def _labels(house: House, tenant: Tenant) -> int:
    with psycopg.connect(house.database.admin_dsn) as connection:
        row = connection.execute(
            "select count(*) from issues.labels where tenant_id = %s", (tenant.tenant_id,)
        ).fetchone()
    assert row is not None
    return int(row[0])


async def test_what_is_half_deleted_cannot_be(house: House) -> None:
    tenant = await house.tenant("half")
    for half in ("status = 'deleted'", "deleted_at = now()", "deleted_at = now(), purge_after = now()"):
        async with as_owner(house.database) as connection:
            change = f"update identity.tenants set {half} where tenant_id = %s"
            with pytest.raises(psycopg.errors.CheckViolation):
                async with connection.transaction():
                    await connection.execute(change.encode(), (tenant.tenant_id,))


async def test_members_of_a_deleted_tenant_keep_their_others(house: House) -> None:
    gone, kept = await house.tenant("gone"), await house.tenant("kept")
    kept.lift_limits()
    person = gone.people[Role.MEMBER]
    await people.add_member(await house.connection(), kept.tenant_id, kept.people[Role.OWNER], person, Role.MEMBER)
    await delete(gone)
    (found,) = (await house.user(person.user_id).identity.ListMyTenants()).tenants
    assert found.tenant_id == str(kept.tenant_id)
