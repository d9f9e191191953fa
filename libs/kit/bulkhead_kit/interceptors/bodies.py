"""Requests on their way in. Before anybody reads, grpc takes no more of a call than its window; from then on a whole
message. So nothing is read of a call that is refused anyway, and only so many requests are read at once: a place is
taken before, and has a fair share for each person. Who sends slowly keeps a place while nobody waits for one; then it
goes from the one of them who has most.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import grpc.aio

from bulkhead_kit.caller import Caller
from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.interceptors.caller import peer_address
from bulkhead_kit.interceptors.limits import overloaded
from bulkhead_kit.shares import FullError, Shares

Context = grpc.aio.ServicerContext[Any, Any]

PLACES: Final = 48
"""Requests read at once, each of the longest message at most."""
ROOM: Final = 2000
"""Calls that wait for a place, each with its window at most."""
LOOK_SECONDS: Final = 0.02
SLOW_AFTER_LOOKS: Final = 5
"""Counted in looks, not in seconds: on a busy machine the looks come later too."""
CANCEL_SECONDS: Final = 0.1
"""A client that cancels is first seen by a body that ends, and told of right after."""

HEAR_OUT_SECONDS: Final = 0.5
HEAR_OUT_BYTES: Final = 256 << 10
HEARD_WITH_EASE: Final = 64 << 10
LINGER_SECONDS: Final = 1.0
"""For as long a call that sent more counts as heard: what it sent is not yet given back when it ends."""


@dataclass(slots=True, eq=False)
class _Body:
    share: Hashable
    task: asyncio.Task[Any] | None = None
    """None while it waits for a place."""
    looks: int = 0
    """Since it is being read."""
    refused: bool = False


class Bodies:
    def __init__(self, places: int = PLACES) -> None:
        self._places = Shares(places, room=ROOM)
        self._coming: dict[_Body, None] = {}
        """The oldest first."""
        self._looking = False

    async def read(self, context: Context, share: Hashable) -> bytes | None:
        """The next message, None after the last one. `share`: whose part of the memory it takes."""
        body = _Body(share)
        self._coming[body] = None
        if not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)
        try:
            if not self._places.take_now(share):
                await self._wait(share)
            body.task = asyncio.current_task()
            raw: Any = await self._read(context, body)
        finally:
            body.task = None
            del self._coming[body]
        return None if raw is grpc.aio.EOF else raw

    async def _wait(self, share: Hashable) -> None:
        try:
            await self._places.take(share)
        except FullError:
            raise overloaded("too many requests are on their way, try again shortly") from None

    async def _read(self, context: Context, body: _Body) -> Any:
        try:
            raw = await context.read()
        except asyncio.CancelledError:
            if not body.refused or body.task is None:
                self._places.give_back(body.share)
                raise
            # grpc has what came of it for a while yet, and the next one must not come on top.
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self._places.give_back, body.share)
            body.task.uncancel()
            raise overloaded("the request came too slowly, send it again") from None
        except BaseException:
            self._places.give_back(body.share)
            raise
        self._places.give_back(body.share)
        return raw

    async def only(self, context: Context, share: Hashable) -> bytes:
        """The message of a call that has one."""
        raw = await self.read(context, share)
        if raw is None:
            await asyncio.sleep(CANCEL_SECONDS)
            raise InvalidArgument.field("", "the call came without its request")
        return raw

    async def all(self, context: Context, share: Hashable) -> AsyncIterator[bytes]:
        while (raw := await self.read(context, share)) is not None:
            yield raw

    def _look(self) -> None:
        for body in self._coming:
            body.looks += body.task is not None
        if self._places.waiting:
            for body in surplus(list(self._coming), self._places.size):
                if body.looks > SLOW_AFTER_LOOKS and body.task is not None and not body.refused:
                    body.refused = True
                    body.task.cancel()
        self._looking = bool(self._coming)
        if self._looking:
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)


def surplus(bodies: Sequence[_Body], most: int) -> Sequence[_Body]:
    """Whom to refuse so that `most` are left, from the oldest to the newest: always one of whoever has most, and of
    theirs the one that had the most time."""
    newer: Counter[Hashable] = Counter()
    ranked = []
    for body in reversed(bodies):
        ranked.append((newer[body.share], body))
        newer[body.share] += 1
    ranked.sort(key=lambda one: one[0])
    return [body for _, body in ranked[most:]]


class Hearing:
    """Throws away what a client still sends to a call that has failed. grpc's Python client takes a status that comes
    while it sends for a fault of its own: INTERNAL, without our reason. Who sends more or for longer risks that, and
    so does everybody while as many are heard as may be."""

    def __init__(self, at_once: int, of_one: int) -> None:
        self._at_once = at_once
        self._of_one = of_one
        self._heard: Counter[Hashable] = Counter()

    async def hear_out(self, context: Context, share: Hashable) -> None:
        if self._heard.total() >= self._at_once or self._heard[share] >= self._of_one:
            return
        self._heard[share] += 1
        heard = 0
        try:
            with suppress(TimeoutError, grpc.aio.UsageError):
                async with asyncio.timeout(HEAR_OUT_SECONDS):
                    while heard < HEAR_OUT_BYTES:
                        raw: Any = await context.read()
                        if raw is grpc.aio.EOF:
                            return
                        heard += len(raw)
        finally:
            if heard > HEARD_WITH_EASE:
                asyncio.get_running_loop().call_later(LINGER_SECONDS, self._end, share)
            else:
                self._end(share)

    def _end(self, share: Hashable) -> None:
        self._heard[share] -= 1
        if not self._heard[share]:
            del self._heard[share]


class Hearings:
    """Strangers are heard apart from those whose token was good: however many come, these still learn why."""

    def __init__(self) -> None:
        self._strangers = Hearing(at_once=24, of_one=16)
        self._known = Hearing(at_once=32, of_one=4)

    async def hear_out(self, context: Context, caller: Caller | None) -> None:
        if caller is None or caller.actor_type == "anonymous":
            await self._strangers.hear_out(context, peer_address(context))
        else:
            await self._known.hear_out(context, caller.shares()[-1])
