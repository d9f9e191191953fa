"""What the steps cost: CPU per unary call of a server with them against a bare grpc.aio server with the same bytes.

    python -m tests.kit.rpc.overhead [rounds]

Every sample is a fresh server process; the two kinds take turns, as one process differs from the next by more than
what is measured.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
from typing import Any
from uuid import UUID

import grpc
import grpc.aio
from bulkhead_kit import logs
from bulkhead_kit.server import ServerOptions
from prometheus_client import CollectorRegistry

from tests.kit.rpc.probe import SERVICE, ProbeServicer, ProbeStub, Request
from tests.kit.rpc.world import Person, make_chain, running

CALLS, WARM_UP, IN_FLIGHT = 6000, 1500, 16
REPLY = "x" * 900
PERSON = Person(tenant_id=UUID("0190163d-8694-739b-aea5-966c26f8ad93"), lasts=250)


class Null(ProbeServicer):
    """The least a servicer can do, alike on both sides."""

    async def unary(self, request: Any, context: Any) -> Any:
        return self.reply(REPLY)


async def serve(kind: str) -> None:
    """Prints its address and a token it believes, then its CPU seconds for every line on standard input."""
    if kind == "bare":
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        server.add_registered_method_handlers(SERVICE, {"Ask": Null().handler("Ask")})
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        await answer_times(address)
        await server.stop(0)
        return
    with open(os.devnull, "wb") as nowhere:  # noqa: ASYNC230 - nothing waits for it
        logs.configure("probe", output="json", stream=nowhere)
        chain = make_chain(registry=CollectorRegistry())
        async with running(options=ServerOptions(drain_delay=0), chain=chain, servicer=Null()) as world:
            await answer_times(world.address)


async def answer_times(address: str) -> None:
    print(address, PERSON.token(), flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        times = os.times()
        print(times.user + times.system, flush=True)


async def sample(kind: str) -> float:
    """Microseconds of CPU per call."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.kit.rpc.overhead", "serve", kind, stdin=-1, stdout=-1
    )
    assert process.stdin is not None
    assert process.stdout is not None
    reader, writer = process.stdout, process.stdin

    async def cpu() -> float:
        writer.write(b"\n")
        return float(await reader.readline())

    address, token = (await reader.readline()).decode().split()
    metadata = [
        ("authorization", f"Bearer {token}"),
        ("x-tenant-id", str(PERSON.tenant_id)),
        ("x-request-id", "0190163d-8694-739b-aea5-966c26f8ad91"),
    ]
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = ProbeStub(channel)
        request = Request(text="hi")

        async def some(count: int) -> None:
            for _ in range(count):
                await stub.Ask(request, metadata=metadata)

        async def many(count: int) -> None:
            await asyncio.gather(*(some(count // IN_FLIGHT) for _ in range(IN_FLIGHT)))

        await many(WARM_UP)
        before = await cpu()
        await many(CALLS)
        spent = await cpu() - before
    writer.close()
    await process.wait()
    return spent / CALLS * 1e6


async def main(rounds: int) -> None:
    found: dict[str, list[float]] = {"bare": [], "steps": []}
    for _ in range(rounds):
        for kind, samples in found.items():
            samples.append(await sample(kind))
    for kind, samples in found.items():
        print(f"{kind:6} {statistics.median(samples):6.0f} us  {[round(value) for value in samples]}")
    pairs = [steps - bare for bare, steps in zip(found["bare"], found["steps"], strict=True)]
    print(f"added  {statistics.median(pairs):6.0f} us  {[round(value) for value in pairs]}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(sys.argv[2]))
    else:
        asyncio.run(main(int(sys.argv[1]) if sys.argv[1:] else 5))
