"""CreateApiKey, ListApiKeys and RevokeApiKey."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import Counter
from typing import Any

import grpc.aio
import pytest
from bulkhead.identity.v1 import api_key_pb2, membership_pb2
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.identity.api_key.keys import expire, is_refused_everywhere, later, make_key
from tests.identity.world import as_owner, as_role, events, set_plan, set_status
from tests.support.client import reason_of, refused
from tests.support.house import House

ACTIVE = api_key_pb2.ApiKey.STATE_ACTIVE


class TestCreateApiKey:
    async def test_a_key_for_a_new_account(self, house: House) -> None:
        tenant = await house.tenant("create")
        ends = later(days=30)
        made = await make_key(
            tenant.member(Role.ADMIN),
            display_name="Build server",
            role=3,
            expire_time=ends,
            ip_ranges=["127.0.0.0/8", "2001:DB8::1"],
        )
        key = made.api_key
        assert re.fullmatch("bh_[a-z2-7]{8}_[A-Za-z0-9_-]{43}", made.key)
        assert (len(made.key), key.prefix) == (55, made.key[:11])
        assert (key.display_name, key.role, key.state) == ("Build server", 3, ACTIVE)
        assert list(key.ip_ranges) == ["127.0.0.0/8", "2001:db8::1/128"]
        assert key.expire_time.ToMicroseconds() == ends.ToMicroseconds()
        assert key.created_by == str(tenant.people[Role.ADMIN].user_id)
        assert not key.HasField("last_use_time")
        assert not key.HasField("revoke_time")
        (account,) = (await tenant.owner.identity.ListMembers(filter=f'user_id = "{key.user_id}"')).members
        assert (account.kind, account.role, account.display_name, account.state) == (
            membership_pb2.Member.KIND_SERVICE_ACCOUNT,
            3,
            "Build server",
            membership_pb2.Member.STATE_ACTIVE,
        )

    async def test_only_a_hash_is_kept(self, house: House) -> None:
        tenant = await house.tenant("hash")
        request_id = str(new_id())
        made = await make_key(tenant.owner, request_id=request_id)
        secret = made.key[12:]
        async with as_owner(house.database) as connection:
            cursor = await connection.execute(
                "select secret_hash from identity.api_keys where api_key_id = %s", (made.api_key.api_key_id,)
            )
            # Of the hash that services ask with: what is stored opens nothing.
            asked_with = hashlib.sha256(made.key.encode()).digest()
            assert await cursor.fetchone() == (hashlib.sha256(asked_with).digest(),)
            cursor = await connection.execute(
                "select reply from identity.request_ids where request_id = %s", (request_id,)
            )
            ((reply,),) = await cursor.fetchall()
            assert made.api_key.prefix.encode() in reply
            assert secret.encode() not in reply
        for entity_id in (made.api_key.api_key_id, made.api_key.user_id):
            for _, _, changes in await events(house.database, entity_id):
                assert secret not in str(changes)
                assert "secret_hash" not in changes

    async def test_it_is_in_the_log(self, house: House) -> None:
        tenant = await house.tenant("log")
        made = (await make_key(tenant.owner)).api_key
        ((action, outcome, changes),) = await events(house.database, made.api_key_id)
        assert (action, outcome) == ("api_key.created", "ok")
        assert changes["user_id"] == [None, made.user_id]
        assert changes["prefix"] == [None, made.prefix]
        assert {action for action, _, _ in await events(house.database, made.user_id)} == {
            "user.created",
            "member.created",
        }

    async def test_a_further_key_for_an_account(self, house: House) -> None:
        tenant = await house.tenant("further")
        first = (await make_key(tenant.owner, role=4)).api_key
        second = (await make_key(tenant.owner, user_id=first.user_id, display_name="The next one")).api_key
        assert (second.user_id, second.role, second.display_name) == (first.user_id, 4, "The next one")
        assert second.api_key_id != first.api_key_id
        (account,) = (await tenant.owner.identity.ListMembers(filter="kind = SERVICE_ACCOUNT")).members
        assert account.display_name == "Build server"

    async def test_an_account_takes_no_seat(self, house: House) -> None:
        tenant = await house.tenant("seat")
        await set_plan(house.database, tenant.tenant_id, users=5)
        await make_key(tenant.owner)
        with refused("RESOURCE_EXHAUSTED", "PLAN_LIMIT_REACHED"):
            await tenant.owner.identity.InviteMember(email="one-more@example.com", role=1)

    @pytest.mark.parametrize("role", list(Role))
    async def test_who_may(self, house: House, role: Role) -> None:
        tenant = await house.tenant("may")
        if role >= Role.ADMIN:
            assert (await make_key(tenant.member(role), role=4)).key
        else:
            with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
                await make_key(tenant.member(role), role=1)

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"display_name": ""}, "display_name"),
            ({"display_name": " \u00a0"}, "display_name"),
            ({"display_name": "two\nlines"}, "display_name"),
            ({"display_name": "x" * 201}, "display_name"),
            ({"role": 0}, "role"),
            ({"role": 5}, "role"),
            ({"role": 9}, "role"),
            ({"role": 2, "user_id": str(new_id())}, "role"),
            ({"role": 0, "user_id": "somebody"}, "user_id"),
            ({"request_id": "x"}, "request_id"),
            ({"expire_time": {"seconds": 1_000_000}}, "expire_time"),
            ({"expire_time": {"seconds": 10**15}}, "expire_time"),
            ({"ip_ranges": ["everywhere"]}, "ip_ranges[0]"),
            ({"ip_ranges": ["10.0.0.0/8", "10.0.0.1/8"]}, "ip_ranges[1]"),
            ({"ip_ranges": ["10.0.0.0/33"]}, "ip_ranges[0]"),
            ({"ip_ranges": ["::ffff:10.0.0.0/104"]}, "ip_ranges[0]"),
            ({"ip_ranges": ["fe80::1%eth0"]}, "ip_ranges[0]"),
            ({"ip_ranges": ["10.0.0.1", "", "10.0.0.2"]}, "ip_ranges[1]"),
            ({"ip_ranges": ["10.0.0.1"] * 21}, "ip_ranges"),
        ],
    )
    async def test_invalid(self, house: House, fields: dict[str, Any], field: str) -> None:
        tenant = await house.tenant("invalid")
        with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
            await make_key(tenant.owner, **{"role": 2, **fields})
        assert refusal.fields == [field]

    async def test_everything_at_its_limit(self, house: House) -> None:
        tenant = await house.tenant("limits")
        ranges = [f"2001:db8:{i:x}::/48" for i in range(1, 20)] + ["0.0.0.0/0"]
        made = await make_key(tenant.owner, display_name="x" * 200, ip_ranges=ranges)
        assert list(made.api_key.ip_ranges) == ranges

    async def test_accounts_it_cannot_be_for(self, house: House) -> None:
        tenant, other = await house.tenant("own"), await house.tenant("other")
        foreign = (await make_key(other.owner)).api_key.user_id
        person, nobody = str(tenant.people[Role.MEMBER].user_id), str(new_id())
        told = set()
        for user_id in (foreign, person, nobody):
            with refused("INVALID_ARGUMENT", "REFERENCE_NOT_FOUND") as refusal:
                await make_key(tenant.owner, user_id=user_id)
            assert refusal.metadata == {"field": "user_id"}
            told.add(refusal.status.SerializeToString(deterministic=True))
        assert len(told) == 1
        disabled = (await make_key(tenant.owner)).api_key.user_id
        await tenant.owner.identity.DisableMember(user_id=disabled)
        with refused("FAILED_PRECONDITION", "STATE_NOT_ALLOWED") as refusal:
            await make_key(tenant.owner, user_id=disabled)
        assert refusal.metadata == {"state": "disabled"}

    async def test_a_repeat_has_no_effect_and_shows_no_key(self, house: House) -> None:
        tenant = await house.tenant("repeat")
        request_id = str(new_id())
        first = await make_key(tenant.owner, request_id=request_id)
        again = await make_key(tenant.owner, request_id=request_id)
        assert first.key
        assert (again.api_key, again.key) == (first.api_key, "")
        assert len((await tenant.owner.identity.ListApiKeys()).api_keys) == 1
        assert (await house.with_token(first.key).issues.ListLabels()).labels == []
        with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
            await make_key(tenant.owner, display_name="Another", request_id=request_id)

    async def test_at_once_with_one_request_id(self, house: House) -> None:
        tenant = await house.tenant("once")
        request_id = str(new_id())
        told = await asyncio.gather(*(make_key(tenant.owner, request_id=request_id) for _ in range(6)))
        assert len({made.api_key.api_key_id for made in told}) == 1
        assert sorted(bool(made.key) for made in told) == [False] * 5 + [True]

    async def test_not_more_than_a_hundred(self, house: House) -> None:
        """Seven callers at once, as counting alone would not hold them."""
        tenant = await house.tenant("hundred")
        account = (await make_key(tenant.owner)).api_key.user_id
        spare = [await make_key(tenant.owner, user_id=account) for _ in range(2)]
        limit = asyncio.Semaphore(7)

        async def one_more() -> str:
            async with limit:
                try:
                    await make_key(tenant.owner, user_id=account)
                except grpc.aio.AioRpcError as error:
                    return reason_of(error)
                return "made"

        told = Counter(await asyncio.gather(*(one_more() for _ in range(110))))
        assert told == {"made": 97, "PLAN_LIMIT_REACHED": 13}
        with refused("RESOURCE_EXHAUSTED", "PLAN_LIMIT_REACHED") as refusal:
            await make_key(tenant.owner, user_id=account)
        assert refusal.metadata == {"limit": "api_keys", "value": "100", "used": "100"}
        assert refusal.message == "a tenant may have 100 keys, 100 are in use"
        await tenant.owner.identity.RevokeApiKey(api_key_id=spare[0].api_key.api_key_id)
        await expire(house, spare[1].api_key.api_key_id)
        for _ in range(2):
            await make_key(tenant.owner, user_id=account)
        with refused("RESOURCE_EXHAUSTED", "PLAN_LIMIT_REACHED"):
            await make_key(tenant.owner, user_id=account)

    async def test_a_suspended_tenant_makes_none(self, house: House) -> None:
        tenant = await house.tenant("stopped")
        await set_status(house.database, tenant.tenant_id, "suspended")
        with refused("FAILED_PRECONDITION", "TENANT_SUSPENDED"):
            await make_key(tenant.owner)


class TestListApiKeys:
    async def test_pages_are_complete(self, house: House) -> None:
        tenant, other = await house.tenant("pages"), await house.tenant("elsewhere")
        await make_key(other.owner)
        made = [(await make_key(tenant.owner)).api_key for _ in range(5)]
        seen, token = [], ""
        while True:
            page = await tenant.owner.identity.ListApiKeys(page_size=2, page_token=token)
            assert len(page.api_keys) <= 2
            seen += page.api_keys
            token = page.next_page_token
            if not token:
                break
        assert seen == made

    async def test_filters(self, house: House) -> None:
        tenant = await house.tenant("filters")
        admin = tenant.member(Role.ADMIN)
        keys = {
            "active": (await make_key(tenant.owner, display_name="Alpha", role=1)).api_key,
            "disabled": (await make_key(tenant.owner, display_name="Beta", role=3)).api_key,
            "expired": (await make_key(admin, display_name="Gamma")).api_key,
            "revoked": (await make_key(admin, display_name="Alphabet", role=4)).api_key,
        }
        names = {key.api_key_id: name for name, key in keys.items()}
        await tenant.owner.identity.DisableMember(user_id=keys["disabled"].user_id)
        await expire(house, keys["expired"].api_key_id)
        await tenant.owner.identity.RevokeApiKey(api_key_id=keys["revoked"].api_key_id)

        async def found(asked: str) -> set[str]:
            reply = await tenant.owner.identity.ListApiKeys(filter=asked)
            return {names[key.api_key_id] for key in reply.api_keys}

        assert await found("") == set(keys)
        assert await found("state = ACTIVE") == {"active"}
        assert await found("state = ACCOUNT_DISABLED") == {"disabled"}
        assert await found("state = EXPIRED OR state = REVOKED") == {"expired", "revoked"}
        assert await found("NOT state = REVOKED") == {"active", "disabled", "expired"}
        assert await found("created_by = me") == {"active", "disabled"}
        assert await found(f'user_id = "{keys["expired"].user_id}"') == {"expired"}
        assert await found("role >= MANAGER") == {"disabled", "revoked"}
        assert await found('display_name:"Alpha*"') == {"active", "revoked"}
        assert await found(f'prefix = "{keys["active"].prefix}"') == {"active"}
        assert await found('expire_time < "2126-01-01T00:00:00Z"') == {"expired"}
        assert await found('revoke_time > "2026-01-01T00:00:00Z"') == {"revoked"}
        assert await found('last_use_time > "2026-01-01T00:00:00Z"') == set()
        with refused("INVALID_ARGUMENT", "INVALID_FILTER"):
            await found("secret_hash = 1")

    async def test_who_may(self, house: House) -> None:
        tenant = await house.tenant("may-list")
        for role in (Role.VIEWER, Role.MEMBER, Role.MANAGER):
            with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
                await tenant.member(role).identity.ListApiKeys()
        assert (await tenant.member(Role.ADMIN).identity.ListApiKeys()).api_keys == []
        with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
            await tenant.owner.identity.ListApiKeys(page_token="x")


class TestRevokeApiKey:
    async def test_it_ends_the_key_and_leaves_the_others(self, house: House) -> None:
        tenant = await house.tenant("revoke")
        first = await make_key(tenant.owner)
        second = await make_key(tenant.owner, user_id=first.api_key.user_id)
        revoked = await tenant.member(Role.ADMIN).identity.RevokeApiKey(api_key_id=first.api_key.api_key_id)
        assert revoked.state == api_key_pb2.ApiKey.STATE_REVOKED
        assert revoked.revoked_by == str(tenant.people[Role.ADMIN].user_id)
        assert revoked.HasField("revoke_time")
        await is_refused_everywhere(house, first.key)
        await house.with_token(second.key).issues.ListLabels()
        told = await events(house.database, first.api_key.api_key_id)
        assert [action for action, _, _ in told] == ["api_key.created", "api_key.revoked"]
        assert set(told[1][2]) == {"revoke_time", "revoked_by"}

    async def test_again_changes_nothing(self, house: House) -> None:
        tenant = await house.tenant("again")
        made, request_id = (await make_key(tenant.owner)).api_key, str(new_id())
        first = await tenant.owner.identity.RevokeApiKey(api_key_id=made.api_key_id, request_id=request_id)
        replay = await tenant.owner.identity.RevokeApiKey(api_key_id=made.api_key_id, request_id=request_id)
        again = await tenant.member(Role.ADMIN).identity.RevokeApiKey(api_key_id=made.api_key_id)
        assert first == replay == again
        assert len(await events(house.database, made.api_key_id)) == 2
        async with as_role(house.database, "bulkhead_identity_app", tenant_id=tenant.tenant_id, role=1) as connection:
            cursor = await connection.execute(
                "select version from identity.memberships where user_id = %s", (made.user_id,)
            )
            assert await cursor.fetchone() == (2,)
        with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
            await tenant.owner.identity.RevokeApiKey(api_key_id=str(new_id()), request_id=request_id)

    async def test_who_may_and_what(self, house: House) -> None:
        tenant, other = await house.tenant("mine"), await house.tenant("theirs")
        made = (await make_key(tenant.owner)).api_key
        told = set()
        for api_key_id in (made.api_key_id, str(new_id())):
            with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as refusal:
                await other.owner.identity.RevokeApiKey(api_key_id=api_key_id)
            assert refusal.metadata == {"resource": "api_key"}
            told.add(refusal.status.SerializeToString(deterministic=True))
        assert len(told) == 1
        for role in (Role.VIEWER, Role.MEMBER, Role.MANAGER):
            with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
                await tenant.member(role).identity.RevokeApiKey(api_key_id=made.api_key_id)
        for wrong in ("", "x", made.api_key_id.replace("-", "")):
            with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
                await tenant.owner.identity.RevokeApiKey(api_key_id=wrong)
        (kept,) = (await tenant.owner.identity.ListApiKeys()).api_keys
        assert kept == made
