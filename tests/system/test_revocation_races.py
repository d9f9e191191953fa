"""A right that is taken is gone when the call that took it returns: nothing its holder began is written after that.

The fence is in the database (a lock shared by writes, taken alone by the change), so the race is run through two
services: the change in identity, the writes in issues.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import psycopg
import pytest
from bulkhead_kit.caller import Role

from tests.identity.platform.world import administrator
from tests.support import people
from tests.support.builders import make_issue, make_project
from tests.support.client import Client, reason_of
from tests.support.house import House, Tenant
from tests.support.parts import PARTS
from tests.support.people import set_context

LONGEST = 10.0
WRITERS = 4
LATEST_START = 0.03
"""Seconds into the writing at which a change may begin: a write takes about 5 ms."""
CHANGES = ("DisableMember", "ChangeRole", "SuspendTenant")
GONE = {"DisableMember": "MEMBERSHIP_CHANGED", "ChangeRole": "MEMBERSHIP_CHANGED", "SuspendTenant": "TENANT_SUSPENDED"}


class Ring:
    """One member who writes, over and over, and what has become of it."""

    def __init__(self, tenant: Tenant, platform: Client, counts: psycopg.AsyncConnection, issue_id: str) -> None:
        self.house = tenant.house
        self.platform = platform
        self.tenant = tenant
        self.member = tenant.people[Role.MANAGER]
        self.counts = counts
        self.issue_id = issue_id
        self.written = 0
        self.refused: Counter[str] = Counter()

    async def race(self, change: str, rng: random.Random) -> None:
        role, version = await people.membership(
            await self.house.connection(), self.tenant.tenant_id, self.member.user_id
        )
        client = self.house.member(self.member.user_id, self.tenant.tenant_id, role, version)
        async with asyncio.timeout(LONGEST):
            writers = [asyncio.create_task(self._write(client, rng)) for _ in range(WRITERS)]
            await asyncio.sleep(rng.uniform(0, LATEST_START))
            await self._take_away(change, role)
            at_return = await self._rows()
            ends = await asyncio.gather(*writers)
        assert await self._rows() == at_return, f"{change}: a write was committed after it had returned"
        assert set(ends) == {GONE[change]}
        self.refused.update(ends)
        await self._give_back(change)

    async def _take_away(self, change: str, role: Role) -> None:
        owner, user_id = self.tenant.owner.identity, str(self.member.user_id)
        if change == "DisableMember":
            await owner.DisableMember(user_id=user_id)
        elif change == "ChangeRole":
            other = Role.ADMIN if role == Role.MANAGER else Role.MANAGER
            await owner.ChangeRole(user_id=user_id, role=other.value)
        else:
            await self.platform.identity.SuspendTenant(tenant_id=str(self.tenant.tenant_id), reason="a race")

    async def _give_back(self, change: str) -> None:
        if change == "DisableMember":
            await self.tenant.owner.identity.EnableMember(user_id=str(self.member.user_id))
        elif change == "SuspendTenant":
            await self.platform.identity.ResumeTenant(tenant_id=str(self.tenant.tenant_id))

    async def _write(self, client: Client, rng: random.Random) -> str:
        """Until she is refused; what she was told then."""
        while True:
            try:
                await self._one(client, rng)
                self.written += 1
            except grpc.aio.AioRpcError as error:
                return reason_of(error)

    async def _one(self, client: Client, rng: random.Random) -> Any:
        issues = client.issues
        if rng.random() < 0.5:
            return await issues.CreateComment(comment={"issue_id": self.issue_id, "body": "Seen.", "visibility": 1})
        return await issues.CreateLabel(label={"name": f"{rng.getrandbits(64):x}"})

    async def _rows(self) -> int:
        async with self.counts.transaction():
            await set_context(self.counts, tenant_id=self.tenant.tenant_id, role=Role.OWNER.value)
            cursor = await self.counts.execute(
                """
                select (select count(*) from issues.comments where tenant_id = %(tenant)s and created_by = %(user)s)
                    + (select count(*) from issues.labels where tenant_id = %(tenant)s and created_by = %(user)s)
                """,
                {"tenant": self.tenant.tenant_id, "user": self.member.user_id},
            )
            row = await cursor.fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
async def ring(house: House) -> AsyncIterator[Ring]:
    tenant = await house.tenant("race")
    project = await make_project(tenant.owner)
    issue = await make_issue(tenant.owner, project.project_id)
    platform, _ = await administrator(house)
    connection = await psycopg.AsyncConnection.connect(house.database.dsn("bulkhead_issues_app"), autocommit=True)
    async with connection:
        yield Ring(tenant, platform, connection, issue.issue_id)


async def run(ring: Ring, rounds: int, rng: random.Random) -> None:
    for _ in range(rounds):
        await ring.race(rng.choice(CHANGES), rng)
    # Races that nobody ran: a ring that writes nothing proves nothing.
    assert ring.written > rounds
    PARTS.found["Rights taken while their holder writes"] = (
        f"{rounds} races, {ring.written} writes committed before, 0 after; then {dict(ring.refused)}"
    )


async def test_nothing_is_written_after_a_right_is_gone(ring: Ring, rng: random.Random) -> None:
    await run(ring, 60, rng)


@pytest.mark.soak
async def test_nothing_is_written_after_a_right_is_gone_2000_times(ring: Ring, rng: random.Random) -> None:
    await run(ring, 2_000, rng)


@pytest.mark.soak
async def test_without_the_fence_the_race_is_lost(ring: Ring, rng: random.Random) -> None:
    """The mutant: the same membership check, taking no lock. What the races above would miss, this shows."""
    with psycopg.connect(ring.house.database.admin_dsn, autocommit=True) as admin:
        row = admin.execute("select pg_get_functiondef('identity.check_membership'::regproc)").fetchone()
        assert row is not None
        fenced = str(row[0])
        unfenced = fenced.replace("if p_write is distinct from false then", "if false then", 1)
        assert unfenced != fenced
        admin.execute(unfenced.encode())
        with pytest.raises(AssertionError, match="a write was committed after it had returned"):
            await run(ring, 1_000, rng)
        admin.execute(fenced.encode())
