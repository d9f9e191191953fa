from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest

from tests.kit.rpc.calls import invoke
from tests.kit.rpc.probe import ProbeStub, Request


class Running:
    def __init__(self, process: Process) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.process, self.out, self.log = process, process.stdout, process.stderr

    async def said(self) -> str:
        return (await asyncio.wait_for(self.out.readline(), 10)).decode().strip()

    async def logged(self, event: str) -> dict[str, Any]:
        while True:
            line: dict[str, Any] = json.loads(await asyncio.wait_for(self.log.readline(), 10))
            if line["event"] == event:
                return line


@pytest.fixture
async def probe() -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.kit.rpc.process", stdout=PIPE, stderr=PIPE
    )
    yield Running(process)
    if process.returncode is None:
        process.kill()
    await process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_the_running_call_end(probe: Running, number: signal.Signals) -> None:
    token = await probe.said()
    listening = await probe.logged("listening")
    assert (listening["service"], listening["serving"]) == ("probe", True)
    entries = [("authorization", f"Bearer {token}")]
    async with grpc.aio.insecure_channel(listening["address"]) as channel:
        call = asyncio.create_task(invoke(ProbeStub(channel), "Ask", Request(text="0.6"), metadata=entries))
        assert await probe.said() == "begun"
        probe.process.send_signal(number)
        assert (await probe.logged("draining"))["running"] == 1
        assert await call == ["finished"]
    assert await probe.said() == "closed 1"
    assert await asyncio.wait_for(probe.process.wait(), 5) == 0


async def test_a_second_signal_does_not_wait_for_calls(probe: Running) -> None:
    token = await probe.said()
    address = (await probe.logged("listening"))["address"]
    entries = [("authorization", f"Bearer {token}")]
    async with grpc.aio.insecure_channel(address) as channel:
        call = asyncio.create_task(invoke(ProbeStub(channel), "Ask", Request(text="30"), metadata=entries))
        assert await probe.said() == "begun"
        probe.process.send_signal(signal.SIGINT)
        await probe.logged("draining")
        probe.process.send_signal(signal.SIGINT)
        with pytest.raises(grpc.aio.AioRpcError):
            await asyncio.wait_for(call, 1.5)
    assert await probe.said() == "closed 1"
    assert await asyncio.wait_for(probe.process.wait(), 5) == 0
