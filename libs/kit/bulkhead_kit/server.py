"""A gRPC server whose methods all go through the steps, and the life of a service around it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
import structlog
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from bulkhead_kit import clock, spelling, validation
from bulkhead_kit.health import Health, Ready
from bulkhead_kit.interceptors.base import Chain, Handler
from bulkhead_kit.parts import Close
from bulkhead_kit.policy import PolicyError, read_policies
from bulkhead_kit.start_error import AddressError
from bulkhead_kit.tls import TlsFiles
from bulkhead_kit.transport import MAX_MESSAGE_BYTES, server_options

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.server")

SETTLE: Final = 0.05
CLEAN_UP: Final = 2.0
"""Seconds for the handlers that were cut off."""
QUIET: Final = 0.2
"""Seconds without a new call after which clients have heard that a process leaves."""
MOST_UNQUIET: Final = 2.0
"""Then whoever still calls does not listen to health."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    address: str = "127.0.0.1:0"
    reflection: bool = False
    """For development: tells anybody who asks what the server can do."""
    share_port: bool = False
    """Several processes listen on one port, and the kernel spreads the connections."""
    tls: TlsFiles | None = None
    max_message_bytes: int = MAX_MESSAGE_BYTES
    drain_delay: float = 0.5
    """Seconds between saying NOT_SERVING and refusing calls, so that clients go elsewhere first."""
    grace: float = 10.0
    """Seconds for running calls to end."""
    probe_every: float = 3.0
    probe_timeout: float = 2.0


class PolicedServer(grpc.aio.Server):
    """Takes servicers as any server does; at its start every method gets its policy and is wrapped."""

    def __init__(self, inner: grpc.aio.Server, chain: Chain) -> None:
        self.inner = inner
        self.services: dict[str, dict[str, Handler]] = {}
        self._chain = chain
        self._announced: set[str] = set()

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        # Generated code registers every service twice; the other way can be enumerated, so that one counts.
        for handler in generic_rpc_handlers:
            if not isinstance(handler, grpc.ServiceRpcHandler):
                raise PolicyError("a handler without service name cannot be given policies")
            self._announced.add(handler.service_name())

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Handler]) -> None:
        self.services.setdefault(service_name, {}).update(method_handlers)

    def add_insecure_port(self, address: str) -> int:
        return self.inner.add_insecure_port(address)

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        return self.inner.add_secure_port(address, server_credentials)

    async def start(self) -> None:
        self._wrap_all()
        await self.inner.start()

    async def stop(self, grace: float | None) -> None:
        await self.inner.stop(grace)

    async def wait_for_termination(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - named by grpc.aio.Server
    ) -> bool:
        return await self.inner.wait_for_termination(timeout)

    def _wrap_all(self) -> None:
        if lost := self._announced - self.services.keys():
            raise PolicyError(f"the methods of {', '.join(sorted(lost))} were not registered by name")
        policies = read_policies(self.services)
        for service, handlers in self.services.items():
            wrapped = {}
            for name, handler in handlers.items():
                policy = policies.get(f"{service}/{name}")
                if policy is None:
                    raise PolicyError(f"{service}/{name}: not in the descriptor of its service")
                wrapped[name] = self._chain.wrap(policy, handler)
            self.inner.add_registered_method_handlers(service, wrapped)
        self._chain.demand_known(policies)
        kinds = list(_request_kinds(self.services))
        spelling.prepare(kinds)
        validation.prepare(kinds)


def _request_kinds(services: Iterable[str]) -> Iterable[type[Any]]:
    pool = descriptor_pool.Default()
    for service in services:
        for method in pool.FindServiceByName(service).methods:
            yield message_factory.GetMessageClass(method.input_type)


def build_server(chain: Chain, options: ServerOptions) -> PolicedServer:
    """Register servicers on it with the generated functions; nothing reaches them but through the chain."""
    chosen = server_options(max_message_bytes=options.max_message_bytes, share_port=options.share_port)
    return PolicedServer(grpc.aio.server(options=chosen), chain)


class Service:
    """Listens, tells its health, and on SIGTERM or SIGINT lets running calls end before it closes what it used."""

    def __init__(
        self,
        name: str,
        *,
        chain: Chain,
        options: ServerOptions,
        ready: Ready,
        register: Callable[[grpc.aio.Server], None],
        close: Sequence[Close] = (),
    ) -> None:
        """`close` is called in reverse order after the last call has ended."""
        self.name = name
        self.address = ""
        self.server = build_server(chain, options)
        register(self.server)
        self.health = Health(self.server.services, ready, every=options.probe_every, timeout=options.probe_timeout)
        self._options = options
        self._chain = chain
        self.close = list(close)

    async def start(self) -> str:
        """The address it listens on, with the port that was found when 0 was asked for."""
        self.health.register(self.server.inner)
        if self._options.reflection:
            names = [*self.server.services, health.SERVICE_NAME, reflection.SERVICE_NAME]
            reflection.enable_server_reflection(names, self.server.inner)
        # Looked at first: a client that the port brings here, and that knows no other address, waits for nothing.
        await self.health.start()
        try:
            self.address = self._listen()
        except AddressError:
            await self.health.drain()
            await self._close_all()
            raise
        await self.server.start()
        self.health.listening()
        log.info("listening", service=self.name, address=self.address, serving=self.health.serving)
        return self.address

    async def stop(self) -> None:
        await self.health.drain(others_serve=self._options.share_port)
        await self._until_left_alone()
        await self._finish_calls()
        await self._close_all()
        self._chain.flush()
        log.info("stopped", service=self.name)

    async def run(self) -> None:
        """Until SIGTERM or SIGINT; a second one cuts off what still runs."""
        told = asyncio.Event()
        hurried = asyncio.Event()

        def tell() -> None:
            (hurried if told.is_set() else told).set()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, tell)
        await self.start()
        await told.wait()
        log.info("draining", service=self.name, running=self._chain.running)
        stopping = asyncio.create_task(self.stop())
        hurry = asyncio.create_task(hurried.wait())
        await asyncio.wait([stopping, hurry], return_when=asyncio.FIRST_COMPLETED)
        if hurry.done():
            await self.server.stop(None)
        hurry.cancel()
        await stopping

    def _listen(self) -> str:
        options = self._options
        host, _, _ = options.address.rpartition(":")
        try:
            if options.tls is None:
                port = self.server.add_insecure_port(options.address)
            else:
                port = self.server.add_secure_port(options.address, options.tls.server_credentials())
        except RuntimeError as error:
            raise AddressError(f"{self.name} cannot listen on {options.address}: is it in use?") from error
        return f"{host}:{port}"

    async def _close_all(self) -> None:
        while self.close:
            await self.close.pop()()

    async def _until_left_alone(self) -> None:
        """grpc cuts off calls that come in while it says goodbye, so that first nobody must call any more.

        Clients with other addresses use those meanwhile. At a shared port they have no other before this process is
        gone: they wait, and it goes as soon as they are silent.
        """
        delay = self._options.drain_delay
        if not delay:
            return
        if not self._options.share_port:
            await asyncio.sleep(delay - QUIET)
        ends = clock.monotonic() + MOST_UNQUIET
        seen = -1
        while seen != self._chain.begun and clock.monotonic() < ends:
            seen = self._chain.begun
            await asyncio.sleep(QUIET)

    async def _finish_calls(self) -> None:
        grace = self._options.grace
        stopping = asyncio.create_task(self.server.stop(grace))
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._chain.idle()
                # What grpc had accepted before may only now begin.
                await asyncio.sleep(SETTLE)
                await self._chain.idle()
        # Health watchers never end by themselves, and nobody waits for them any more.
        await self.server.stop(None)
        await stopping
        try:
            # grpc returns while the handlers it has cut off still roll back.
            async with asyncio.timeout(CLEAN_UP):
                await self._chain.idle()
        except TimeoutError:
            log.warning("calls_left_behind", service=self.name, running=self._chain.running)
