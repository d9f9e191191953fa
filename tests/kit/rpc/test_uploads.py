"""A call that fails while its client still sends: the client learns why."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest
from bulkhead_kit.errors import NotFound
from bulkhead_kit.interceptors.bodies import HEAR_OUT_SECONDS

from tests.kit.rpc.calls import reason_of
from tests.kit.rpc.probe import Request
from tests.kit.rpc.world import Person, World, running

REFUSED_EARLY = [("x-request-id", "two words")]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running() as world:
        yield world


async def slowly(messages: int, longest_pause: float, rng: random.Random) -> AsyncIterator[Any]:
    for _ in range(messages):
        yield Request(text="hi")
        await asyncio.sleep(rng.random() * longest_pause)


async def refusal(stub: Any, requests: AsyncIterator[Any], metadata: list[tuple[str, str]]) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Upload(requests, metadata=metadata)
    assert caught.value.details() != "Internal error from Core", "what grpc's client says where it lost our status"
    return reason_of(caught.value)


async def test_refused_before_the_first_message_is_read(world: World, rng: random.Random) -> None:
    for _ in range(20):
        async with world.stub() as stub:
            sizes = [(messages, pause) for messages in (1, 2, 5, 20) for pause in (0.0, 0.001, 0.003, 0.01)]
            calls = (refusal(stub, slowly(*size, rng), REFUSED_EARLY) for size in sizes)
            assert set(await asyncio.gather(*calls)) == {"INVALID_METADATA"}


async def test_refused_by_the_handler_in_the_middle(world: World, rng: random.Random) -> None:
    async def refuse(_request: Any) -> str:
        raise NotFound("issue")

    world.servicer.script = refuse
    async with world.stub() as stub:
        calls = (refusal(stub, slowly(n % 7 + 1, 0.003, rng), Person().metadata()) for n in range(200))
        assert set(await asyncio.gather(*calls)) == {"RESOURCE_NOT_FOUND"}


async def test_who_never_stops_is_not_waited_for(world: World) -> None:
    released, ended = asyncio.Event(), asyncio.Event()

    async def without_end() -> AsyncIterator[Any]:
        yield Request(text="hi")
        await released.wait()
        ended.set()

    async with world.stub() as stub:
        began = asyncio.get_running_loop().time()
        assert await refusal(stub, without_end(), REFUSED_EARLY) == "INVALID_METADATA"
        assert asyncio.get_running_loop().time() - began < HEAR_OUT_SECONDS + 2
    # Nothing of the call stays behind.
    async with asyncio.timeout(2):
        await world.chain.idle()
    # grpc's client goes on waiting for the next message. Held by nobody, it was collected within some later test, in
    # whose log asyncio then complained of the generator that could not be closed.
    released.set()
    async with asyncio.timeout(2):
        await ended.wait()
