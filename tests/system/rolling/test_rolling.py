"""Restarts, one process after the other and without a pause between, cost clients no call."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from bulkhead_kit.policy import read_policies

from tests.support import people
from tests.support.client import contracts
from tests.support.postgres import ScratchDatabase
from tests.system.rolling.fleet import LAYOUTS, Fleet, Layout
from tests.system.rolling.load import Tally, load, published_config

SERVICES = ("identity", "issues", "audit")
ROUNDS = 20


async def company(database: ScratchDatabase) -> tuple[UUID, UUID]:
    """Its owner and itself."""
    async with await psycopg.AsyncConnection.connect(database.dsn("bulkhead_identity_app"), autocommit=True) as app:
        owner = await people.make_person(app)
        return owner.user_id, await people.make_tenant(app, owner, slug=f"rolling-{owner.user_id.hex[-8:]}")


async def prove(folder: Path, database: ScratchDatabase, layout: Layout, service: str, *, rounds: int) -> None:
    owner, tenant = await company(database)
    with Fleet(folder, database, layout, [service]).started() as fleet:
        async with load(fleet, service, owner, tenant) as tally:
            await answered(tally, 50)
            for _ in range(rounds):
                for replica in fleet.replicas[service]:
                    await asyncio.to_thread(fleet.restart, replica)
            await answered(tally, 50)
        print(f"{service}, {layout}, {rounds} rolling restarts: {tally}")
        assert not tally.failed, tally


async def answered(tally: Tally, more: int) -> None:
    wanted = len(tally.times) + more
    async with asyncio.timeout(60):
        while len(tally.times) < wanted:
            tally.heard.clear()
            await tally.heard.wait()


@pytest.mark.parametrize("layout", LAYOUTS[:2])
async def test_a_rolling_restart_costs_no_call(layout: Layout, tmp_path: Path, database: ScratchDatabase) -> None:
    await prove(tmp_path, database, layout, "audit", rounds=1)


@pytest.mark.soak
@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("layout", LAYOUTS)
async def test_twenty_rolling_restarts_cost_no_call(
    layout: Layout, service: str, tmp_path: Path, database: ScratchDatabase
) -> None:
    await prove(tmp_path, database, layout, service, rounds=ROUNDS)


def test_the_published_config_repeats_only_what_may_be_repeated() -> None:
    others = [name for one in published_config()["methodConfig"] if "retryPolicy" not in one for name in one["name"]]
    policies = read_policies([one.full_name for one in contracts()])
    single = {policy.method for policy in policies.values() if not policy.idempotent}
    assert {f"{one['service']}/{one['method']}" for one in others} == single
