"""The step telemetry: how many, how long, how they ended, and one line in the access log for each call.

Bodies are never logged, so no sensitive field can be. Both parts are written by hand, as they are paid by every call:
prometheus_client's own histogram and a log line through every processor together cost more than all other steps.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any, Final

import grpc
import grpc.aio
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from bulkhead_kit import clock
from bulkhead_kit.interceptors import access_log
from bulkhead_kit.interceptors.call import Call
from bulkhead_kit.policy import MethodPolicy

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class _Durations:
    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus wants them: each counts the smaller ones too."""
        seen, found = 0, []
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self.counts, strict=True):
            seen += count
            found.append((bound, float(seen)))
        return found


class RpcMetrics(Collector):
    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.running = 0
        self._durations: dict[tuple[str, grpc.StatusCode], _Durations] = {}
        registry.register(self)

    def begin(self, policy: MethodPolicy, context: grpc.aio.ServicerContext[Any, Any]) -> Call:
        self.running += 1
        started = clock.monotonic()
        remaining: float | None = context.time_remaining()
        given = policy.default_deadline if remaining is None else min(remaining, policy.max_deadline)
        task = asyncio.current_task()
        assert task is not None
        return Call(policy, task, started, started + given)

    def end(self, call: Call) -> None:
        self.running -= 1
        seconds = clock.monotonic() - call.started
        key = (call.policy.method, call.code)
        durations = self._durations.get(key)
        if durations is None:
            durations = self._durations[key] = _Durations()
        durations.counts[bisect_left(BUCKETS, seconds)] += 1
        durations.total += seconds
        access_log.write(call, seconds)

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("bulkhead_rpc_server_running", "RPCs that have begun and not ended.", self.running)
        histogram = HistogramMetricFamily(
            "bulkhead_rpc_server_seconds",
            "Duration of RPCs by method and code; its count is the number of calls.",
            labels=["method", "code"],
        )
        for (method, code), durations in list(self._durations.items()):
            histogram.add_metric([method, code.name], durations.buckets(), durations.total)
        yield histogram
