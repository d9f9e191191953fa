"""Callers for code that is called without a server around it."""

from __future__ import annotations

from bulkhead_kit import clock
from bulkhead_kit.caller import Caller


def worker_caller(service: str = "identity") -> Caller:
    return Caller(
        actor_type="system", rpc="worker/test", request_id="test", deadline=clock.monotonic() + 30, service=service
    )
