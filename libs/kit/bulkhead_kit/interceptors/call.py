"""What the steps learn about one RPC on its way; telemetry reads it at the end."""

from __future__ import annotations

from dataclasses import dataclass

import grpc

from bulkhead_kit.caller import Caller
from bulkhead_kit.policy import MethodPolicy


@dataclass(slots=True)
class Call:
    policy: MethodPolicy
    started: float
    """Started and deadline are on the monotonic clock, in seconds."""
    deadline: float
    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str = ""
    request_id: str = ""
    caller: Caller | None = None

    @property
    def rpc(self) -> str:
        return self.policy.method
