"""What whoever can connect may keep, without a token: few watches, and no place for long."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

import grpc
import grpc.aio
import pytest
from bulkhead_kit import health, transport
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.kit.rpc.probe import SERVICE
from tests.kit.rpc.world import running
from tests.support.hostile import DATA, HEADERS, SETTINGS, frame, headers
from tests.support.hostile import PREFACE as CLIENT

Health = health_pb2.HealthCheckResponse
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""With empty settings."""


async def statuses(call: Any) -> list[int]:
    """Until the watch ends."""
    return [one.status async for one in call]


async def test_a_watch_of_nothing_or_with_much_to_hold_ends() -> None:
    """300 watches of long names that are no service held 1.1 GB."""
    padded = health_pb2.HealthCheckRequest(service=SERVICE)
    padded.MergeFromString(b"\xa2\x06\xac\x02" + b"x" * 300)
    async with running() as world, grpc.aio.insecure_channel(world.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch
        async with asyncio.timeout(5):
            assert await statuses(watch(health_pb2.HealthCheckRequest(service="x" * 100_000))) == [
                Health.SERVICE_UNKNOWN
            ]
            assert await statuses(watch(padded)) == [Health.SERVING]


async def test_a_connection_keeps_a_few_watches() -> None:
    async with running() as world, grpc.aio.insecure_channel(world.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch
        asked = health_pb2.HealthCheckRequest(service=SERVICE)
        kept = [watch(asked) for _ in range(health.WATCHES_A_CONNECTION)]
        for call in kept:
            assert (await call.read()).status == Health.SERVING
        async with asyncio.timeout(5):
            assert await statuses(watch(asked)) == [Health.SERVING]
        kept.pop().cancel()
        await asyncio.sleep(0.05)
        another = watch(asked)
        assert (await another.read()).status == Health.SERVING
        world.missing = "everything"
        for call in (*kept, another):
            assert (await call.read()).status == Health.NOT_SERVING


async def test_a_watcher_who_takes_no_answer_holds_up_nobody() -> None:
    """One such connection kept a process NOT_SERVING for good, and from its end."""
    no_window = frame(SETTINGS, 0, 0, struct.pack("!HI", 4, 0))
    watch = frame(HEADERS, 4, 1, headers("/grpc.health.v1.Health/Watch")) + frame(DATA, 1, 1, bytes(5))
    async with running() as world, grpc.aio.insecure_channel(world.address) as channel:
        with connected(world.address) as stranger:
            stranger.sendall(CLIENT + no_window + watch)
            # Long enough for the stranger's watch; where it comes later the test is too kind, not wrong. grpc closes
            # a connection that answers no ping after eighty seconds.
            await asyncio.sleep(0.3)
            async with asyncio.timeout(30):
                other = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
                assert (await other.read()).status == Health.SERVING
                world.missing = "everything"
                assert (await other.read()).status == Health.NOT_SERVING
                world.missing = None
                assert (await other.read()).status == Health.SERVING
                await world.service.stop()


def connected(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=5)


def is_closed(connection: socket.socket) -> bool:
    """Whether it ends without a word of ours, within the socket's patience."""
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


@pytest.mark.parametrize("said", [b"", PREFACE], ids=["nothing", "hello"])
async def test_a_silent_connection_is_closed(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    """1,200 of them kept everybody out of a process that may open 1,024 files."""
    monkeypatch.setattr(transport, "HANDSHAKE_MS", 200)
    monkeypatch.setattr(transport, "IDLE_MS", 200)
    async with running() as world:
        with connected(world.address) as silent:
            silent.sendall(said)
            assert await asyncio.to_thread(is_closed, silent)


async def test_some_files_are_kept_from_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "most_connections", lambda: 3)
    async with running() as world:
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(connected(world.address)).sendall(PREFACE)
            await asyncio.sleep(0.1)
            with connected(world.address) as fourth:
                assert await asyncio.to_thread(is_closed, fourth)


def test_a_process_opens_as_many_files_as_it_may() -> None:
    program = """if True:
        import resource
        from bulkhead_kit import transport
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, 900))
        few = transport.most_connections()
        transport.allow_files()
        print(few, transport.most_connections(), resource.getrlimit(resource.RLIMIT_NOFILE))
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["225", "675", "(900,", "900)"]
    assert transport.most_connections() <= resource.getrlimit(resource.RLIMIT_NOFILE)[0]
