"""What two callers do at once: an owner is always left, and nothing is written after its right is gone."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import grpc.aio
import psycopg
import pytest
from bulkhead_kit.caller import Role

from tests.identity.world import as_role, new_address, set_plan, set_status
from tests.support import people
from tests.support.client import Client, reason_of
from tests.support.house import House, Tenant
from tests.support.people import Person

ROUNDS = 15
LONGEST = 5.0
"""Seconds any of these calls may take; the measured ones take a few hundredths."""


async def outcome(call: Awaitable[Any]) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    return "done"


async def in_time(*calls: Awaitable[Any]) -> list[str]:
    async with asyncio.timeout(LONGEST):
        return list(await asyncio.gather(*map(outcome, calls)))


async def standing(house: House, tenant: Tenant, person: Person) -> tuple[Role, int]:
    # A connection of its own: several ask at once.
    async with await psycopg.AsyncConnection.connect(
        house.database.dsn("bulkhead_identity_app"), autocommit=True
    ) as connection:
        return await people.membership(connection, tenant.tenant_id, person.user_id)


async def now_as(house: House, tenant: Tenant, person: Person) -> Client:
    """With a token of her present role."""
    return house.member(person.user_id, tenant.tenant_id, *await standing(house, tenant, person))


async def second(house: House, tenant: Tenant, role: Role) -> Person:
    await set_plan(house.database, tenant.tenant_id, users=100)
    person = await house.person("Second")
    await people.add_member(await house.connection(), tenant.tenant_id, tenant.people[Role.OWNER], person, role)
    return person


async def active_owners(house: House, tenant: Tenant) -> int:
    async with as_role(house.database, "bulkhead_identity_app", tenant_id=tenant.tenant_id, role=1) as connection:
        cursor = await connection.execute(
            "select count(*) from identity.memberships where role = 5 and status = 'active'"
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


# What each of two owners does at once, and what they are told: one wins, and the other finds her own token no good any
# more, or that she is the last one.
AT_ONCE: dict[str, tuple[str, str, list[str]]] = {
    "demote": ("ChangeRole", "ChangeRole", ["MEMBERSHIP_CHANGED", "done"]),
    "disable": ("DisableMember", "DisableMember", ["MEMBERSHIP_CHANGED", "done"]),
    "demote and disable": ("ChangeRole", "DisableMember", ["MEMBERSHIP_CHANGED", "done"]),
    "leave": ("LeaveTenant", "LeaveTenant", ["LAST_OWNER", "done"]),
}


async def owners_at_once(house: House, what: str, rounds: int) -> Counter[UUID]:
    """How often each of them was the one who stayed."""
    tenant = await house.tenant("owners")
    one, two = tenant.people[Role.OWNER], await second(house, tenant, Role.OWNER)
    first_does, second_does, expected = AT_ONCE[what]
    stayed: Counter[UUID] = Counter()

    async def act(rpc: str, actor: Person, other: Person) -> Callable[[], Awaitable[Any]]:
        if rpc == "LeaveTenant":
            herself = house.user(actor.user_id).identity
            return lambda: herself.LeaveTenant(tenant_id=str(tenant.tenant_id))
        more: dict[str, Any] = {"role": 2} if rpc == "ChangeRole" else {}
        client = (await now_as(house, tenant, actor)).identity
        return lambda: getattr(client, rpc)(user_id=str(other.user_id), **more)

    for number in range(rounds):
        acts = [await act(first_does, one, two), await act(second_does, two, one)]
        told = await in_time(*(begin() for begin in acts[:: 1 if number % 2 else -1]))
        assert sorted(told) == expected
        assert await active_owners(house, tenant) == 1
        winner, loser = (one, two) if await is_owner(house, tenant, one) else (two, one)
        stayed[winner.user_id] += 1
        client = (await now_as(house, tenant, winner)).identity
        if what == "leave":
            await people.add_member(await house.connection(), tenant.tenant_id, winner, loser, Role.OWNER)
        else:
            await client.EnableMember(user_id=str(loser.user_id))
            await client.ChangeRole(user_id=str(loser.user_id), role=5)
    return stayed


async def is_owner(house: House, tenant: Tenant, person: Person) -> bool:
    async with as_role(house.database, "bulkhead_identity_app", tenant_id=tenant.tenant_id, role=1) as connection:
        cursor = await connection.execute(
            "select role = 5 and status = 'active' from identity.memberships where user_id = %s", (person.user_id,)
        )
        return await cursor.fetchone() == (True,)


@pytest.mark.parametrize("what", AT_ONCE)
async def test_one_of_two_owners_is_left(house: House, what: str) -> None:
    assert (await owners_at_once(house, what, 15)).total() == 15


@pytest.mark.soak
@pytest.mark.parametrize("what", AT_ONCE)
async def test_one_of_two_owners_is_left_500_times(house: House, what: str) -> None:
    assert (await owners_at_once(house, what, 500)).total() == 500


async def test_two_owners_step_down_at_once(house: House) -> None:
    tenant = await house.tenant("down")
    one, two = tenant.people[Role.OWNER], await second(house, tenant, Role.OWNER)
    for _ in range(ROUNDS):
        clients = [await now_as(house, tenant, person) for person in (one, two)]
        told = await in_time(
            *(
                client.identity.ChangeRole(user_id=str(person.user_id), role=2)
                for client, person in zip(clients, (one, two), strict=True)
            )
        )
        assert sorted(told) == ["LAST_OWNER", "done"]
        assert await active_owners(house, tenant) == 1
        winner, loser = (one, two) if (await standing(house, tenant, one))[0] == Role.OWNER else (two, one)
        await (await now_as(house, tenant, winner)).identity.ChangeRole(user_id=str(loser.user_id), role=5)


async def test_two_admins_disable_each_other(house: House) -> None:
    tenant = await house.tenant("mutual")
    one, two = tenant.people[Role.ADMIN], await second(house, tenant, Role.ADMIN)
    for _ in range(ROUNDS):
        first, other = await now_as(house, tenant, one), await now_as(house, tenant, two)
        told = await in_time(
            first.identity.DisableMember(user_id=str(two.user_id)),
            other.identity.DisableMember(user_id=str(one.user_id)),
        )
        assert sorted(told) == ["MEMBERSHIP_CHANGED", "done"]
        for person in (one, two):
            await tenant.owner.identity.EnableMember(user_id=str(person.user_id))


class Writer:
    """A member who writes in the issues service as fast as she can until she is refused."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name
        self.made = 0
        self.ended_with = ""

    async def run(self) -> None:
        while not self.ended_with:
            try:
                await self.client.issues.CreateLabel(label={"name": f"{self.name} {self.made}"})
                self.made += 1
            except grpc.aio.AioRpcError as error:
                if reason_of(error) != "OVERLOADED":
                    self.ended_with = reason_of(error)


async def labels(house: House, tenant: Tenant, user_id: UUID | None = None) -> int:
    async with as_role(house.database, "bulkhead_issues_app", tenant_id=tenant.tenant_id, role=5) as connection:
        cursor = await connection.execute(
            "select count(*) from issues.labels where created_by = coalesce(%s, created_by)", (user_id,)
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def writers_of(house: House, tenant: Tenant, person: Person, many: int = 6) -> list[Writer]:
    client = await now_as(house, tenant, person)
    return [Writer(client, f"{time.perf_counter_ns()} {number}") for number in range(many)]


CHANGES = ["DisableMember", "ChangeRole", "LeaveTenant"]


async def races(house: House, rng: random.Random, change: str, rounds: int) -> int:
    """A manager writes as fast as she can while her rights go. Returns how many of her writes were let in."""
    tenant = await house.tenant("late")
    member = tenant.people[Role.MANAGER]
    user_id, owner = str(member.user_id), tenant.owner.identity
    made = 0
    for _ in range(rounds):
        writers = await writers_of(house, tenant, member)
        running = [asyncio.create_task(writer.run()) for writer in writers]
        await asyncio.sleep(rng.uniform(0.01, 0.1))
        async with asyncio.timeout(LONGEST):
            if change == "LeaveTenant":
                await house.user(member.user_id).identity.LeaveTenant(tenant_id=str(tenant.tenant_id))
            else:
                await getattr(owner, change)(user_id=user_id, **({"role": 2} if change == "ChangeRole" else {}))
            at_return = await labels(house, tenant, member.user_id)
            await asyncio.gather(*running)
        assert await labels(house, tenant, member.user_id) == at_return
        assert {writer.ended_with for writer in writers} == {"MEMBERSHIP_CHANGED"}
        made += sum(writer.made for writer in writers)
        if change == "DisableMember":
            await owner.EnableMember(user_id=user_id)
        elif change == "ChangeRole":
            await owner.ChangeRole(user_id=user_id, role=3)
        else:
            founder = tenant.people[Role.OWNER]
            await people.add_member(await house.connection(), tenant.tenant_id, founder, member, Role.MANAGER)
    return made


@pytest.mark.parametrize("change", CHANGES)
async def test_no_write_is_late(house: House, rng: random.Random, change: str) -> None:
    assert await races(house, rng, change, 8) > 8


@pytest.mark.soak
@pytest.mark.parametrize("change", CHANGES)
async def test_no_write_is_late_in_700_races(house: House, rng: random.Random, change: str) -> None:
    assert await races(house, rng, change, 700) > 700


async def test_a_change_waits_for_a_write_that_was_let_in(house: House) -> None:
    """The same without luck: the write is held open by hand."""
    tenant = await house.tenant("fence")
    member = tenant.people[Role.MANAGER].user_id
    owner = tenant.owner.identity
    changes: list[tuple[Callable[[], Awaitable[Any]], str]] = [
        (lambda: owner.DisableMember(user_id=str(member)), "write"),
        (lambda: owner.EnableMember(user_id=str(member)), "nothing"),
        (lambda: owner.ChangeRole(user_id=str(member), role=4), "write"),
        (lambda: set_status(house.database, tenant.tenant_id, "suspended"), "write"),
        (lambda: set_status(house.database, tenant.tenant_id, "active"), "read"),
    ]
    for change, held in changes:
        async with as_role(house.database, "bulkhead_issues_app") as connection:
            if held != "nothing":
                role, version = await standing(house, tenant, tenant.people[Role.MANAGER])
                await connection.execute(
                    "select role from identity.check_membership(%s, %s, %s::smallint, %s, %s)",
                    (tenant.tenant_id, member, role.value, version, held == "write"),
                )
            changing = asyncio.ensure_future(change())
            done, _ = await asyncio.wait([changing], timeout=0.3)
            assert bool(done) == (held != "write")
        async with asyncio.timeout(LONGEST):
            await changing


async def test_no_write_is_late_when_a_tenant_is_suspended(house: House, rng: random.Random) -> None:
    tenant, other = await house.tenant("stop"), await house.tenant("go")
    for _ in range(5):
        writers = [
            writer
            for role in (Role.OWNER, Role.ADMIN, Role.MANAGER)
            for writer in await writers_of(house, tenant, tenant.people[role], 2)
        ]
        (free,) = await writers_of(house, other, other.people[Role.OWNER], 1)
        running = [asyncio.create_task(writer.run()) for writer in writers]
        untouched = asyncio.create_task(free.run())
        await asyncio.sleep(rng.uniform(0.02, 0.15))
        async with asyncio.timeout(LONGEST):
            await set_status(house.database, tenant.tenant_id, "suspended")
            at_return = await labels(house, tenant)
            await asyncio.gather(*running)
        assert await labels(house, tenant) == at_return
        assert {writer.ended_with for writer in writers} == {"TENANT_SUSPENDED"}
        free.ended_with = "told to"
        await untouched
        assert free.made > 0
        await set_status(house.database, tenant.tenant_id, "active")


async def test_nothing_deadlocks(house: House, rng: random.Random) -> None:
    """Everything that changes members, at once, over and over: whatever is told, it is not CONFLICT."""
    tenant = await house.tenant("chaos")
    admins = [tenant.people[Role.ADMIN], *[await second(house, tenant, Role.ADMIN) for _ in range(3)]]
    members = [await second(house, tenant, Role.MEMBER) for _ in range(3)]
    targets = [str(person.user_id) for person in (*admins, *members)]
    leavers = [await second(house, tenant, Role.VIEWER) for _ in range(6)]
    targets += [str(person.user_id) for person in leavers]
    invited = [(await tenant.owner.identity.InviteMember(email=new_address(), role=2)).invitation_id for _ in range(12)]

    def any_call(client: Client) -> Awaitable[Any]:
        target, author = rng.choice(targets), {"external_id": new_address(), "display_name": "A"}
        calls: list[tuple[Client, str, str, dict[str, Any]]] = [
            (client, "identity", "ChangeRole", {"user_id": target, "role": rng.choice([2, 3, 4])}),
            (client, "identity", "DisableMember", {"user_id": target}),
            (client, "identity", "EnableMember", {"user_id": target}),
            (client, "identity", "InviteMember", {"email": new_address(), "role": 2}),
            (client, "identity", "RevokeInvitation", {"invitation_id": rng.choice(invited)}),
            (client, "identity", "ListInvitations", {}),
            (client, "identity", "ListMembers", {}),
            (house.user(rng.choice(leavers).user_id), "identity", "LeaveTenant", {"tenant_id": str(tenant.tenant_id)}),
            (client, "issues", "CreateLabel", {"label": {"name": new_address()}}),
            (tenant.service("issues"), "identity", "ImportMembers", {"external_source": "x", "authors": [author]}),
        ]
        caller, service, rpc, request = rng.choice(calls)
        call: Awaitable[Any] = getattr(getattr(caller, service), rpc)(**request)
        return call

    async def one() -> str:
        return await outcome(any_call(rng.choice([tenant.owner, await now_as(house, tenant, rng.choice(admins))])))

    async def several() -> Counter[str]:
        return Counter([await one() for _ in range(20)])

    async with asyncio.timeout(60):
        told = sum(await asyncio.gather(*(several() for _ in range(8))), Counter())
    expected = {"done", "MEMBERSHIP_CHANGED", "ROLE_ABOVE_OWN", "ROLE_TOO_LOW", "OVERLOADED"}
    # Who was disabled has nothing to leave, and who has left is not enabled.
    expected |= {"RESOURCE_NOT_FOUND", "STATE_NOT_ALLOWED"}
    assert set(told) <= expected, told
    assert told["done"] > 20


async def test_the_last_owner_is_kept_by_the_database_too(house: House) -> None:
    """Two transactions of the app role, each of which would be right alone, without the lock an RPC takes first."""
    tenant = await house.tenant("sql")
    one, two = tenant.people[Role.OWNER], await second(house, tenant, Role.OWNER)

    def acting(person: Person) -> Any:
        return as_role(
            house.database, "bulkhead_identity_app", tenant_id=tenant.tenant_id, user_id=person.user_id, role=5
        )

    async def demote(connection: people.Connection, person: Person) -> None:
        await connection.execute(
            "update identity.memberships set role = 4 where tenant_id = %s and user_id = %s",
            (tenant.tenant_id, person.user_id),
        )
        # What COMMIT does, without ending the transaction.
        await connection.execute("set constraints all immediate")

    async def other() -> str:
        try:
            async with acting(two) as connection:
                await demote(connection, two)
        except psycopg.DatabaseError as error:
            return str(error.sqlstate)
        return "done"

    async with acting(one) as connection:
        await demote(connection, one)
        trying = asyncio.ensure_future(other())
        done, _ = await asyncio.wait([trying], timeout=0.3)
        assert not done
    async with asyncio.timeout(LONGEST):
        assert await trying == "BH009"
    assert await active_owners(house, tenant) == 1
