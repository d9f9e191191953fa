"""The step limits: a full server says so at once instead of making everybody wait.

What a call takes counts under its tenant and under the person who makes it, and whichever of the two holds more says
how much it holds: who has many tenants has one person's share, and a tenant with many people a tenant's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Final

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason

from bulkhead_kit import clock
from bulkhead_kit.caller import Caller
from bulkhead_kit.errors import ResourceExhausted
from bulkhead_kit.interceptors.call import Call
from bulkhead_kit.policy import MethodPolicy
from bulkhead_kit.rates.refusals import Refusals

RETRY_AFTER: Final = 0.2
CONTENTION: Final = 1.0
"""Seconds for which a caller turned away counts as waiting."""
FREE: Final = 9
"""A holder may have so many times what is free: alone nine tenths, and less with everybody who comes."""

Holder = tuple[Hashable, ...]
RateLimit = Callable[[Caller, MethodPolicy], Awaitable[None]]
"""Raises RATE_LIMITED when a caller calls too often."""


class Slots:
    """At most `size` calls at once. The more somebody holds, the more must be free for the next one, so that there is
    room for who comes new; and while somebody who was turned away waits, nobody gets one who holds more."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError("a server needs a slot")
        self.size = size
        self.in_use = 0
        self._held: dict[Hashable, int] = {}
        self._waiter: Holder = ()
        """Who was turned away last with the fewest, how many that was, and until when it counts."""
        self._waiter_held = 0
        self._waits_until = 0.0

    def take(self, caller: Caller, call: Call) -> None:
        """Raises OVERLOADED."""
        holder = caller.shares()
        held = self._load(holder)
        if not self._fits(holder, held):
            self._make_room(holder, held)
        self._hold(holder)
        call.holder = holder

    def give_back(self, call: Call) -> None:
        self._release(call.holder)

    def _fits(self, holder: Holder, held: int) -> bool:
        free = self.size - self.in_use
        if held >= FREE * free or (held and free <= 1):
            return False
        return self._waits_until == 0.0 or held <= self._waiter_held + 1 or not self._others_wait(holder)

    def _make_room(self, holder: Holder, held: int) -> None:
        """Refuses, where there is none to be made."""
        now = clock.monotonic()
        if held <= self._waiter_held or now >= self._waits_until:
            self._waiter, self._waiter_held, self._waits_until = holder, held, now + CONTENTION
        raise overloaded("the server is full, try again shortly")

    def _others_wait(self, holder: Holder) -> bool:
        return self._waiter != holder and clock.monotonic() < self._waits_until

    def _load(self, keys: Holder | frozenset[Hashable]) -> int:
        # Every call comes through here: a loop costs less than a list to take the most of.
        held, most = self._held, 0
        for key in keys:
            count = held.get(key, 0)
            most = max(most, count)
        return most

    def _hold(self, holder: Holder) -> None:
        held = self._held
        for key in holder:
            held[key] = held.get(key, 0) + 1
        self.in_use += 1

    def _release(self, holder: Holder) -> None:
        held = self._held
        for key in holder:
            if held[key] == 1:
                del held[key]
            else:
                held[key] -= 1
        self.in_use -= 1


class StreamSlots(Slots):
    """Streams are open for long, so that fairness cannot wait until some end: where there is no room, the newest stream
    of who holds the most is asked to end for one of somebody who holds less."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._open: dict[Holder, dict[Call, None]] = {}
        """By holder, the newest last."""
        self._ending: set[Call] = set()
        """Those asked to end, which have no slot any more."""
        self._most_ending = max(1, size // 4)

    def take(self, caller: Caller, call: Call) -> None:
        super().take(caller, call)
        self._open.setdefault(call.holder, {})[call] = None

    def give_back(self, call: Call) -> None:
        if call in self._ending:
            self._ending.remove(call)
        else:
            self._leave(call)

    def _make_room(self, holder: Holder, held: int) -> None:
        newest = [next(reversed(calls)) for calls in self._open.values()]
        call = max(newest, key=lambda one: (self._more(one.holder, holder), one.started), default=None)
        if call is None or self._more(call.holder, holder) <= 1 or len(self._ending) >= self._most_ending:
            super()._make_room(holder, held)
            return
        self._leave(call)
        self._ending.add(call)
        call.displaced = True
        if call.task is not None:
            call.task.cancel()

    def _more(self, one: Holder, other: Holder) -> int:
        """By how much it holds more. What both have a part in does not change when one goes for the other; and nobody
        makes room for their own."""
        if one[-1] == other[-1]:
            return 0
        ones, others = frozenset(one), frozenset(other)
        return self._load(ones - others) - self._load(others - ones)

    def _leave(self, call: Call) -> None:
        calls = self._open[call.holder]
        del calls[call]
        if not calls:
            del self._open[call.holder]
        self._release(call.holder)


class Limits:
    """Streams have slots of their own: a few hundred watchers must not keep short calls out."""

    def __init__(
        self, *, calls: int, streams: int, rate_limit: RateLimit | None = None, refusals: Refusals | None = None
    ) -> None:
        self.calls = Slots(calls)
        self.streams = StreamSlots(streams)
        self.rate = rate_limit
        self.refusals = refusals


def overloaded(message: str) -> ResourceExhausted:
    return ResourceExhausted(ErrorReason.OVERLOADED, message, retry_after=RETRY_AFTER)
