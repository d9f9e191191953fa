"""Requests are read when the call is let in, and who sends slowly does not fill the memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from typing import Any

import grpc.aio
import pytest
from bulkhead_kit.interceptors.bodies import Bodies, _Body, surplus

from tests.kit.rpc.calls import reason_of
from tests.kit.rpc.probe import SERVICE, Reply, Request
from tests.kit.rpc.world import Person, make_chain, running

SOON = 10.0


class Slow:
    """A unary call whose request is still to come."""

    def __init__(self, channel: grpc.aio.Channel, method: str, metadata: list[tuple[str, str]]) -> None:
        self.sends = asyncio.Event()
        make: Any = channel.stream_unary
        call = make(
            f"/{SERVICE}/{method}",
            request_serializer=Request.SerializeToString,
            response_deserializer=Reply.FromString,
        )
        self.call = call(self._requests(), metadata=metadata)

    async def _requests(self) -> AsyncIterator[Any]:
        await self.sends.wait()
        yield Request(text="hi")

    async def outcome(self) -> str:
        try:
            async with asyncio.timeout(SOON):
                reply = await self.call
                return str(reply.text)
        except grpc.aio.AioRpcError as error:
            return reason_of(error)
        finally:
            # Its iterator must have ended before the test has.
            self.sends.set()


@pytest.mark.parametrize("method", ["Ask", "Download", "AsOwner", "AsPlatform", "AsService"])
async def test_who_may_not_call_is_told_before_the_request_comes(method: str) -> None:
    async with running() as world, grpc.aio.insecure_channel(world.address) as channel:
        assert await Slow(channel, method, []).outcome() == "TOKEN_MISSING"
        assert world.servicer.requests == []


async def test_a_request_that_comes_late_is_answered() -> None:
    async with running() as world, grpc.aio.insecure_channel(world.address) as channel:
        slow = Slow(channel, "Ask", Person().metadata())
        await asyncio.sleep(0.3)
        slow.sends.set()
        assert await slow.outcome() == "hi"


async def test_one_more_slow_request_costs_whoever_has_most() -> None:
    chain = make_chain()
    chain._bodies = Bodies(places=2)
    many, one = Person(), Person()
    async with running(chain=chain) as world, grpc.aio.insecure_channel(world.address) as channel:
        theirs = [Slow(channel, "Ask", many.metadata()) for _ in range(5)]
        single = Slow(channel, "Ask", one.metadata())
        refused: set[asyncio.Task[str]] = set()
        waiting = {asyncio.create_task(slow.outcome()) for slow in theirs}
        while len(refused) < 4:
            done, waiting = await asyncio.wait(waiting, timeout=SOON, return_when=asyncio.FIRST_COMPLETED)
            assert done
            refused |= done
        assert {task.result() for task in refused} == {"OVERLOADED"}
        for slow in (*theirs, single):
            slow.sends.set()
        assert [await task for task in waiting] == ["hi"]
        assert await single.outcome() == "hi"


@pytest.mark.parametrize(
    ("shares", "most", "refused"),
    [
        ("aaaa", 2, [0, 1]),
        ("aaab", 2, [0, 1]),
        ("baaa", 3, [1]),
        ("abcd", 4, []),
        ("aabbb", 3, [0, 2]),
    ],
)
def test_the_oldest_of_who_has_most_go(shares: str, most: int, refused: list[int]) -> None:
    bodies = [_body(share) for share in shares]
    assert sorted(bodies.index(one) for one in surplus(bodies, most)) == refused


def _body(share: Hashable) -> _Body:
    return _Body(share)
