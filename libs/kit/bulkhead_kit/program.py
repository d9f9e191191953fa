"""How a service's process is put together from its settings: database, tokens, chain, health.

A service's __main__ says what is its own (settings, servicers, who may call what) and calls `serve`; tests build the
same house with `build` on free ports.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property

import grpc.aio
import structlog

from bulkhead_kit import clock, logs, telemetry
from bulkhead_kit.caller import Caller
from bulkhead_kit.client import Channel, connect
from bulkhead_kit.db import Database, PoolSettings, ServerState
from bulkhead_kit.errors import Unavailable
from bulkhead_kit.interceptors.base import Chain
from bulkhead_kit.interceptors.caller import Callers
from bulkhead_kit.interceptors.limits import Limits
from bulkhead_kit.interceptors.telemetry import RpcMetrics
from bulkhead_kit.keyfiles import ACCESS, SERVICES, load_public_keys, load_signer
from bulkhead_kit.page_tokens import PageTokens
from bulkhead_kit.revisions import head
from bulkhead_kit.server import Close, ServerOptions, Service
from bulkhead_kit.services_auth import Authenticator, ServiceAllowList, ServiceTokens, service_verifier
from bulkhead_kit.settings import ServiceSettings
from bulkhead_kit.tokens import access_verifier

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.program")

PROBE_SECONDS = 2.0


@dataclass(frozen=True)
class Parts:
    """What servicers are made of. Everything is made on first use, so that a service pays for what it uses."""

    settings: ServiceSettings
    database: Database
    closing: list[Close] = field(default_factory=list)

    @cached_property
    def page_tokens(self) -> PageTokens:
        return PageTokens(self.settings.page_token_secret())

    @cached_property
    def service_tokens(self) -> ServiceTokens:
        name = self.settings.service
        return ServiceTokens(name, load_signer(self.settings.keys_dir, name))

    def channel(self, service: str, address: str, contracts: Sequence[str]) -> Channel:
        """A channel to another service, on which we prove ourselves; closed with the process."""
        tokens = self.service_tokens

        def token(caller: Caller | None) -> str:
            return tokens.token(service, caller.tenant_id if caller is not None else None)

        channel = connect(address, service=service, contracts=contracts, token=token, tls=self.settings.tls())
        self.closing.append(channel.close)
        return channel


Register = Callable[[Parts, grpc.aio.Server], None]


def build(settings: ServiceSettings, register: Register, allowed: ServiceAllowList) -> Service:
    """The service, not yet listening. Needs a running event loop."""
    database = open_database(settings)
    _pool_metrics().watch(settings.service, database.stats)
    parts = Parts(settings, database)
    keys = settings.keys_dir
    authenticator = Authenticator(
        access_verifier(
            load_public_keys(keys, [ACCESS]), issuer=settings.token_issuer, audience=settings.token_audience
        ),
        service_verifier(load_public_keys(keys, SERVICES), audience=settings.service),
    )
    chain = Chain(
        callers=Callers(authenticator),
        services=allowed,
        limits=Limits(calls=settings.max_calls, streams=settings.max_streams),
        metrics=_rpc_metrics(),
    )
    options = ServerOptions(
        address=settings.listen,
        reflection=not settings.is_production,
        share_port=settings.share_port,
        tls=settings.tls(),
        max_message_bytes=settings.max_message_bytes,
        grace=settings.grace_seconds,
    )
    probe = Readiness(settings, database)
    parts.closing.append(database.close)
    return Service(
        settings.service,
        chain=chain,
        options=options,
        ready=probe,
        register=lambda server: register(parts, server),
        close=parts.closing,
    )


def open_database(settings: ServiceSettings, url: str = "database_url") -> Database:
    """The pool for one of the settings' URLs, not yet connecting."""
    pool = PoolSettings(min_size=settings.pool_min, max_size=settings.pool_max, wait=settings.pool_wait_seconds)
    return Database(settings.conninfo(url), pool, application=f"bulkhead_{settings.service}")


def serve(settings: ServiceSettings, register: Register, allowed: ServiceAllowList) -> None:
    """Until SIGTERM or SIGINT."""
    start_logging(settings)
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(settings, register, allowed))


def start_logging(settings: ServiceSettings) -> None:
    logs.configure(settings.service, output=settings.log_format, level=settings.log_level)
    for complaint in settings.unknown_variables():
        log.warning("unknown_setting", complaint=complaint)


async def _serve(settings: ServiceSettings, register: Register, allowed: ServiceAllowList) -> None:
    service = build(settings, register, allowed)
    if settings.metrics_listen is not None:
        host, _, port = settings.metrics_listen.rpartition(":")
        telemetry.serve(host, int(port))
    await service.run()


class Readiness:
    """The health probe: database reachable, schema at the revision of this code, server without known holes."""

    def __init__(self, settings: ServiceSettings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._head = head(settings.service)
        self._opened = False
        self._warned = False

    async def __call__(self) -> str | None:
        if not self._opened:
            await self._database.open()
            self._opened = True
        try:
            state = await self._database.state(self._settings.service, _probe_caller(self._settings.service))
        except Unavailable as error:
            return error.message
        return self._schema(state) or self._server(state)

    def _schema(self, state: ServerState) -> str | None:
        # A newer schema is fine: `pre` migrations run before the release that needs them.
        if state.revision < self._head:
            return (
                f"schema {self._settings.service} is at {state.revision}, this code needs {self._head}: "
                "run bulkhead migrate"
            )
        return None

    def _server(self, state: ServerState) -> str | None:
        if not state.has_known_holes:
            return None
        text = f"PostgreSQL {state.server_version} has known holes in row-level security: update it"
        if self._settings.is_production:
            return text
        if not self._warned:
            log.warning("unsafe_postgresql", detail=text)
            self._warned = True
        return None


def _probe_caller(service: str) -> Caller:
    return Caller(
        actor_type="system", rpc=f"{service}/probe", request_id="probe", deadline=clock.monotonic() + PROBE_SECONDS
    )


@cache
def _rpc_metrics() -> RpcMetrics:
    # One registry a process: services built side by side in tests share the counters.
    return RpcMetrics()


@cache
def _pool_metrics() -> telemetry.PoolMetrics:
    return telemetry.PoolMetrics()
