"""In a suspended tenant a stolen key, a fired member, an invitation and support are still shut out, at once."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.identity.api_key.keys import is_refused_everywhere, make_key
from tests.identity.platform.world import administrator, helper_in
from tests.identity.world import as_role, events, new_address, set_plan, set_status
from tests.support.client import refused
from tests.support.house import House, Tenant

OUT = ("UNAUTHENTICATED", "MEMBERSHIP_CHANGED")


async def test_they_are_out_when_the_call_returns(house: House) -> None:
    tenant, (platform, _) = await house.tenant("shut"), await administrator(house)
    await set_plan(house.database, tenant.tenant_id, users=10)
    owner, tenant_id = tenant.owner.identity, str(tenant.tenant_id)
    key, (helper, _, grant) = await make_key(tenant.owner, role=3), await helper_in(tenant)
    janitor = house.with_token((await make_key(tenant.owner, role=4)).key).identity
    invitation = await owner.InviteMember(email=new_address(), role=2)
    fired, leaver = tenant.people[Role.ADMIN].user_id, tenant.people[Role.MANAGER].user_id
    await platform.identity.SuspendTenant(tenant_id=tenant_id, reason="Unpaid.")

    await owner.RevokeApiKey(api_key_id=key.api_key.api_key_id)
    await is_refused_everywhere(house, key.key)
    await owner.DisableMember(user_id=str(fired))
    with refused(*OUT):
        await tenant.member(Role.ADMIN).issues.ListLabels()
    await owner.RevokeSupportAccess()
    with refused(*OUT):
        await helper.issues.ListLabels()
    assert (await janitor.RevokeInvitation(invitation_id=invitation.invitation_id)).state == 3
    with refused("FAILED_PRECONDITION", "TENANT_SUSPENDED"):
        await janitor.UpdateTenant(tenant={"tenant_id": tenant_id, "description": "Ours."})
    await house.user(leaver).identity.LeaveTenant(tenant_id=tenant_id)
    with refused(*OUT):
        await tenant.member(Role.MANAGER).issues.ListLabels()

    ended = {
        key.api_key.api_key_id: "api_key.revoked",
        str(fired): "member.updated",
        str(grant.grant_id): "support_grant.revoked",
        invitation.invitation_id: "invitation.revoked",
        str(leaver): "member.updated",
    }
    for entity, action in ended.items():
        assert action in [told for told, *_ in await events(house.database, entity)]
    usage = await owner.GetUsage()
    assert (usage.active_members, usage.open_invitations) == (3, 0)


async def test_what_they_keep_while_suspended(house: House) -> None:
    """The last owner stays, nobody reaches above herself, and of a deleted tenant there is nothing to close."""
    tenant = await house.tenant("kept")
    owner = str(tenant.people[Role.OWNER].user_id)
    await set_status(house.database, tenant.tenant_id, "suspended")
    with refused("FAILED_PRECONDITION", "LAST_OWNER"):
        await tenant.owner.identity.DisableMember(user_id=owner)
    with refused("PERMISSION_DENIED", "ROLE_ABOVE_OWN"):
        await tenant.member(Role.ADMIN).identity.DisableMember(user_id=owner)
    with refused(*OUT):
        await house.member(new_id(), tenant.tenant_id, Role.OWNER).identity.DisableMember(user_id=owner)
    await set_status(house.database, tenant.tenant_id, "deleted")
    with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as refusal:
        await tenant.owner.identity.DisableMember(user_id=owner)
    assert refusal.metadata == {"resource": "tenant"}


async def test_it_is_fenced_like_every_write(house: House) -> None:
    """Nothing is closed after DeleteTenant has returned, nor by who was disabled herself."""
    tenant = await house.tenant("fenced")
    await set_status(house.database, tenant.tenant_id, "suspended")
    admin = tenant.people[Role.ADMIN].user_id
    with psycopg.connect(house.database.admin_dsn, autocommit=True) as other:
        async with as_role(house.database, "bulkhead_identity_app") as connection:
            await connection.execute(
                "select from identity.check_closing(%s, %s, 4::smallint, 1)", (tenant.tenant_id, admin)
            )
            assert _free(other, tenant, admin) == (False, False)
        assert _free(other, tenant, admin) == (True, True)


def _free(connection: psycopg.Connection, tenant: Tenant, user_id: UUID) -> tuple[bool, bool]:
    """Whether who changes the tenant's or the member's state would have to wait for nobody."""
    row = connection.execute(
        "select pg_try_advisory_xact_lock(identity.tenant_key(%s)),"
        " pg_try_advisory_xact_lock(identity.membership_key(%s, %s))",
        (tenant.tenant_id, tenant.tenant_id, user_id),
    ).fetchone()
    assert row is not None
    return row[0], row[1]


@pytest.mark.parametrize("service", ["issues", "audit"])
async def test_other_services_have_no_such_way_in(house: House, service: str) -> None:
    async with as_role(house.database, f"bulkhead_{service}_app") as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("select from identity.check_closing(%s, %s, 5::smallint, 1)", (new_id(), new_id()))
