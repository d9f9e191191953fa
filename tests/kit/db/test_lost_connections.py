"""A server that was restarted is not noticed by those who come after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
from bulkhead_kit.db import Database, PoolSettings

from tests.kit.db import labels
from tests.kit.db.conftest import Make
from tests.support.postgres import ScratchDatabase

SIZE = 4


@pytest.fixture
async def several(database: ScratchDatabase) -> AsyncIterator[Database]:
    made = Database(database.dsn("bulkhead_issues_app"), PoolSettings(min_size=SIZE, max_size=SIZE), application="lost")
    await made.open()
    yield made
    await made.close()


async def test_connections_that_the_server_has_closed_cost_no_call(
    several: Database, owner: Make, database: ScratchDatabase
) -> None:
    sessions = "select count(*) from pg_stat_activity where application_name = 'lost'"
    with psycopg.connect(database.admin_dsn, autocommit=True) as admin:
        async with asyncio.timeout(10):
            while admin.execute(sessions).fetchall() != [(SIZE,)]:  # noqa: ASYNC110 - a connection sends no event
                await asyncio.sleep(0.02)
        admin.execute("select pg_terminate_backend(pid, 1000) from pg_stat_activity where application_name = 'lost'")
    reads = [several.read(owner()).one(labels.COUNT) for _ in range(2 * SIZE)]
    assert [count.number for count in await asyncio.gather(*reads)] == [0] * 2 * SIZE
