"""The probe as a process of its own, for what only a process can show: signals."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from bulkhead_kit import logs
from bulkhead_kit.server import ServerOptions, Service

from tests.kit.rpc.probe import ProbeServicer
from tests.kit.rpc.world import NAME, Person, make_chain


async def main() -> None:
    servicer = ProbeServicer()

    async def slow(request: Any) -> str:
        print("begun", flush=True)
        await asyncio.sleep(float(request.text))
        return "finished"

    async def ready() -> str | None:
        return None

    async def close() -> None:
        print("closed", servicer.ended, flush=True)

    servicer.script = slow
    options = ServerOptions(drain_delay=0.1, grace=2.0)
    service = Service(NAME, chain=make_chain(), options=options, ready=ready, register=servicer.register, close=[close])
    # The token is told before the address, as the address is only known while running.
    print(Person().token(), flush=True)
    await service.run()


if __name__ == "__main__":
    logs.configure(NAME, output="json", stream=sys.stderr.buffer)
    asyncio.run(main())
