"""Work for the processor, in a few threads, with a share for everybody who brings some."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason

from bulkhead_kit.errors import ResourceExhausted
from bulkhead_kit.shares import FullError, Shares

RETRY_AFTER: Final = 1.0
Result = TypeVar("Result")


class Threads:
    """An executor's, of which so many work at once while at most `queue` pieces of work wait; never more are given to
    it than it can begin, so that who goes on is decided by shares and not by the order of asking."""

    def __init__(self, executor: ThreadPoolExecutor, *, at_once: int, queue: int, full: str) -> None:
        """`full`: what whoever is turned away is told."""
        self.shares = Shares(at_once, room=queue)
        self._executor = executor
        self._full = full

    async def run(self, holder: Hashable, work: Callable[[], Result]) -> Result:
        """Raises ResourceExhausted OVERLOADED; then the work was not begun."""
        if not self.shares.take_now(holder):
            try:
                await self.shares.take(holder)
            except FullError:
                raise ResourceExhausted(ErrorReason.OVERLOADED, self._full, retry_after=RETRY_AFTER) from None
        loop = asyncio.get_running_loop()

        def ended(_: Future[Result]) -> None:
            # A loop that is closed has nobody left who waits.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self.shares.give_back, holder)

        try:
            job = self._executor.submit(work)
        except BaseException:
            self.shares.give_back(holder)
            raise
        # When the work ends, not when the caller stops waiting: a thread cannot be stopped.
        job.add_done_callback(ended)
        return await asyncio.wrap_future(job)
