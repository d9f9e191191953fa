"""ListTenants, SuspendTenant, ResumeTenant, ChangePlan and ListPlans: the platform's own role, and nothing more."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
import psycopg
import pytest
from bulkhead_cli import administration
from bulkhead_cli.errors import MendableError
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.identity.platform.world import administrator
from tests.identity.world import as_owner, as_role, events, set_status
from tests.support.builders import make_label, make_project, make_workspace
from tests.support.client import Client, reason_of, refused
from tests.support.house import House, Tenant
from tests.support.postgres import ScratchDatabase

PLATFORM_LOG = "00000000-0000-0000-0000-000000000001"
NOT_ALLOWED = ("PERMISSION_DENIED", "CALLER_NOT_ALLOWED")


async def find(client: Client, tenant: Tenant, **fields: Any) -> Any:
    reply = await client.identity.ListTenants(filter=f'slug = "{tenant.slug}"', **fields)
    return reply.tenants[0] if reply.tenants else None


async def acts(database: ScratchDatabase, tenant: Tenant) -> list[tuple[str, str, Any, dict[str, Any]]]:
    """What administrators did to the tenant, by the log it is in: the log, the action, by whom, the changes."""
    async with as_role(database, "bulkhead_identity_relay") as connection:
        cursor = await connection.execute(
            "select tenant_id::text, action, actor_id, changes from identity.outbox"
            " where entity_id = %s and rpc like 'bulkhead.identity.v1.PlatformService/%%' order by outbox_id",
            (tenant.tenant_id,),
        )
        return await cursor.fetchall()


class TestListTenants:
    async def test_shows_what_is_used_and_nothing_of_what_is_in_it(self, house: House) -> None:
        tenant, (client, _) = await house.tenant("listed"), await administrator(house)
        await tenant.owner.identity.UpdateTenant(
            tenant={"tenant_id": str(tenant.tenant_id), "domain": "example.com", "description": "secret plans"}
        )
        await make_project(tenant.owner)
        found = await find(client, tenant)
        assert (found.tenant_id, found.domain, found.plan_code) == (str(tenant.tenant_id), "example.com", "free")
        assert (found.active_members, found.open_invitations, found.projects, found.state) == (5, 0, 1, 1)
        assert "secret" not in str(found)

    async def test_pages_are_complete_and_filters_hold(self, house: House) -> None:
        client, _ = await administrator(house)
        tenants = [await house.tenant("paged") for _ in range(5)]
        await set_status(house.database, tenants[0].tenant_id, "suspended")
        await set_status(house.database, tenants[1].tenant_id, "deleted")

        async def slugs(**fields: Any) -> list[str]:
            found, token = [], ""
            while True:
                page = await client.identity.ListTenants(page_size=2, page_token=token, **fields)
                found += [tenant.slug for tenant in page.tenants]
                if not (token := page.next_page_token):
                    return found

        wanted = [tenant.slug for tenant in tenants]
        assert await slugs(filter='slug:"paged-*"') == [wanted[0], *wanted[2:]]
        assert await slugs(filter='slug:"paged-*"', show_deleted=True) == wanted
        assert await slugs(filter='slug:"paged-*" AND state = SUSPENDED') == wanted[:1]
        assert await slugs(filter='slug:"paged-*" AND state = DELETED', show_deleted=True) == wanted[1:2]
        assert await slugs(filter='slug:"paged-*" AND plan_code = "pro"') == []
        assert await slugs(filter=f'name = "{wanted[3].title()}"') == wanted[3:4]
        assert await slugs(filter='slug:"paged-*" AND create_time < 2020-01-01') == []
        for wrong in ("description = x", "state = SLEEPING", "slug ="):
            with refused("INVALID_ARGUMENT", "INVALID_FILTER"):
                await client.identity.ListTenants(filter=wrong)
        page = await client.identity.ListTenants(page_size=1)
        for other in ({"show_deleted": True}, {"filter": "state = ACTIVE"}):
            with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
                await client.identity.ListTenants(page_size=1, page_token=page.next_page_token, **other)
        with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
            await client.identity.ListTenants(page_size=-1)


async def test_the_plans_are_those_there_are(house: House) -> None:
    client, _ = await administrator(house)
    plans = {plan.code: plan for plan in (await client.identity.ListPlans()).plans}
    assert list(plans) == ["enterprise", "free", "pro"]
    assert (plans["free"].max_users, plans["free"].max_projects) == (5, 3)
    assert not plans["enterprise"].HasField("max_users")


class TestSuspend:
    async def test_stops_writes_and_leaves_reads(self, house: House) -> None:
        tenant, (client, person) = await house.tenant("stopped"), await administrator(house)
        label = await make_label(tenant.owner)
        tenant_id = str(tenant.tenant_id)
        stopped = await client.identity.SuspendTenant(tenant_id=tenant_id, reason="Unpaid since May.")
        assert (stopped.state, stopped.state_reason) == (2, "Unpaid since May.")
        for role in (Role.OWNER, Role.MANAGER):
            for write in (
                make_label(tenant.member(role)),
                house.service("issues", tenant.tenant_id).identity.ImportMembers(
                    external_source="x", authors=[{"external_id": "1", "display_name": "A"}]
                ),
            ):
                with refused("FAILED_PRECONDITION", "TENANT_SUSPENDED"):
                    await write
        assert (await tenant.owner.issues.GetLabel(label_id=label.label_id)) == label
        seen = await tenant.member(Role.VIEWER).identity.GetTenant(tenant_id=tenant_id)
        assert (seen.state, seen.state_reason, seen.HasField("state_change_time")) == (2, "Unpaid since May.", True)
        again = await client.identity.SuspendTenant(tenant_id=tenant_id, reason="Another.")
        assert again == stopped
        resumed = await client.identity.ResumeTenant(tenant_id=tenant_id)
        assert (resumed.state, resumed.state_reason) == (1, "")
        assert await client.identity.ResumeTenant(tenant_id=tenant_id) == resumed
        await make_label(tenant.owner)
        own = [(action, actor) for log, action, actor, _ in await acts(house.database, tenant) if log == tenant_id]
        assert own == [("tenant.updated", person.user_id)] * 2
        platform = [
            (action, changes) for log, action, _, changes in await acts(house.database, tenant) if log != tenant_id
        ]
        assert [action for action, _ in platform] == ["tenant.administered"] * 2
        assert platform[0][1]["state"] == ["STATE_ACTIVE", "STATE_SUSPENDED"]
        assert platform[0][1]["state_reason"] == [None, "Unpaid since May."]

    async def test_a_deleted_one_is_left_to_its_owners(self, house: House) -> None:
        tenant, (client, _) = await house.tenant("deleted"), await administrator(house)
        await set_status(house.database, tenant.tenant_id, "deleted")
        tenant_id = str(tenant.tenant_id)
        for call in (
            client.identity.SuspendTenant(tenant_id=tenant_id, reason="x"),
            client.identity.ResumeTenant(tenant_id=tenant_id),
            client.identity.ChangePlan(tenant_id=tenant_id, plan_code="pro"),
        ):
            with refused("FAILED_PRECONDITION", "STATE_NOT_ALLOWED") as refusal:
                await call
            assert refusal.metadata == {"state": "deleted"}

    async def test_what_is_wrong_is_named(self, house: House) -> None:
        client, _ = await administrator(house)
        for fields in ({"tenant_id": "x"}, {"reason": ""}, {"reason": " "}, {"reason": "a\nb"}, {"reason": "x" * 501}):
            with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
                await client.identity.SuspendTenant(**{"tenant_id": str(new_id()), "reason": "x", **fields})
        for call in (
            client.identity.SuspendTenant(tenant_id=str(new_id()), reason="x"),
            client.identity.ResumeTenant(tenant_id=str(new_id())),
            client.identity.ChangePlan(tenant_id=str(new_id()), plan_code="pro"),
        ):
            with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
                await call

    async def test_a_repeat_is_answered_alike(self, house: House) -> None:
        tenant, (client, _) = await house.tenant("twice"), await administrator(house)
        request = {"tenant_id": str(tenant.tenant_id), "reason": "x", "request_id": str(new_id())}
        replies = await asyncio.gather(*(client.identity.SuspendTenant(**request) for _ in range(4)))
        assert all(reply == replies[0] for reply in replies)
        await client.identity.ResumeTenant(tenant_id=str(tenant.tenant_id))
        assert await client.identity.SuspendTenant(**request) == replies[0]
        assert (await find(client, tenant)).state == 1
        with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
            await client.identity.SuspendTenant(**{**request, "reason": "y"})


class TestChangePlan:
    async def test_limits_follow_and_say_where_they_come_from(self, house: House) -> None:
        tenant, (client, _) = await house.tenant("plan"), await administrator(house)
        tenant_id = str(tenant.tenant_id)
        changed = await client.identity.ChangePlan(
            tenant_id=tenant_id, plan_code="pro", overrides={"max_users": 7, "max_storage_bytes": 0}
        )
        assert (changed.plan_code, changed.overrides.max_users, changed.overrides.HasField("max_projects")) == (
            "pro",
            7,
            False,
        )
        usage = await tenant.owner.identity.GetUsage()
        assert [(one.value, one.source) for one in usage.limits] == [(7, 2), (100, 1), (0, 2)]
        plain = await client.identity.ChangePlan(tenant_id=tenant_id, plan_code="free", etag=changed.etag)
        assert not plain.overrides.HasField("max_users")
        with refused("ABORTED", "ETAG_MISMATCH"):
            await client.identity.ChangePlan(tenant_id=tenant_id, plan_code="pro", etag=changed.etag)
        with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
            await client.identity.ChangePlan(tenant_id=tenant_id, plan_code="gold")
        assert refusal.fields == ["plan_code"]
        wrong = {"max_users": [0, 1_000_001], "max_projects": [-1, 1_000_001], "max_storage_bytes": [-1]}
        for limit, value in [(limit, value) for limit, values in wrong.items() for value in values]:
            with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
                await client.identity.ChangePlan(tenant_id=tenant_id, plan_code="pro", overrides={limit: value})
            assert refusal.fields == [f"overrides.{limit}"]

    async def test_below_what_is_used_nothing_new_fits(self, house: House) -> None:
        tenant, (client, _) = await house.tenant("small"), await administrator(house)
        workspace = await make_workspace(tenant.owner)
        await make_project(tenant.owner, workspace_id=workspace.workspace_id)
        await client.identity.ChangePlan(
            tenant_id=str(tenant.tenant_id), plan_code="free", overrides={"max_users": 2, "max_projects": 0}
        )
        assert len((await tenant.owner.identity.ListMembers()).members) == len(Role)
        usage = await tenant.owner.identity.GetUsage()
        assert [(one.used, one.value) for one in usage.limits][:2] == [(5, 2), (1, 0)]
        with refused("RESOURCE_EXHAUSTED", "PLAN_LIMIT_REACHED") as refusal:
            await tenant.owner.identity.InviteMember(email="new@example.com", role=1)
        assert refusal.metadata == {"limit": "users", "value": "2", "used": "5"}
        with refused("RESOURCE_EXHAUSTED", "PLAN_LIMIT_REACHED"):
            await make_project(tenant.owner, workspace_id=workspace.workspace_id)

    async def test_no_claim_slips_past_a_smaller_plan(self, house: House) -> None:
        """Invitations while the plan shrinks: after ChangePlan has answered none is added."""
        client, _ = await administrator(house)
        for _ in range(10):
            tenant = await house.tenant("shrink")
            tenant_id = str(tenant.tenant_id)
            await client.identity.ChangePlan(tenant_id=tenant_id, plan_code="enterprise")
            inviting = [asyncio.create_task(_keep_inviting(tenant)) for _ in range(3)]
            await asyncio.sleep(0.02)
            shrunk = await client.identity.ChangePlan(tenant_id=tenant_id, plan_code="free")
            await asyncio.gather(*inviting)
            assert (await find(client, tenant)).open_invitations == shrunk.open_invitations


async def _keep_inviting(tenant: Tenant) -> None:
    refusal = ""
    while not refusal:
        try:
            await tenant.owner.identity.InviteMember(email=f"{new_id()}@example.com", role=1)
        except grpc.aio.AioRpcError as error:
            refusal = reason_of(error)
    assert refusal == "PLAN_LIMIT_REACHED"


class TestAdministrators:
    async def test_are_looked_up_at_each_call(self, house: House) -> None:
        """Whatever the token says: who was made none yesterday does nothing today."""
        tenant, (client, person) = await house.tenant("former"), await administrator(house)
        tenant_id, admin = str(tenant.tenant_id), house.database.admin_dsn
        await client.identity.ListPlans()
        administration.set_administrator(admin, person.email.upper(), is_admin=False)
        for call in (
            client.identity.ListTenants(),
            client.identity.ListPlans(),
            client.identity.SuspendTenant(tenant_id=tenant_id, reason="x"),
            client.identity.ResumeTenant(tenant_id=tenant_id),
            client.identity.ChangePlan(tenant_id=tenant_id, plan_code="pro"),
            client.identity.EnterSupportAccess(tenant_id=tenant_id),
        ):
            with refused(*NOT_ALLOWED):
                await call
        administration.set_administrator(admin, person.email, is_admin=True)
        await client.identity.ListPlans()
        told = [changes.get("is_platform_admin") for _, _, changes in await events(house.database, person.user_id)]
        assert [one for one in told if one] == [[None, False], [False, True], [True, False], [False, True]]

    async def test_are_made_of_people_with_an_account(self, house: House) -> None:
        with pytest.raises(MendableError, match="Nobody"):
            administration.set_administrator(house.database.admin_dsn, "nobody@example.com", is_admin=True)

    async def test_who_is_none_is_refused(self, house: House) -> None:
        tenant = await house.tenant("none")
        for client in (tenant.owner, await house.signed_in(tenant.people[Role.OWNER]), house.service("issues")):
            with refused(*NOT_ALLOWED):
                await client.identity.ListTenants()
        with refused("UNAUTHENTICATED", "TOKEN_MISSING"):
            await house.nobody().identity.ListTenants()


class TestSql:
    """The platform's role with free SQL: it sees tenants, plans and use, and is no way round the wall."""

    async def test_outside_a_tenant_only(self, house: House) -> None:
        tenant, (_, person) = await house.tenant("sql"), await administrator(house)
        asked = "select count(*) from identity.tenants"
        for context, seen in (
            ({"user_id": person.user_id}, True),
            ({}, False),
            ({"user_id": person.user_id, "tenant_id": tenant.tenant_id}, False),
            ({"user_id": person.user_id, "tenant_id": tenant.tenant_id, "role": 5}, False),
            ({"role": 6}, False),
        ):
            async with as_role(house.database, "bulkhead_platform_app", **context) as connection:
                row = await (await connection.execute(asked)).fetchone()
            assert row is not None
            assert (row[0] > 0) is seen, context

    @pytest.mark.parametrize(
        "statement",
        [
            "select email from identity.users",
            "select user_id from identity.memberships",
            "select reason from identity.support_grants",
            "select settings from identity.tenants",
            "select description from identity.tenants",
            "select title from issues.issues",
            "select action from identity.outbox",
            "select action from audit.events",
            "update identity.tenants set slug = 'mine'",
            "update identity.tenants set deleted_at = now()",
            "update identity.plans set max_users = 1",
            "update identity.tenant_usage set active_members = 0",
            "insert into identity.support_grants (tenant_id) values (null)",
            "select identity.select_tenant(null, null)",
            "select identity.create_tenant(null, null, null)",
            "select identity.check_membership(null, null, null, null, null)",
        ],
    )
    async def test_reaches_nothing_else(self, house: House, statement: str) -> None:
        _, person = await administrator(house)
        async with as_role(house.database, "bulkhead_platform_app", user_id=person.user_id) as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute(statement.encode())

    async def test_changes_only_in_the_name_of_an_administrator(self, house: House) -> None:
        tenant, (_, person) = await house.tenant("sql"), await administrator(house)
        change = "update identity.tenants set plan_code = 'pro' where tenant_id = %s"
        for user, allowed in ((person.user_id, True), (tenant.people[Role.OWNER].user_id, False), (new_id(), False)):
            async with as_role(house.database, "bulkhead_platform_app", user_id=user) as connection:
                if allowed:
                    assert (await connection.execute(change, (tenant.tenant_id,))).rowcount == 1
                    continue
                with pytest.raises(psycopg.Error, match="CALLER_NOT_ALLOWED"):
                    await connection.execute(change, (tenant.tenant_id,))

    async def test_neither_ends_nor_brings_back(self, house: House) -> None:
        tenant, (_, person) = await house.tenant("sql"), await administrator(house)
        async with as_role(house.database, "bulkhead_platform_app", user_id=person.user_id) as connection:
            with pytest.raises(psycopg.errors.Error):
                await connection.execute(
                    "update identity.tenants set status = 'deleted' where tenant_id = %s", (tenant.tenant_id,)
                )
        await set_status(house.database, tenant.tenant_id, "deleted")
        async with as_role(house.database, "bulkhead_platform_app", user_id=person.user_id) as connection:
            cursor = await connection.execute(
                "update identity.tenants set status = 'active' where tenant_id = %s", (tenant.tenant_id,)
            )
            assert cursor.rowcount == 0

    async def test_others_answers_stay_theirs(self, house: House) -> None:
        (_, ann), (eve, _) = await administrator(house), await administrator(house)
        tenant = await house.tenant("answers")
        await eve.identity.SuspendTenant(tenant_id=str(tenant.tenant_id), reason="x", request_id=str(new_id()))
        async with as_role(house.database, "bulkhead_platform_app", user_id=ann.user_id) as connection:
            cursor = await connection.execute("select count(*) from identity.user_request_ids")
            assert await cursor.fetchone() == (0,)


async def test_an_owner_of_the_database_is_not_asked(house: House) -> None:
    """The demand for an administrator is on the platform's role only: migrations and owners change tenants too."""
    tenant = await house.tenant("owner")
    async with as_owner(house.database) as connection:
        await connection.execute(
            "update identity.tenants set plan_code = 'pro' where tenant_id = %s", (tenant.tenant_id,)
        )
