"""Stops calls whose time is up.

One look at all running calls every few milliseconds, instead of a timer for each: nearly all calls end long before
their deadline, and a timer costs each of them more than this whole file.
"""

from __future__ import annotations

import asyncio
from typing import Final

from bulkhead_kit import clock
from bulkhead_kit.interceptors.call import Call

TICK: Final = 0.02


class Deadlines:
    def __init__(self) -> None:
        self.running: set[Call] = set()
        self._looking = False
        self._idle: asyncio.Event | None = None

    def watch(self, call: Call) -> None:
        self.running.add(call)
        if not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_later(TICK, self._look)

    def release(self, call: Call) -> None:
        self.running.discard(call)
        if self._idle is not None and not self.running:
            self._idle.set()

    async def idle(self) -> None:
        """Until no call is running."""
        while self.running:
            if self._idle is None or self._idle.is_set():
                self._idle = asyncio.Event()
            await self._idle.wait()

    def _look(self) -> None:
        now = clock.monotonic()
        for call in self.running:
            if call.deadline <= now and not call.expired and call.task is not None:
                call.expired = True
                call.task.cancel()
        self._looking = bool(self.running)
        if self._looking:
            asyncio.get_running_loop().call_later(TICK, self._look)
