"""What the steps learn about one RPC on its way; telemetry reads it at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass

import grpc

from bulkhead_kit.caller import Caller
from bulkhead_kit.policy import MethodPolicy
from bulkhead_kit.telemetry import TraceLater


@dataclass(slots=True, eq=False)
class Call:
    policy: MethodPolicy
    task: asyncio.Task[object] | None
    """None when the call has ended."""
    started: float
    """Started, deadline and ended are on the monotonic clock, in seconds."""
    deadline: float
    ended: float = 0.0
    expired: bool = False
    """Stopped by us because its deadline had passed."""
    displaced: bool = False
    """Stopped by us because somebody who holds less asked for its slot."""
    code: grpc.StatusCode = grpc.StatusCode.OK
    reason: str = ""
    request_id: str = ""
    ip: str | None = None
    """Where it came from, as far as that is known without its token."""
    user_agent: str | None = None
    admitted: bool = False
    """Past the steps before the handler."""
    caller: Caller | None = None
    holder: tuple[Hashable, ...] = ()
    """Under whom its slot counts: nobody, before it has one."""
    trace: TraceLater | None = None
