"""A restart of the other side costs no call; one that is gone for good costs nobody more than a moment."""

from __future__ import annotations

import asyncio
import socket

import grpc.aio
import pytest
from bulkhead_kit import clock, errors
from bulkhead_kit.client import connect
from bulkhead_kit.server import ServerOptions

from tests.kit.rpc.probe import SERVICE, ProbeStub
from tests.kit.rpc.test_client import ANSWERS, as_friend, called, caller, connected, open_chain
from tests.kit.rpc.world import running

METHODS = [*ANSWERS, "Change"]


def free_address() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


@pytest.mark.parametrize("method", METHODS)
async def test_a_call_waits_for_a_process_that_is_restarted(method: str) -> None:
    options = ServerOptions(address=free_address(), drain_delay=0.0, grace=1.0)
    async with connected(options.address, patience=20.0) as linked:
        async with running(options=options, chain=open_chain()):
            await called(*linked, method, caller(30))
        between = asyncio.create_task(called(*linked, method, caller(30)))
        await asyncio.sleep(0.3)
        assert not between.done()
        async with running(options=options, chain=open_chain()) as world:
            assert await between == ANSWERS.get(method, ["hi"])
            # Sent once: nothing was tried again.
            assert world.servicer.ended == 1


async def test_once_waiting_was_in_vain_calls_fail_at_once_until_the_service_is_back() -> None:
    options = ServerOptions(address=free_address(), drain_delay=0.0, grace=1.0)
    async with connected(options.address, patience=1.0) as linked:
        first = [asyncio.create_task(called(*linked, "Change", caller(30))) for _ in range(20)]
        began = clock.monotonic()
        found = await asyncio.gather(*first, return_exceptions=True)
        assert clock.monotonic() - began >= 1.0
        assert all(isinstance(one, errors.Unavailable) for one in found)
        began = clock.monotonic()
        for _ in range(20):
            with pytest.raises(errors.Unavailable):
                await called(*linked, "Change", caller(30))
        # Twenty times the patience would be twenty seconds.
        assert clock.monotonic() - began < 10
        async with running(options=options, chain=open_chain()):
            await asyncio.wait_for(linked[0].channel_ready(), 20)
            assert await called(*linked, "Change", caller(30)) == ["hi"]
        # And then there is patience again.
        again = asyncio.create_task(called(*linked, "Change", caller(30)))
        async with running(options=options, chain=open_chain()):
            assert await again == ["hi"]


async def test_who_has_less_time_than_patience_is_told_that_nobody_is_there() -> None:
    async with connected("127.0.0.1:1", patience=20.0) as linked:
        with pytest.raises(errors.Unavailable):
            await called(*linked, "Ask", caller(0.4))
        # That says nothing to those with more.
        waiting = asyncio.create_task(called(*linked, "Ask", caller(30)))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        waiting.cancel()


async def test_a_channel_closes_while_calls_wait_on_it() -> None:
    channel = connect("127.0.0.1:1", service="probe", contracts=[SERVICE], token=as_friend)
    waiting = asyncio.create_task(called(channel, ProbeStub(channel), "Ask", caller(30)))
    await asyncio.sleep(0.1)
    await channel.close()
    with pytest.raises(grpc.aio.UsageError):
        await waiting
