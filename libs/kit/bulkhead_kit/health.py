"""Health for load balancers and clients: SERVING only while a probe says that the service can do its work.

It answers without a token and outside of policies and limits, so that a full server is not taken for a dead one. What
anybody may keep open is therefore bounded here: watches, and requests that come slowly.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2
from prometheus_client import Gauge

from bulkhead_kit.errors import DomainError, InvalidArgument
from bulkhead_kit.interceptors.bodies import Bodies
from bulkhead_kit.interceptors.caller import peer_address
from bulkhead_kit.interceptors.errors import refuse

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.health")

Ready = Callable[[], Awaitable[str | None]]
"""None when the service can work, else what is missing, such as "the database cannot be reached"."""

Status = health_pb2.HealthCheckResponse
Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

WATCHES_A_CONNECTION: Final = 8
"""A client has one for each service it calls."""
REQUESTS_AT_ONCE: Final = 16
"""That are being read."""
MAX_WATCH_BYTES: Final = 200
"""Of the request: a name and nothing else."""

_serving = Gauge("bulkhead_serving", "1 while this process says SERVING.")


class _Servicer(health.aio.HealthServicer):  # type: ignore[misc]  # untyped upstream
    """A watch that is not kept gets its one answer and ends.

    Watches are written here: upstream holds a lock meanwhile, and who watches and reads nothing would keep every change
    from being told, and the process from its end.
    """

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self._names = frozenset(names)
        self._watches: Counter[str] = Counter()
        """By connection."""
        self.others_serve = False
        """This process is leaving an address at which others go on."""
        self._changed = asyncio.Event()
        """Of what is told now; another takes its place with each change."""

    def tell(self) -> None:
        """To watches, what has been set."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> Any:  # noqa: N802  # grpc's name
        if self.others_serve and request.service in self._names:
            return Status(status=Status.SERVING)
        return await super().Check(request, context)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:  # noqa: N802  # grpc's name
        peer = context.peer()
        if request.service not in self._names:
            await context.write(Status(status=Status.SERVICE_UNKNOWN))
        elif request.ByteSize() > MAX_WATCH_BYTES or self._watches[peer] >= WATCHES_A_CONNECTION:
            await context.write(await self.Check(request, context))
        else:
            await self._keep(peer, request, context)

    async def _keep(self, peer: str, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        self._watches[peer] += 1
        try:
            last = None
            while True:
                changed = self._changed
                # Not our own, which is for those who do not watch.
                now = await super().Check(request, context)
                if now != last:
                    await context.write(now)
                last = now
                await changed.wait()
        finally:
            self._watches[peer] -= 1
            if not self._watches[peer]:
                del self._watches[peer]


class Health:
    def __init__(self, services: Iterable[str], ready: Ready, *, every: float, timeout: float) -> None:
        self._names = ["", *services]
        self._ready = ready
        self._every = every
        self._timeout = timeout
        self._servicer = _Servicer(self._names)
        self._bodies = Bodies(places=REQUESTS_AT_ONCE)
        self._looking: asyncio.Task[None] | None = None
        self._listening = False
        self.serving = False
        self.missing: str | None = "not probed yet"

    def register(self, server: grpc.aio.Server) -> None:
        check: Handler = grpc.stream_unary_rpc_method_handler(self._check, None, Status.SerializeToString)
        watch: Handler = grpc.stream_stream_rpc_method_handler(self._watch, None, Status.SerializeToString)
        server.add_registered_method_handlers(health.SERVICE_NAME, {"Check": check, "Watch": watch})

    async def _check(self, _incoming: Any, context: Context) -> Any:
        return await self._servicer.Check(await self._request(context), context)

    async def _watch(self, _incoming: Any, context: Context) -> None:
        await self._servicer.Watch(await self._request(context), context)

    async def _request(self, context: Context) -> health_pb2.HealthCheckRequest:
        """Read here, as grpc would keep any number of a megabyte each."""
        try:
            raw = await self._bodies.only(context, peer_address(context))
            return health_pb2.HealthCheckRequest.FromString(raw)
        except DomainError as error:
            await refuse(error, context)
            raise
        except DecodeError:
            await refuse(InvalidArgument.field("", "the request is not a valid message of a health check"), context)
            raise

    async def start(self) -> None:
        await self._tell()
        await self._look()
        self._looking = asyncio.create_task(self._keep_looking(), name="health")

    def listening(self) -> None:
        """From now on who serves can be reached: the metrics say so to whoever stops the next process."""
        self._listening = True
        _serving.set(self.serving)

    async def drain(self, *, others_serve: bool = False) -> None:
        """NOT_SERVING for good: watching clients send nothing more.

        A watch is about its own connection, a check about the address: where other processes share that, a balancer
        must not take all of them out because one leaves.
        """
        if self._looking is not None:
            self._looking.cancel()
        self._servicer.others_serve = others_serve and self.serving
        self.serving = False
        _serving.set(False)
        await self._servicer.enter_graceful_shutdown()
        self._servicer.tell()

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self._look()

    async def _look(self) -> None:
        missing = await self._probe()
        if (missing is None) != self.serving or missing != self.missing:
            self.serving, self.missing = missing is None, missing
            _serving.set(self.serving and self._listening)
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
        self._servicer.tell()
