"""Health for load balancers and clients: SERVING only while a probe says that the service can do its work.

It answers without a token and outside of policies and limits, so that a full server is not taken for a dead one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import grpc.aio
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.health")

Ready = Callable[[], Awaitable[str | None]]
"""None when the service can work, else what is missing, such as "the database cannot be reached"."""

Status = health_pb2.HealthCheckResponse


class Health:
    def __init__(self, services: Iterable[str], ready: Ready, *, every: float, timeout: float) -> None:
        self._names = ["", *services]
        self._ready = ready
        self._every = every
        self._timeout = timeout
        self._servicer = health.aio.HealthServicer()
        self._looking: asyncio.Task[None] | None = None
        self.serving = False
        self.missing: str | None = "not probed yet"

    def register(self, server: grpc.aio.Server) -> None:
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def start(self) -> None:
        await self._tell()
        await self._look()
        self._looking = asyncio.create_task(self._keep_looking(), name="health")

    async def drain(self) -> None:
        """NOT_SERVING for good: watching clients turn to other instances."""
        if self._looking is not None:
            self._looking.cancel()
        self.serving = False
        await self._servicer.enter_graceful_shutdown()

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self._look()

    async def _look(self) -> None:
        missing = await self._probe()
        if (missing is None) != self.serving or missing != self.missing:
            self.serving, self.missing = missing is None, missing
            await self._tell()
            if self.serving:
                log.info("serving")
            else:
                log.warning("not_serving", missing=missing)

    async def _probe(self) -> str | None:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._ready()
        except TimeoutError:
            return f"no answer within {self._timeout:g} s"
        except Exception as error:  # a supervisor loop: a probe that breaks is an answer too
            log.warning("probe_failed", exc_info=error)
            return f"the probe failed with {type(error).__name__}"

    async def _tell(self) -> None:
        status = Status.SERVING if self.serving else Status.NOT_SERVING
        for name in self._names:
            await self._servicer.set(name, status)
