"""Who goes on next where only so many can at once: of those that wait the one whose holder has the fewest, so that a
noisy one does not queue up before others.

A holder may have several parts, such as a tenant and the person who acts in it. What it takes counts under each of
them, and what it has is what the part has that has most: a hundred tenants of one person have one person's share.

For connections: psycopg_pool hands them out in the order of asking, and behind a tenant with a hundred calls everybody
waits for all of them. Here a call waits before it asks the pool, in a queue of its own person in its own tenant, and
the pool never has more takers than connections. For threads see threads.py.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Hashable
from typing import Final

from bulkhead_kit import clock

Holder = Hashable
"""A tuple of parts, or the only one."""

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
        self._queues: dict[Holder, deque[asyncio.Future[None]]] = {}
        """By holder, in the order in which they began to wait."""
        self._turns = 0
        self._last_turn: dict[Hashable, int] = {}
        """Of the parts of holders, since somebody waits."""

    def take_now(self, holder: Holder) -> bool:
        """Without waiting. False when the holder has to."""
        if self.waiting or not self._fits(holder):
            return False
        self._hold(holder)
        return True

    async def take(self, holder: Holder, patience: float | None = None) -> None:
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

    def give_back(self, holder: Holder) -> None:
        held = self._held
        for part in _parts(holder):
            if held[part] == 1:
                del held[part]
            else:
                held[part] -= 1
        self.in_use -= 1
        if self.waiting:
            self._serve()

    def _fits(self, holder: Holder) -> bool:
        return self.in_use < (self.size if self._has(holder) < self._half else self._common)

    def _has(self, holder: Holder) -> int:
        # Every statement comes through here: a loop costs less than a list to take the most of.
        held, most = self._held, 0
        for part in _parts(holder):
            count = held.get(part, 0)
            most = max(most, count)
        return most

    def _hold(self, holder: Holder) -> None:
        held = self._held
        for part in _parts(holder):
            held[part] = held.get(part, 0) + 1
        self.in_use += 1

    def _serve(self) -> None:
        while self.waiting and self.in_use < self.size:
            holder = min(self._queues, key=self._rank)
            if not self._fits(holder):
                return
            turn = self._queues[holder].popleft()
            self._turns += 1
            for part in _parts(holder):
                self._last_turn[part] = self._turns
            if not turn.done():
                self._hold(holder)
                turn.set_result(None)
            self._less_waiting(holder)

    def _rank(self, holder: Holder) -> tuple[int, int]:
        """The first of several that have as few is the one that was served longest ago."""
        last = self._last_turn
        return self._has(holder), max([last.get(part, 0) for part in _parts(holder)])

    def _turn_away(self, newcomer: Holder) -> None:
        """Of several that have as many the newcomer's own: to take from another would only change who is refused."""
        places = Counter(self._held)
        for one, queue in self._queues.items():
            for part in _parts(one):
                places[part] += len(queue)

        def taken(one: Holder) -> tuple[int, bool]:
            return max([places[part] for part in _parts(one)]), one == newcomer

        most = max(self._queues, key=taken)
        turn = self._queues[most].pop()
        if not turn.done():
            self.turned_away += 1
            turn.set_exception(FullError())
        self._less_waiting(most)

    def _leave(self, holder: Holder, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(holder)
        if queue is None or turn not in queue:
            # _serve has met it already, cancelled.
            return
        queue.remove(turn)
        self._less_waiting(holder)
        # Those behind it may fit where it did not.
        self._serve()

    def _less_waiting(self, holder: Holder) -> None:
        self.waiting -= 1
        if not self._queues[holder]:
            del self._queues[holder]
        if not self.waiting:
            self._last_turn.clear()


def _parts(holder: Holder) -> tuple[Hashable, ...]:
    return holder if isinstance(holder, tuple) else (holder,)
