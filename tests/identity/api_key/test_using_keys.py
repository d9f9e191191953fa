"""Calls with an API key, to every service, by real servers."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from bulkhead_kit import clock
from bulkhead_kit.caller import Role
from psycopg import sql

from tests.identity.api_key.keys import UNKNOWN, expire, is_refused_everywhere, last_used, later, make_key
from tests.identity.world import as_owner, as_role, new_address, set_status
from tests.support.builders import make_label
from tests.support.client import refused
from tests.support.house import House

MEMBER, MANAGER, ADMIN = 2, 3, 4


class TestWhatAKeyOpens:
    async def test_every_service_takes_it(self, house: House) -> None:
        tenant = await house.tenant("all")
        made = await make_key(tenant.owner, role=ADMIN)
        client = house.with_token(made.key)
        members = (await client.identity.ListMembers()).members
        assert made.api_key.user_id in {member.user_id for member in members}
        label = await make_label(client)
        assert [found.label_id for found in (await client.issues.ListLabels()).labels] == [label.label_id]
        assert (await client.audit.ListEvents()).events == []

    async def test_the_metadata_may_name_the_tenant_and_no_other(self, house: House) -> None:
        tenant, other = await house.tenant("named"), await house.tenant("foreign")
        client = house.with_token((await make_key(tenant.owner)).key)
        await client.with_metadata(("x-tenant-id", str(tenant.tenant_id))).issues.ListLabels()
        foreign = client.with_metadata(("x-tenant-id", str(other.tenant_id)))
        for call in (foreign.identity.ListMembers, foreign.issues.ListLabels, foreign.audit.ListEvents):
            with refused("UNAUTHENTICATED", "TENANT_MISMATCH"):
                await call()

    async def test_it_has_the_role_of_its_account(self, house: House) -> None:
        tenant = await house.tenant("roles")
        made = await make_key(tenant.owner, role=1)
        client = house.with_token(made.key)
        with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
            await make_label(client)
        # No new key: the very next call has the account's new role.
        await tenant.owner.identity.ChangeRole(user_id=made.api_key.user_id, role=MANAGER)
        await make_label(client)
        assert (await tenant.owner.identity.ListApiKeys()).api_keys[0].role == MANAGER
        with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
            await client.identity.InviteMember(email=new_address(), role=1)
        with refused("FAILED_PRECONDITION", "STATE_NOT_ALLOWED"):
            await tenant.owner.identity.ChangeRole(user_id=made.api_key.user_id, role=5)

    async def test_an_admins_key_lets_nobody_in_and_gives_nobody_more(self, house: House) -> None:
        """Or an admin would come back by a friend's key."""
        tenant = await house.tenant("above")
        tenant.lift_limits()
        admin, viewer, owner = (str(tenant.people[role].user_id) for role in (Role.ADMIN, Role.VIEWER, Role.OWNER))
        client = house.with_token((await make_key(tenant.owner, role=ADMIN)).key)
        await tenant.owner.identity.DisableMember(user_id=admin)
        lifts = (
            client.identity.EnableMember(user_id=admin),
            client.identity.InviteMember(email=new_address(), role=1),
            client.identity.ChangeRole(user_id=viewer, role=2),
            make_key(client, role=1),
        )
        for lift in lifts:
            with refused("PERMISSION_DENIED", "CALLER_NOT_ALLOWED"):
                await lift
        with refused("PERMISSION_DENIED", "ROLE_ABOVE_OWN"):
            await client.identity.DisableMember(user_id=owner)
        # To take rights away is another matter.
        manager = str(tenant.people[Role.MANAGER].user_id)
        assert (await client.identity.ChangeRole(user_id=manager, role=2)).role == 2
        await client.identity.DisableMember(user_id=viewer)

    async def test_what_is_a_persons_is_closed(self, house: House) -> None:
        tenant = await house.tenant("person")
        made = await make_key(tenant.owner, role=ADMIN)
        client = house.with_token(made.key)
        calls: list[tuple[str, dict[str, Any]]] = [
            ("CreateTenant", {"tenant": {"slug": "robots", "name": "Robots"}}),
            ("ListMyTenants", {}),
            ("SelectTenant", {"tenant_id": str(tenant.tenant_id)}),
            ("Logout", {}),
            ("AcceptInvitation", {"token": "x"}),
            ("ImportMembers", {"external_source": "x", "authors": [{"external_id": "1", "display_name": "A"}]}),
        ]
        for rpc, request in calls:
            with refused("PERMISSION_DENIED", "CALLER_NOT_ALLOWED"):
                await getattr(client.identity, rpc)(**request)

    async def test_where_nobody_is_asked_for_it_is_nothing(self, house: House) -> None:
        """Not even looked up."""
        tenant = await house.tenant("public")
        made = await make_key(tenant.owner)
        for key in (made.key, UNKNOWN, "bh_"):
            assert (await house.with_token(key).identity.GetJwks()).keys
        assert await last_used(house, made.api_key.api_key_id) is None

    async def test_repeats_are_its_own(self, house: House) -> None:
        tenant = await house.tenant("repeats")
        one = house.with_token((await make_key(tenant.owner, role=MANAGER)).key)
        two = house.with_token((await make_key(tenant.owner, role=MANAGER)).key)
        request = {"label": {"name": "secret plan"}, "request_id": "01930000-0000-7000-8000-00000000000a"}
        first = await one.issues.CreateLabel(**request)
        assert await one.issues.CreateLabel(**request) == first
        with refused("ALREADY_EXISTS", "ALREADY_TAKEN"):
            await two.issues.CreateLabel(**request)


class TestWhatIsWritten:
    async def test_acts_are_the_service_accounts(self, house: House) -> None:
        tenant = await house.tenant("acts")
        tenant.lift_limits()
        made = await make_key(tenant.owner, role=ADMIN)
        client = house.with_token(made.key)
        label = await make_label(client)
        team = await client.identity.CreateTeam(team={"name": "Made by a key"})
        for schema, entity_id in (("issues", label.label_id), ("identity", team.team_id)):
            asked = sql.SQL("select actor_type, actor_id::text, ip from {} where entity_id = %s")
            async with as_role(house.database, f"bulkhead_{schema}_relay") as connection:
                cursor = await connection.execute(asked.format(sql.Identifier(schema, "outbox")), (entity_id,))
                assert await cursor.fetchall() == [("service_account", made.api_key.user_id, "127.0.0.1")]

    async def test_last_use_is_written_once_a_minute(self, house: House) -> None:
        tenant = await house.tenant("used")
        made = await make_key(tenant.owner)
        client, key = house.with_token(made.key), made.api_key.api_key_id
        await client.issues.ListLabels()
        first = await last_used(house, key)
        assert abs(first - clock.now()) < timedelta(seconds=30)
        await asyncio.gather(*(client.issues.ListLabels() for _ in range(20)))
        assert await last_used(house, key) == first
        aged = await last_used(house, key, ago="59 seconds")
        await client.identity.ListMembers()
        assert await last_used(house, key) == aged
        aged = await last_used(house, key, ago="61 seconds")
        await asyncio.gather(*(client.identity.ListMembers() for _ in range(20)))
        assert await last_used(house, key) > aged
        (listed,) = (await tenant.owner.identity.ListApiKeys()).api_keys
        assert listed.HasField("last_use_time")
        # To use a key is no edit of it: no event, no new version.
        async with as_owner(house.database) as connection:
            cursor = await connection.execute("select version from identity.api_keys where api_key_id = %s", (key,))
            assert await cursor.fetchone() == (1,)
            cursor = await connection.execute("select count(*) from identity.outbox where entity_id = %s", (key,))
            assert await cursor.fetchone() == (1,)

    async def test_nobody_waits_for_who_writes_down_the_use(self, house: House) -> None:
        tenant = await house.tenant("held")
        made = await make_key(tenant.owner)
        async with as_owner(house.database) as connection:
            await connection.execute(
                "select from identity.api_keys where api_key_id = %s for no key update", (made.api_key.api_key_id,)
            )
            async with asyncio.timeout(2):
                await house.with_token(made.key).issues.ListLabels()


class TestWhatIsOfNoUse:
    @pytest.mark.parametrize(
        "bend",
        [
            lambda key: UNKNOWN,
            lambda key: key[:-1],
            lambda key: key + "A",
            lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"),
            lambda key: key[:3] + "aaaaaaaa" + key[11:],
            lambda key: key.upper(),
            lambda key: key.replace("bh_", "bh_bh_"),
            lambda key: key[:11],
            lambda key: "bh_",
            lambda key: key[:12] + "A" * 4000,
        ],
    )
    async def test_a_key_that_is_not_quite_one(self, house: House, bend: Any) -> None:
        tenant = await house.tenant("bent")
        await is_refused_everywhere(house, bend((await make_key(tenant.owner)).key))

    async def test_all_faults_look_alike(self, house: House) -> None:
        """Byte for byte, from every service: who tries keys learns nothing but that one is of no use."""
        tenant = await house.tenant("alike")
        expired, revoked, elsewhere, disabled, erased = [
            await make_key(tenant.owner, ip_ranges=ranges) for ranges in ([], [], ["203.0.113.0/24"], [], [])
        ]
        await expire(house, expired.api_key.api_key_id)
        await tenant.owner.identity.RevokeApiKey(api_key_id=revoked.api_key.api_key_id)
        await tenant.owner.identity.DisableMember(user_id=disabled.api_key.user_id)
        async with as_owner(house.database) as connection:
            await connection.execute(
                "update identity.users set status = 'disabled' where user_id = %s", (erased.api_key.user_id,)
            )
        told = set()
        for key in (UNKNOWN, "bh_nonsense", *(made.key for made in (expired, revoked, elsewhere, disabled, erased))):
            client = house.with_token(key)
            for call in (client.identity.ListMembers, client.issues.ListLabels, client.audit.ListEvents):
                with refused("UNAUTHENTICATED", "TOKEN_INVALID") as refusal:
                    await call()
                told.add(refusal.status.SerializeToString(deterministic=True))
        assert len(told) == 1
        for made in (expired, revoked, elsewhere, disabled, erased):
            assert await last_used(house, made.api_key.api_key_id) is None

    async def test_from_where_it_may_be_used(self, house: House) -> None:
        tenant = await house.tenant("where")
        for ranges, goes in (
            (["127.0.0.1"], True),
            (["203.0.113.0/24", "127.0.0.0/8"], True),
            (["0.0.0.0/0"], True),
            (["127.0.0.2"], False),
            (["::/0"], False),
        ):
            made = await make_key(tenant.owner, ip_ranges=ranges)
            if goes:
                await house.with_token(made.key).issues.ListLabels()
            else:
                await is_refused_everywhere(house, made.key)
                # Anybody can write this: it is believed from the gateway only.
                forged = house.with_token(made.key).with_metadata(("x-forwarded-for", ranges[0].split("/")[0]))
                with refused("UNAUTHENTICATED", "TOKEN_INVALID"):
                    await forged.issues.ListLabels()

    async def test_its_time(self, house: House) -> None:
        tenant = await house.tenant("time")
        made = await make_key(tenant.owner, expire_time=later(seconds=1.5))
        await house.with_token(made.key).issues.ListLabels()
        await asyncio.sleep(1.6)
        await is_refused_everywhere(house, made.key)

    async def test_disabling_the_account_stops_all_its_keys(self, house: House) -> None:
        tenant = await house.tenant("stop")
        one = await make_key(tenant.owner)
        account = one.api_key.user_id
        two = await make_key(tenant.owner, user_id=account)
        await tenant.owner.identity.DisableMember(user_id=account)
        for made in (one, two):
            await is_refused_everywhere(house, made.key)
        await tenant.owner.identity.RevokeApiKey(api_key_id=one.api_key.api_key_id)
        await tenant.owner.identity.EnableMember(user_id=account)
        await is_refused_everywhere(house, one.key)
        await house.with_token(two.key).issues.ListLabels()

    async def test_a_tenant_that_is_not_open(self, house: House) -> None:
        """As for its members' tokens."""
        tenant = await house.tenant("closed")
        client = house.with_token((await make_key(tenant.owner, role=MANAGER)).key)
        await set_status(house.database, tenant.tenant_id, "suspended")
        await client.issues.ListLabels()
        with refused("FAILED_PRECONDITION", "TENANT_SUSPENDED"):
            await make_label(client)
        await set_status(house.database, tenant.tenant_id, "deleted")
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
            await client.issues.ListLabels()

    async def test_it_is_found_by_its_whole_self_only(self, house: House) -> None:
        """The prefix alone is a name."""
        tenant = await house.tenant("whole")
        one, two = await make_key(tenant.owner), await make_key(tenant.owner)
        await is_refused_everywhere(house, one.key[:12] + two.key[12:])
