"""Whether a pooler stands between us and the server, looked at once for each new connection."""

from __future__ import annotations

import asyncio
from typing import Final
from weakref import WeakValueDictionary

from bulkhead_kit.db.session import Connection, Traffic
from bulkhead_kit.poolers import SERVER_PROCESS, Pooler, is_shared, must_be_said

LOOK_SECONDS: Final = 10.0
"""A pooler lets clients in before it has a connection of the server for them."""


class PoolerWatch:
    def __init__(self, pooler: Pooler, setting: str, traffic: Traffic) -> None:
        self._pooler = pooler
        self._setting = setting
        self._traffic = traffic
        self._served_by: WeakValueDictionary[int, Connection] = WeakValueDictionary()
        """Our connections by the server's process, behind a pooler that gives each its own."""

    @property
    def prepares(self) -> bool:
        """Whether a prepared statement is there again at the next call."""
        return self._pooler != "transaction"

    @property
    def found(self) -> str | None:
        """For good: the setting that is wrong is read at a start only."""
        return is_shared(self._setting) if self._traffic.strayed else None

    async def reason_against(self, connection: Connection) -> str | None:
        """Why the connection must not be worked with, before anything is prepared on it."""
        async with asyncio.timeout(LOOK_SECONDS):
            (process,) = await (await connection.execute(SERVER_PROCESS)).fetchone() or (0,)
        connection.pooled = process != connection.info.backend_pid
        if not connection.pooled or not self.prepares:
            return None
        if self._pooler == "none":
            return must_be_said(self._setting)
        other = self._served_by.get(process)
        if other is not None and not other.closed:
            self._traffic.strayed += 1
        self._served_by[process] = connection
        return self.found
