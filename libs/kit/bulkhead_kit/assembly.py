"""How a service is put together from its settings: database, tokens, chain, health.

A service's __main__ says what is its own (settings, servicers, who may call what); tests build the same house on free
ports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

import grpc.aio
from prometheus_client import Counter

from bulkhead_kit import telemetry
from bulkhead_kit.api_keys import ApiKeyLookup
from bulkhead_kit.db import Database
from bulkhead_kit.denials import Denials, Record, through_outbox
from bulkhead_kit.interceptors.base import Chain
from bulkhead_kit.interceptors.caller import ApiKeys, Callers
from bulkhead_kit.interceptors.limits import Limits
from bulkhead_kit.interceptors.telemetry import RpcMetrics
from bulkhead_kit.keyfiles import ACCESS, SERVICES, load_public_keys
from bulkhead_kit.parts import Close, Parts, open_database
from bulkhead_kit.policy import read_policies
from bulkhead_kit.rates.keys import LimitedLookup
from bulkhead_kit.rates.limiter import RateLimits, Rates
from bulkhead_kit.rates.rate import ANY_METHOD
from bulkhead_kit.rates.refusals import Refusals
from bulkhead_kit.readiness import Readiness
from bulkhead_kit.server import ServerOptions, Service
from bulkhead_kit.services_auth import Authenticator, ServiceAllowList, service_verifier
from bulkhead_kit.settings import ServiceSettings, SettingsError
from bulkhead_kit.tokens import access_verifier

Register = Callable[[Parts, grpc.aio.Server], None]
RecordsDenials = Callable[[Database], Record]
"""How a service puts refused calls into the audit log."""


def build(
    settings: ServiceSettings, register: Register, allowed: ServiceAllowList, denied: RecordsDenials | None = None
) -> Service:
    """The service, not yet listening. Needs a running event loop. `denied` unset: by the service's own outbox."""
    settings.demand_protected_listener()
    database = open_database(settings)
    _pool_metrics().watch(settings.service, database.stats)
    parts = Parts(settings, database)
    rate_limit = _rate_limits(settings, parts.closing)
    record = denied(database) if denied is not None else through_outbox(settings.service, database)
    denials = Denials(record, _denied_calls())
    refusals = _refusals(settings)
    limits = Limits(calls=settings.max_calls, streams=settings.max_streams, rate_limit=rate_limit, refusals=refusals)
    chain = Chain(
        callers=Callers(_authenticator(settings), api_keys=_key_lookup(settings, database), refusals=refusals),
        services=allowed,
        limits=limits,
        metrics=_rpc_metrics(),
        denials=denials,
    )
    parts.closing.extend([database.close, denials.close])
    service = Service(
        settings.service,
        chain=chain,
        options=_options(settings),
        ready=Readiness(settings, database, parts.databases),
        register=lambda server: register(parts, server),
        close=parts.closing,
    )
    _demand_methods(settings, service.server.services)
    return service


def _authenticator(settings: ServiceSettings) -> Authenticator:
    keys = settings.keys_dir
    return Authenticator(
        access_verifier(
            load_public_keys(keys, [ACCESS]), issuer=settings.token_issuer, audience=settings.token_audience
        ),
        service_verifier(load_public_keys(keys, SERVICES), audience=settings.service),
    )


def _options(settings: ServiceSettings) -> ServerOptions:
    return ServerOptions(
        address=settings.listen,
        reflection=not settings.is_production,
        share_port=settings.share_port,
        tls=settings.tls(),
        max_message_bytes=settings.max_message_bytes,
        drain_delay=settings.drain_seconds,
        grace=settings.grace_seconds,
    )


def _rate_limits(settings: ServiceSettings, closing: list[Close]) -> RateLimits | None:
    if not settings.rate_limits:
        return None
    rates = Rates(settings.rate_per_ip, settings.rate_per_principal, settings.rate_per_tenant, settings.method_rates())
    if settings.redis_url is None:
        return RateLimits(rates, _rate_metrics())
    settings.demand_protected_redis()
    from bulkhead_kit.rates.shared import RedisCounts  # noqa: PLC0415 - slow to load, and few installations share counts

    try:
        shared = RedisCounts(settings.redis_url.get_secret_value(), settings.service, _rate_metrics())
    except ValueError:
        raise SettingsError(f"{settings.variable('redis_url')} is not a URL of a Redis: redis://host:6379/0") from None
    closing.append(shared.close)
    return RateLimits(rates, _rate_metrics(), shared=shared)


def _refusals(settings: ServiceSettings) -> Refusals | None:
    if not settings.rate_limits or settings.rate_refused is None:
        return None
    return Refusals(settings.rate_refused, _rate_metrics())


def _key_lookup(settings: ServiceSettings, database: Database) -> ApiKeys:
    lookup = ApiKeyLookup(database)
    if not settings.rate_limits:
        return lookup
    return LimitedLookup(
        lookup, _rate_metrics(), failed=settings.rate_failed_keys, principal=settings.rate_per_principal
    )


def _demand_methods(settings: ServiceSettings, services: Iterable[str]) -> None:
    """A rate for a method that is not there would limit nothing."""
    methods = {method.partition("/")[2] for method in read_policies(services)}
    if strange := settings.method_rates().keys() - methods - {ANY_METHOD}:
        name = settings.variable("rate_per_method")
        raise SettingsError(f"{name} names what is no method of {settings.service}: {', '.join(sorted(strange))}")


@cache
def _rpc_metrics() -> RpcMetrics:
    # One registry a process: services built side by side in tests share the counters.
    return RpcMetrics()


@cache
def _rate_metrics() -> telemetry.RateMetrics:
    return telemetry.RateMetrics()


@cache
def _denied_calls() -> Counter:
    return Counter("bulkhead_denials_not_recorded", "Refused calls that did not become audit events.")


@cache
def _pool_metrics() -> telemetry.PoolMetrics:
    return telemetry.PoolMetrics()
