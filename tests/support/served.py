"""One service in a process of its own, on the house's database: its processor time is not the test's."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
from bulkhead_cli import ports
from bulkhead_kit import clock
from bulkhead_kit.settings import inherited_environment
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.house import House
from tests.system.site import Running


@asynccontextmanager
async def served(house: House, folder: Path, name: str, **settings: str) -> AsyncIterator[grpc.aio.Channel]:
    """`settings` that differ from the service's defaults, by their variables' ends."""
    address = f"127.0.0.1:{ports.free()}"
    told = {
        "LISTEN": address,
        "DATABASE_URL": house.database.dsn(f"bulkhead_{name}_app"),
        "KEYS_DIR": str(house.mint.keys),
        "POOL_MAX": "8",
        "LOG_LEVEL": "error",
        **settings,
    }
    environment = inherited_environment() | {f"BULKHEAD_{name.upper()}_{end}": value for end, value in told.items()}
    with (folder / f"{name}.log").open("ab") as log:
        process = Running([sys.executable, "-m", f"bulkhead_{name}", "serve"], environment, log)
        process.start()
        try:
            async with grpc.aio.insecure_channel(address) as channel:
                await _until_serving(channel)
                yield channel
        finally:
            process.kill()


async def _until_serving(channel: grpc.aio.Channel) -> None:
    ends = clock.monotonic() + 60
    while True:
        reply = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=60
        )
        if reply.status == health_pb2.HealthCheckResponse.SERVING:
            return
        assert clock.monotonic() < ends
        await asyncio.sleep(0.05)
