"""Calls held back by a lock, so that races come out one way every time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import psycopg

from tests.support.house import House

PATIENCE: Final = 30.0


class Hold:
    """A lock on a table, behind which calls wait; nobody has to guess how long they take to come there."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection = connection

    async def until_one_waits(self) -> None:
        """For the lock; not what services note of calls refused before."""
        await self._until("pg_backend_pid() = any (pg_blocking_pids(a.pid)) and a.query not like '%record_event%'")

    async def until_another_waits(self, or_done: asyncio.Future[Any] | None = None) -> None:
        """For the one that waits, or until the call has come to its end without."""
        await self._until("cardinality(array_remove(pg_blocking_pids(a.pid), pg_backend_pid())) > 0", or_done)

    async def _until(self, condition: str, or_done: asyncio.Future[Any] | None = None) -> None:
        query = f"select from pg_stat_activity as a where a.datname = current_database() and {condition}"
        async with asyncio.timeout(PATIENCE):
            while or_done is None or not or_done.done():
                if (await self._connection.execute(query.encode())).rowcount:
                    return
                await asyncio.sleep(0.01)


@asynccontextmanager
async def held(house: House, table: str) -> AsyncIterator[Hold]:
    """Nobody writes into the table meanwhile; everybody reads."""
    async with (
        await psycopg.AsyncConnection.connect(house.database.admin_dsn, autocommit=True) as connection,
        connection.transaction(),
    ):
        await connection.execute(f"lock table {table} in share row exclusive mode".encode())
        yield Hold(connection)
