"""Traces by W3C's traceparent, and the metrics that are not about single RPCs; `serve` shows all of them.

Parsing one header by hand costs two microseconds where OpenTelemetry's interceptor costs a hundred. Metrics live in
prometheus_client's registry; what each one means is its help text.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_traceparent = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII).fullmatch
_MAX_TRACEPARENT: Final = 256
_bits = random.SystemRandom().getrandbits
_draw = random.Random(_bits(256)).getrandbits  # noqa: S311 - ids that must differ, not be hard to guess


@dataclass(frozen=True, slots=True)
class Trace:
    """One piece of work within a trace."""

    trace_id: str
    span_id: str
    sampled: bool = True

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


def parse_traceparent(text: str | None) -> Trace | None:
    """None for a header that is absent or broken: by W3C's rules neither is a reason to refuse a call."""
    if text is None or len(text) > _MAX_TRACEPARENT:
        return None
    found = _traceparent(text)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more is not None) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return Trace(trace_id, span_id, sampled=int(flags, 16) & 1 == 1)


class TraceLater:
    """A trace that is not made until somebody asks for it; most calls are over by then."""

    __slots__ = ("_made", "_traceparent")

    def __init__(self, traceparent: str | None) -> None:
        self._traceparent = traceparent
        self._made: Trace | None = None

    def get(self) -> Trace:
        if self._made is None:
            parent = parse_traceparent(self._traceparent)
            self._made = Trace(
                parent.trace_id if parent else f"{_draw(128) or 1:032x}",
                f"{_draw(64) or 1:016x}",
                parent.sampled if parent else True,
            )
        return self._made


def expect_trace(traceparent: str | None) -> TraceLater:
    """A span of our own below the caller's, or of a new trace; current until the task ends or starts another."""
    trace = TraceLater(traceparent)
    _current.set(trace)
    return trace


def start_trace(traceparent: str | None = None) -> Trace:
    return expect_trace(traceparent).get()


_current: ContextVar[TraceLater | None] = ContextVar("bulkhead_trace", default=None)


def current_trace() -> Trace | None:
    trace = _current.get()
    return None if trace is None else trace.get()


def current_traceparent() -> str | None:
    """For the metadata of a call to another service."""
    trace = current_trace()
    return None if trace is None else trace.traceparent


Stats = Callable[[], Mapping[str, int]]


class PoolMetrics(Collector):
    """Reads psycopg_pool's own counters when somebody looks, so that using the pool costs nothing."""

    _GAUGES: Final = {
        "pool_size": ("bulkhead_db_pool_connections", "Connections the pool holds, busy and idle."),
        "pool_available": ("bulkhead_db_pool_idle", "Connections that wait for work."),
        "pool_max": ("bulkhead_db_pool_limit", "Connections the pool may hold."),
        "requests_waiting": ("bulkhead_db_pool_waiting", "Calls that wait for a connection now."),
    }
    _COUNTERS: Final = {
        "requests_num": ("bulkhead_db_pool_requests", "Times a connection was asked for."),
        "requests_queued": ("bulkhead_db_pool_queued", "Times that had to wait."),
        "requests_wait_ms": ("bulkhead_db_pool_wait_ms", "Milliseconds waited in total."),
        "requests_errors": ("bulkhead_db_pool_timeouts", "Times that got none in time."),
        "connections_errors": ("bulkhead_db_pool_connect_errors", "Attempts to connect that failed."),
        "round_trips": ("bulkhead_db_round_trips", "Batches of statements that were sent and answered."),
        "statements": ("bulkhead_db_statements", "Statements sent, those that open and close a transaction included."),
        "connections_lost": ("bulkhead_db_pool_lost", "Connections found broken."),
    }

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._pools: dict[str, Stats] = {}
        registry.register(self)

    def watch(self, name: str, stats: Stats) -> None:
        """`stats` is the pool's get_stats; `name` tells several pools of one process apart."""
        self._pools[name] = stats

    def collect(self) -> Iterator[Metric]:
        seen = {name: stats() for name, stats in self._pools.items()}
        for key, (metric, text) in self._GAUGES.items():
            gauge = GaugeMetricFamily(metric, text, labels=["pool"])
            for name, stats in seen.items():
                gauge.add_metric([name], stats.get(key, 0))
            yield gauge
        for key, (metric, text) in self._COUNTERS.items():
            counter = CounterMetricFamily(metric, text, labels=["pool"])
            for name, stats in seen.items():
                counter.add_metric([name], stats.get(key, 0))
            yield counter


class RelayMetrics:
    """How far the audit trail is behind. All but `active` are written by the active relay only."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, registry=registry)

        self.active = gauge("bulkhead_relay_active", "1 in the relay that delivers, 0 in those that stand by.")
        self.depth = gauge("bulkhead_outbox_depth", "Changes that wait for delivery; an estimate when there are many.")
        self.oldest_seconds = gauge("bulkhead_outbox_oldest_seconds", "Age of the oldest change not delivered.")
        self.parked = gauge("bulkhead_outbox_parked_tenants", "Tenants whose changes were set aside: see the runbook.")
        self.xmin_age_seconds = gauge(
            "bulkhead_db_oldest_xmin_seconds", "Age of the oldest open snapshot, which keeps dead rows from vacuum."
        )
        self.delivered = Counter("bulkhead_relay_delivered", "Changes that audit has acknowledged.", registry=registry)
        self.failures = Counter(
            "bulkhead_relay_failures", "Deliveries that failed and are tried again.", ["reason"], registry=registry
        )


class MailMetrics:
    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.settled = Counter(
            "bulkhead_mails", "Attempts to send a mail: sent, put_off or given_up.", ["outcome"], registry=registry
        )


class RateMetrics:
    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.refused = Counter(
            "bulkhead_rate_limited", "Calls refused because of a rate limit.", ["limit"], registry=registry
        )
        self.shared = Gauge(
            "bulkhead_rate_limits_shared",
            "1 while calls are counted in Redis, 0 while each process counts alone.",
            ["service"],
            registry=registry,
        )
        self.redis_failures = Counter(
            "bulkhead_rate_redis_failures", "Times that Redis did not count in time.", ["service"], registry=registry
        )


@dataclass(frozen=True, slots=True)
class Exposition:
    port: int
    close: Callable[[], None]


def serve(host: str, port: int, registry: CollectorRegistry = REGISTRY) -> Exposition:
    """Answers GET /metrics from a thread of its own, so also while the event loop is stuck. Port 0 takes a free one."""
    server, thread = start_http_server(port, addr=host, registry=registry)

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)

    return Exposition(server.server_port, close)
