"""Nobody gets past the fence of a write by SQL of a service's own role: not silent, by an old view, or as a reader."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.identity.world import as_role
from tests.support import people
from tests.support.house import House, Tenant
from tests.support.parts import PARTS
from tests.support.people import Person, set_context

SEVERAL, MANY = 12, 700
"""Races through each door."""
PATIENCE = 20.0
CHECK = "select role from identity.check_membership(%s, %s, 3::smallint, %s, {})"
ISOLATION = "current_setting('transaction_isolation') <> 'read committed'"
CHECKS = "identity.check_membership"

Connection = psycopg.AsyncConnection[Any]


@dataclass
class Case:
    house: House
    tenant: Tenant
    member: Person
    version: int = 0
    """Of the membership, as a token says it."""

    async def enter(self, connection: Connection, check: str, **context: object) -> None:
        values = (self.tenant.tenant_id, self.member.user_id, self.version)
        await connection.execute(CHECK.format(check).encode(), values)
        await set_context(
            connection,
            tenant_id=self.tenant.tenant_id,
            user_id=self.member.user_id,
            role=3,
            actor_type="person",
            **context,
        )

    async def disable(self) -> None:
        await self.tenant.owner.identity.DisableMember(user_id=str(self.member.user_id))

    async def enable(self) -> None:
        await self.tenant.owner.identity.EnableMember(user_id=str(self.member.user_id))
        await self.look()

    async def look(self) -> None:
        connection = await self.house.connection()
        _, self.version = await people.membership(connection, self.tenant.tenant_id, self.member.user_id)

    async def labels(self) -> int:
        async with as_role(self.house.database, "bulkhead_issues_app", tenant_id=self.tenant.tenant_id, role=5) as app:
            cursor = await app.execute(
                "select count(*) from issues.labels where tenant_id = %s", (self.tenant.tenant_id,)
            )
            ((count,),) = await cursor.fetchall()
        return int(count)


@pytest_asyncio.fixture
async def case(house: House) -> AsyncIterator[Case]:
    tenant = await house.tenant("doors")
    made = Case(house, tenant, tenant.people[Role.MANAGER])
    await made.look()
    yield made


async def write(connection: Connection) -> None:
    await connection.execute(
        "insert into issues.labels (tenant_id, label_id, name, color)"
        " values (app.current_tenant_id(), %s, %s, '#112233')",
        (new_id(), f"door {new_id()}"),
    )


Step = Callable[[Case, Connection], Awaitable[object]]


async def begin(_: Case, connection: Connection) -> None:
    await connection.execute("begin")


async def take_a_view(_: Case, connection: Connection) -> None:
    """Of everything as it is now, for the whole transaction."""
    await connection.execute("begin isolation level repeatable read")
    await connection.execute("select 1")


async def say_nothing(case: Case, connection: Connection) -> None:
    await begin(case, connection)
    await case.enter(connection, "null")


async def come_to_read(case: Case, connection: Connection) -> None:
    await begin(case, connection)
    await case.enter(connection, "false", writing="")


async def enter(case: Case, connection: Connection) -> None:
    await case.enter(connection, "true")


async def nothing(_: Case, __: Connection) -> None:
    pass


@dataclass(frozen=True)
class Door:
    before: Step
    """What an intruder does before the right is gone."""
    after: Step
    """And then, before the write."""
    lock: str
    """What of check_membership shuts the door; empty for the wall of the table."""
    key: str
    """In its place the door is open."""


DOORS = {
    "saying nothing": Door(say_nothing, nothing, "p_write is distinct from false then", "p_write then"),
    "an old view": Door(take_a_view, enter, ISOLATION, "false"),
    "a reader": Door(come_to_read, nothing, "", ""),
}
HONEST = Door(begin, enter, "", "")


@contextmanager
def opened(house: House, door: Door) -> Iterator[None]:
    """As it was."""
    with psycopg.connect(house.database.admin_dsn, autocommit=True) as admin:
        if not door.lock:
            wall = "alter policy tenant_wall on issues.labels with check (tenant_id = app.current_tenant_id(){})"
            back, away = wall.format(" and app.is_writing()"), wall.format("")
        else:
            row = admin.execute("select pg_get_functiondef(%s::regproc)", (CHECKS,)).fetchone()
            assert row is not None
            assert door.lock in row[0]
            back, away = row[0], row[0].replace(door.lock, door.key)
        admin.execute(away.encode())
        try:
            yield
        finally:
            admin.execute(back.encode())


async def writes_late(case: Case, door: Door) -> bool:
    """Held open by hand: whether what began before DisableMember is written after it has returned."""
    async with await psycopg.AsyncConnection.connect(
        case.house.database.dsn("bulkhead_issues_app"), autocommit=True
    ) as connection:
        let_in = await done(door.before(case, connection))
        disabling = asyncio.ensure_future(case.disable())
        await asyncio.wait([disabling], timeout=1.0)
        returned_first = disabling.done()
        let_in = let_in and await done(door.after(case, connection))
        written = let_in and await done(write(connection)) and await done(connection.execute("commit"))
        if not written:
            await connection.execute("rollback")
    async with asyncio.timeout(PATIENCE):
        await disabling
    await case.enable()
    return written and returned_first


async def done(statement: Awaitable[object]) -> bool:
    try:
        await statement
    except psycopg.Error:
        return False
    return True


@pytest.mark.parametrize("name", DOORS)
async def test_the_door_is_shut_and_its_mutant_is_open(case: Case, name: str) -> None:
    door = DOORS[name]
    assert not await writes_late(case, door)
    # Whoever says nothing is let in as one who writes, and waited for.
    assert await case.labels() == (1 if name == "saying nothing" else 0)
    with opened(case.house, door):
        assert await writes_late(case, door)


@pytest.mark.parametrize("rounds", [SEVERAL, pytest.param(MANY, marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", DOORS)
async def test_no_write_is_late(case: Case, rng: random.Random, name: str, rounds: int) -> None:
    """Through the door and, beside it, as everybody does: of neither is one committed after DisableMember returned."""
    told = {"written": 0, "refused": 0}
    for _ in range(rounds):
        ended = asyncio.Event()
        doors = (DOORS[name], DOORS[name], HONEST)
        writers = [asyncio.create_task(keep_writing(case, door, ended, told)) for door in doors]
        await asyncio.sleep(rng.uniform(0.01, 0.08))
        async with asyncio.timeout(PATIENCE):
            await case.disable()
            at_return = await case.labels()
            await asyncio.sleep(0.02)
            ended.set()
            await asyncio.gather(*writers)
        assert await case.labels() == at_return, f"{name}: a write was committed after it had returned"
        await case.enable()
    assert told["written"] > 0
    assert told["refused"] > rounds
    PARTS.found[f"Side door of a write: {name}"] = (
        f"{rounds} races, {told['written']} writes before, 0 after, {told['refused']} refused"
    )


async def keep_writing(case: Case, door: Door, ended: asyncio.Event, told: dict[str, int]) -> None:
    async with await psycopg.AsyncConnection.connect(
        case.house.database.dsn("bulkhead_issues_app"), autocommit=True
    ) as connection:
        while not ended.is_set():
            try:
                await door.before(case, connection)
                await door.after(case, connection)
                await write(connection)
                await connection.execute("commit")
                told["written"] += 1
            except psycopg.Error:
                await connection.execute("rollback")
                told["refused"] += 1
            await asyncio.sleep(0)
