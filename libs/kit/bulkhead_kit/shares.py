"""Who goes on next where only so many can at once: of those that wait the one whose holder has the fewest, so that a
noisy one does not queue up before others.

For connections: psycopg_pool hands them out in the order of asking, and behind a tenant with a hundred calls everybody
waits for all of them. Here a call waits before it asks the pool, in its tenant's own queue, and the pool never has more
takers than connections. For threads see threads.py.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Final

from bulkhead_kit import clock

RESERVED: Final = 8
"""One connection in so many is kept from a tenant that has half of them already, so that a newcomer seldom waits."""


class FullError(Exception):
    """Too many wait already, and nobody has more of the places than who asks."""


class Shares:
    """At most `size` holders at once. Of those that wait, the one goes on whose holder has the fewest, and of several
    the one that was served longest ago; who would hold more than half goes on when nobody else waits, and never on the
    reserve.

    At most `room` wait. One too many is no reason to refuse whoever comes last: the newest of the holder that has most
    is turned away, so that nobody is refused while another has more than a fair share.
    """

    def __init__(self, size: int, *, room: int | None = None) -> None:
        self.size = size
        self.room = room
        self.in_use = 0
        self.waiting = 0
        self.queued = 0
        """Times that somebody had to wait."""
        self.waited = 0.0
        """Seconds, of all of them."""
        self.given_up = 0
        self.turned_away = 0
        self._half = max(1, size // 2)
        self._common = size - size // RESERVED
        self._held: dict[Hashable, int] = {}
        self._queues: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()
        """By holder; who has just been served stands last."""

    def take_now(self, holder: Hashable) -> bool:
        """Without waiting. False when the holder has to."""
        if self.waiting or not self._fits(holder):
            return False
        self._hold(holder)
        return True

    async def take(self, holder: Hashable, patience: float | None = None) -> None:
        """Raises FullError, and TimeoutError after so many seconds. Whoever is cancelled or gives up holds nothing."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(holder, deque()).append(turn)
        self.waiting += 1
        self.queued += 1
        began = clock.monotonic()
        # It may fit at once, where only others have to wait.
        self._serve()
        if self.room is not None and self.waiting > self.room:
            self._turn_away(holder)
        try:
            async with asyncio.timeout(patience):
                await turn
        except BaseException as error:
            self.given_up += isinstance(error, TimeoutError)
            if not turn.done() or turn.cancelled():
                self._leave(holder, turn)
            elif turn.exception() is None:
                # Served in the same moment.
                self.give_back(holder)
            raise
        finally:
            self.waited += clock.monotonic() - began

    def give_back(self, holder: Hashable) -> None:
        held = self._held[holder]
        if held == 1:
            del self._held[holder]
        else:
            self._held[holder] = held - 1
        self.in_use -= 1
        if self.waiting:
            self._serve()

    def _fits(self, holder: Hashable) -> bool:
        below_half = self._held.get(holder, 0) < self._half
        return self.in_use < (self.size if below_half else self._common)

    def _hold(self, holder: Hashable) -> None:
        self._held[holder] = self._held.get(holder, 0) + 1
        self.in_use += 1

    def _serve(self) -> None:
        while self.waiting and self.in_use < self.size:
            # The first of several that hold as few is the one that was served longest ago.
            holder = min(self._queues, key=lambda one: self._held.get(one, 0))
            if not self._fits(holder):
                return
            turn = self._queues[holder].popleft()
            self._forget(holder)
            self.waiting -= 1
            if not turn.done():
                self._hold(holder)
                turn.set_result(None)

    def _turn_away(self, newcomer: Hashable) -> None:
        """Of several that have as many the newcomer's own: to take from another would only change who is refused."""

        def taken(one: Hashable) -> tuple[int, bool]:
            return self._held.get(one, 0) + len(self._queues[one]), one == newcomer

        most = max(self._queues, key=taken)
        turn = self._queues[most].pop()
        if not self._queues[most]:
            del self._queues[most]
        self.waiting -= 1
        if not turn.done():
            self.turned_away += 1
            turn.set_exception(FullError())

    def _leave(self, holder: Hashable, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(holder)
        if queue is None or turn not in queue:
            # _serve has met it already, cancelled.
            return
        queue.remove(turn)
        self.waiting -= 1
        if not queue:
            del self._queues[holder]
        # Those behind it may fit where it did not.
        self._serve()

    def _forget(self, holder: Hashable) -> None:
        if self._queues[holder]:
            self._queues.move_to_end(holder)
        else:
            del self._queues[holder]
