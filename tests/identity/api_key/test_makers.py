"""A key is worth at most what its maker may now: whoever loses a right keeps none of it by keys."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import grpc.aio
import psycopg
import pytest
from bulkhead.identity.v1 import api_key_pb2 as key_pb
from bulkhead_kit.caller import Role

from tests.identity.api_key.held import held
from tests.identity.api_key.keys import is_refused_everywhere, make_key
from tests.identity.api_key.test_races import PATIENCE, WRITERS, Counting, Writer
from tests.identity.world import PASSWORD, PostOffice, as_role, log_in, new_address, sign_up
from tests.support import people
from tests.support.client import Client, reason_of, refused
from tests.support.house import House, Tenant
from tests.support.parts import PARTS
from tests.support.people import Person

ADMIN = Role.ADMIN.value
SEVERAL, MANY = 20, 500
FINDS, CHECKS = "identity.find_api_key(bytea, inet)", "identity.check_membership"


class Maker:
    """An admin with a key of the role admin, and the owner who decides about her."""

    def __init__(self, house: House, tenant: Tenant, person: Person, made: Any) -> None:
        self.house = house
        self.tenant = tenant
        self.person = person
        self.user_id = str(person.user_id)
        self.made = made
        self.key: Client = house.with_token(made.key)
        self.owner = tenant.owner.identity

    async def shown(self) -> Any:
        (found,) = (await self.owner.ListApiKeys(filter=f'created_by = "{self.user_id}"')).api_keys
        return found

    async def now(self) -> Client:
        """She herself, with a token of now."""
        reply = await (await self.house.signed_in(self.person)).identity.SelectTenant(
            tenant_id=str(self.tenant.tenant_id)
        )
        return self.house.with_token(reply.access_token.token)


@pytest.fixture
async def maker(house: House) -> Maker:
    tenant = await house.tenant("makers")
    tenant.lift_limits()
    made = await make_key(tenant.member(Role.ADMIN), role=ADMIN)
    return Maker(house, tenant, tenant.people[Role.ADMIN], made)


async def test_keys_of_all_accounts_name_who_made_them(maker: Maker) -> None:
    """Their calls take that person's share."""
    keys = [maker.made, *[await make_key(await maker.now(), role=2) for _ in range(2)]]
    async with as_role(maker.house.database, "bulkhead_issues_app") as connection:
        found = []
        for made in keys:
            cursor = await connection.execute(
                "select user_id, made_by from identity.find_api_key(sha256(%s), null)", (made.key.encode(),)
            )
            found += await cursor.fetchall()
    accounts, makers = zip(*found, strict=True)
    assert len(set(accounts)) == 3
    assert set(makers) == {maker.person.user_id}


async def opens(client: Client) -> int:
    """The highest role of which a method lets the key in; 0: none."""
    calls: dict[int, Any] = {
        4: client.identity.ListApiKeys,
        3: lambda: client.issues.CreateWorkspace(workspace={"name": f"{random.getrandbits(64):x}"}),
        2: lambda: client.issues.CreateComment(comment={"issue_id": str(uuid4()), "body": "Seen."}),
        1: client.issues.ListLabels,
    }
    for role, ask in calls.items():
        try:
            await ask()
        except grpc.aio.AioRpcError as error:
            if reason_of(error) == "ROLE_TOO_LOW":
                continue
            # Let in, for a thing that is not there.
            return role if reason_of(error) == "RESOURCE_NOT_FOUND" else 0
        return role
    return 0


class TestWhatAKeyOpens:
    @pytest.mark.parametrize("role", [Role.VIEWER, Role.MEMBER, Role.MANAGER, Role.OWNER])
    async def test_no_more_than_its_makers_role(self, maker: Maker, role: Role) -> None:
        assert await opens(maker.key) == ADMIN
        await maker.owner.ChangeRole(user_id=maker.user_id, role=role.value)
        least = min(role.value, ADMIN)
        assert await opens(maker.key) == least
        shown = await maker.shown()
        assert (shown.role, shown.effective_role, shown.state) == (ADMIN, least, key_pb.ApiKey.STATE_ACTIVE)
        found = await maker.owner.ListApiKeys(filter=f"effective_role = {Role(least).name} AND role = ADMIN")
        assert [key.api_key_id for key in found.api_keys] == [maker.made.api_key.api_key_id]
        await maker.owner.ChangeRole(user_id=maker.user_id, role=ADMIN)
        assert await opens(maker.key) == ADMIN

    async def test_no_more_than_its_accounts_role(self, maker: Maker) -> None:
        await maker.owner.ChangeRole(user_id=maker.made.api_key.user_id, role=2)
        assert await opens(maker.key) == 2
        assert (await maker.shown()).effective_role == 2

    async def test_nothing_while_its_maker_is_disabled(self, maker: Maker) -> None:
        await maker.owner.DisableMember(user_id=maker.user_id)
        await is_refused_everywhere(maker.house, maker.made.key)
        assert (await maker.shown()).state == key_pb.ApiKey.STATE_MAKER_DISABLED
        found = await maker.owner.ListApiKeys(filter="state = MAKER_DISABLED")
        assert [key.created_by for key in found.api_keys] == [maker.user_id]
        # The account goes on by the key of somebody who is there.
        another = await make_key(maker.tenant.owner, user_id=maker.made.api_key.user_id)
        assert await opens(maker.house.with_token(another.key)) == ADMIN
        await maker.owner.EnableMember(user_id=maker.user_id)
        assert await opens(maker.key) == ADMIN

    async def test_nothing_once_its_maker_has_left(self, maker: Maker) -> None:
        await (await maker.now()).identity.LeaveTenant(tenant_id=str(maker.tenant.tenant_id))
        await is_refused_everywhere(maker.house, maker.made.key)
        assert (await maker.shown()).state == key_pb.ApiKey.STATE_MAKER_DISABLED

    async def test_nothing_once_its_makers_account_is_closed(self, house: House, mails: PostOffice) -> None:
        tenant, email = await house.tenant("closed"), new_address()
        tenant.lift_limits()
        person = Person(UUID(await sign_up(house, mails, email)), email)
        await people.add_member(
            await house.connection(), tenant.tenant_id, tenant.people[Role.OWNER], person, Role.ADMIN
        )
        made = await make_key(house.member(person.user_id, tenant.tenant_id, Role.ADMIN), role=ADMIN)
        client, _ = await log_in(house, email)
        assert await opens(house.with_token(made.key)) == ADMIN
        await client.identity.CloseAccount(password=PASSWORD)
        await is_refused_everywhere(house, made.key)
        (shown,) = (await tenant.owner.identity.ListApiKeys()).api_keys
        assert shown.state == key_pb.ApiKey.STATE_MAKER_DISABLED

    async def test_another_tenants_loss_is_not_hers(self, house: House, maker: Maker) -> None:
        other = await house.tenant("elsewhere")
        other.lift_limits()
        await people.add_member(
            await house.connection(), other.tenant_id, other.people[Role.OWNER], maker.person, Role.ADMIN
        )
        await other.owner.identity.DisableMember(user_id=maker.user_id)
        assert await opens(maker.key) == ADMIN

    async def test_it_may_end_its_maker_and_ends_itself(self, maker: Maker) -> None:
        await maker.key.identity.DisableMember(user_id=maker.user_id)
        await is_refused_everywhere(maker.house, maker.made.key)


class TestRaces:
    """Nothing that is done by a key commits after its maker has lost the right to it."""

    async def race(self, maker: Maker, rng: random.Random, rpc: str) -> tuple[int, Counter[str]]:
        written = Counting(maker.house, maker.tenant)
        account = maker.made.api_key.user_id
        before = await written(account)
        writers = [Writer(maker.key, f"{rng.getrandbits(64):x}") for _ in range(WRITERS)]
        running = [asyncio.create_task(writer.run()) for writer in writers]
        await asyncio.sleep(rng.uniform(0.0, 0.03))
        if rpc == "DisableMember":
            await maker.owner.DisableMember(user_id=maker.user_id)
        else:
            await maker.owner.ChangeRole(user_id=maker.user_id, role=Role.VIEWER.value)
        at_return = await written(account)
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*running)
        assert await written(account) == at_return, f"{rpc}: a write was committed after it had returned"
        if rpc == "DisableMember":
            await maker.owner.EnableMember(user_id=maker.user_id)
        else:
            await maker.owner.ChangeRole(user_id=maker.user_id, role=ADMIN)
        return at_return - before, Counter(writer.ended_with for writer in writers)

    async def races(self, maker: Maker, rng: random.Random, rpc: str, rounds: int) -> None:
        count, told = 0, Counter[str]()
        for _ in range(rounds):
            made, ends = await self.race(maker, rng, rpc)
            count += made
            told += ends
        gone = "TOKEN_INVALID" if rpc == "DisableMember" else "ROLE_TOO_LOW"
        assert set(told) <= {gone, "MEMBERSHIP_CHANGED"}, told
        # It was a race: much went through before.
        assert count > rounds
        PARTS.found[f"API keys, {rpc} of their maker against writes"] = (
            f"{rounds} races, {count} writes before, 0 after; {dict(sorted(told.items()))}"
        )

    @pytest.mark.parametrize("rounds", [SEVERAL, pytest.param(MANY, marks=pytest.mark.soak)])
    @pytest.mark.parametrize("rpc", ["DisableMember", "ChangeRole"])
    async def test_no_write_is_late(self, maker: Maker, rng: random.Random, rpc: str, rounds: int) -> None:
        await self.races(maker, rng, rpc, rounds)

    @pytest.mark.parametrize("rounds", [1, pytest.param(SEVERAL, marks=pytest.mark.soak)])
    async def test_without_the_fence_writes_are_late(self, maker: Maker, rounds: int) -> None:
        """The same without luck: a write that was let in is held back by a lock, until DisableMember has returned or
        waits for it. That tells the mutant from the real one, which the races above find by luck only."""
        for _ in range(rounds):
            assert await self._late(maker) == 0
            with without_the_fence(maker.house):
                assert await self._late(maker) == 1

    async def _late(self, maker: Maker) -> int:
        """How many writes were committed after DisableMember had returned."""
        written, account = Counting(maker.house, maker.tenant), maker.made.api_key.user_id
        before = await written(account)
        async with held(maker.house, "issues.labels") as hold:
            # Let in by the key, checked, and before its first row.
            writing = asyncio.ensure_future(maker.key.issues.CreateLabel(label={"name": f"{random.getrandbits(64):x}"}))
            await hold.until_one_waits()
            disabling = asyncio.ensure_future(maker.owner.DisableMember(user_id=maker.user_id))
            await hold.until_another_waits(or_done=disabling)
            late = int(disabling.done())
            assert await written(account) == before
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(writing, disabling)
        assert await written(account) == before + 1
        await maker.owner.EnableMember(user_id=maker.user_id)
        return late

    @pytest.mark.parametrize("rpc", ["DisableMember", "ChangeRole", "RevokeApiKey"])
    async def test_a_call_that_has_found_the_key_is_caught(self, maker: Maker, rpc: str) -> None:
        """Between finding the key and writing: it or its maker is being changed, and the event not yet written."""
        ends: dict[str, dict[str, Any]] = {
            "DisableMember": {"user_id": maker.user_id},
            "ChangeRole": {"user_id": maker.user_id, "role": Role.VIEWER.value},
            "RevokeApiKey": {"api_key_id": maker.made.api_key.api_key_id},
        }
        async with held(maker.house, "identity.outbox") as hold:
            ending = asyncio.ensure_future(getattr(maker.owner, rpc)(**ends[rpc]))
            await hold.until_one_waits()
            caught = asyncio.ensure_future(maker.key.issues.CreateLabel(label={"name": f"{random.getrandbits(64):x}"}))
            await hold.until_another_waits()
        async with asyncio.timeout(PATIENCE):
            await ending
            with refused("UNAUTHENTICATED", "MEMBERSHIP_CHANGED"):
                await caught

    async def test_all_at_once(self, maker: Maker) -> None:
        """The maker disabled, changed and enabled, by the owner and by the key itself, while it writes: no deadlock."""

        async def once(call: Any) -> str:
            try:
                await call
            except grpc.aio.AioRpcError as error:
                return reason_of(error)
            return "done"

        async def round_of(number: int) -> list[str]:
            user_id, key = maker.user_id, maker.key
            calls = [
                maker.owner.DisableMember(user_id=user_id),
                maker.owner.EnableMember(user_id=user_id),
                maker.owner.ChangeRole(user_id=user_id, role=2 + number % 3),
                key.identity.ChangeRole(user_id=user_id, role=2 + number % 2),
                key.identity.DisableMember(user_id=user_id),
                key.issues.CreateWorkspace(workspace={"name": f"{random.getrandbits(64):x}"}),
                key.issues.CreateLabel(label={"name": f"{random.getrandbits(64):x}"}),
            ]
            return list(await asyncio.gather(*map(once, calls)))

        async with asyncio.timeout(60):
            rounds = [await round_of(number) for number in range(6)]
        told = Counter(itertools.chain.from_iterable(rounds))
        expected = {"done", "TOKEN_INVALID", "MEMBERSHIP_CHANGED", "ROLE_TOO_LOW", "ROLE_ABOVE_OWN", "OVERLOADED"}
        assert set(told) <= expected, told
        assert told["done"] >= 12


def _swap(house: House, old: str, new: str) -> Iterator[None]:
    with psycopg.connect(house.database.admin_dsn, autocommit=True) as admin:
        admin.execute(new.encode())
        try:
            yield
        finally:
            admin.execute(old.encode())


@contextmanager
def without_the_fence(house: House) -> Iterator[None]:
    yield from _swap(
        house,
        "alter table identity.memberships enable trigger fence_makings",
        "alter table identity.memberships disable trigger fence_makings",
    )


@contextmanager
def without(house: House, function: str, old: str, new: str) -> Iterator[None]:
    with psycopg.connect(house.database.admin_dsn, autocommit=True) as admin:
        row = admin.execute("select pg_get_functiondef(%s::regproc)", (function.partition("(")[0],)).fetchone()
    assert row is not None
    assert str(row[0]).count(old) == 1
    yield from _swap(house, row[0], row[0].replace(old, new))


@pytest.mark.parametrize(
    ("function", "old", "new"),
    [
        (FINDS, "least(m.role, c.role)", "m.role"),
        (FINDS, "and c.status = 'active'", ""),
        (CHECKS, "check_membership.role <> p_role", "check_membership.role < p_role"),
    ],
    ids=["the-makers-role", "the-makers-standing", "the-role-of-now"],
)
async def test_a_comparison_left_out_is_noticed(maker: Maker, function: str, old: str, new: str) -> None:
    """Mutants of the two functions: each lets something through that the tests above hold back."""
    with without(maker.house, function, old, new):
        await maker.owner.ChangeRole(user_id=maker.user_id, role=2)
        by_role = await opens(maker.key) > 2
        await maker.owner.DisableMember(user_id=maker.user_id)
        by_standing = await opens(maker.key) > 0
        # A member with a token of an older, lower role: refused, as her tokens are void.
        viewer = maker.tenant.people[Role.VIEWER]
        async with as_role(maker.house.database, "bulkhead_issues_app") as connection:
            try:
                await connection.execute(
                    "select role from identity.check_membership(%s, %s, 0::smallint, 1, false)",
                    (maker.tenant.tenant_id, viewer.user_id),
                )
                by_token = True
            except psycopg.DatabaseError:
                by_token = False
    assert by_role or by_standing or by_token


async def test_a_key_without_a_maker_opens_nothing(maker: Maker) -> None:
    with psycopg.connect(maker.house.database.admin_dsn) as admin:
        admin.execute("alter table identity.api_keys disable trigger aa_stamp")
        admin.execute("update identity.api_keys set created_by = null where tenant_id = %s", (maker.tenant.tenant_id,))
        admin.execute("alter table identity.api_keys enable trigger aa_stamp")
    await is_refused_everywhere(maker.house, maker.made.key)
    (shown,) = (await maker.owner.ListApiKeys()).api_keys
    assert shown.state == key_pb.ApiKey.STATE_MAKER_DISABLED


async def test_a_demoted_owner_makes_no_higher_key(maker: Maker) -> None:
    """What was checked at the making still is."""
    await maker.owner.ChangeRole(user_id=maker.user_id, role=Role.MANAGER.value)
    with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
        await make_key(await maker.now(), role=ADMIN)
