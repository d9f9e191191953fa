"""The step telemetry: how many, how long, how they ended, and one line in the access log for each call.

Bodies are never logged, so no sensitive field can be.
"""

from __future__ import annotations

from typing import Final

import grpc
import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Gauge, Histogram

from bulkhead_kit import clock
from bulkhead_kit.interceptors.call import Call

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

log: structlog.stdlib.BoundLogger = structlog.get_logger("bulkhead.access")


class RpcMetrics:
    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.running = 0
        self._seconds = Histogram(
            "bulkhead_rpc_server_seconds",
            "Duration of RPCs by method and code; its count is the number of calls.",
            ["method", "code"],
            buckets=BUCKETS,
            registry=registry,
        )
        # labels() costs more than the rest of the step.
        self._observers: dict[tuple[str, grpc.StatusCode], Histogram] = {}
        running = Gauge("bulkhead_rpc_server_running", "RPCs that have begun and not ended.", registry=registry)
        running.set_function(lambda: self.running)

    def begin(self, call: Call) -> None:
        self.running += 1

    def end(self, call: Call) -> None:
        self.running -= 1
        seconds = clock.monotonic() - call.started
        self._observer(call).observe(seconds)
        log.info(
            "rpc",
            rpc=call.policy.method,
            code=call.code.name,
            reason=call.reason,
            ms=round(seconds * 1000, 2),
            request_id=call.request_id,
        )

    def _observer(self, call: Call) -> Histogram:
        key = (call.policy.method, call.code)
        found = self._observers.get(key)
        if found is None:
            found = self._observers[key] = self._seconds.labels(call.policy.method, call.code.name)
        return found
