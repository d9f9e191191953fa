"""Calls wait for a connection while the other side restarts, and not for one that is gone.

A call without a connection has not been sent, so that waiting is safe for every method. gRPC knows only two kinds: to
fail at once when all addresses fail, which loses calls at each restart, or to wait until the deadline, which makes
everybody slow where a service is down for long. Here calls wait for a few seconds; once that was in vain they fail at
once, until the connection is back.
"""

from __future__ import annotations

import asyncio
from typing import Final

import grpc
import grpc.aio

PATIENCE: Final = 5.0
"""More than a connection to the next process needs: a drain at a shared port (2 s at most) and the pause between
attempts (1.2 s), or names looked up again (2 s)."""

READY: Final = grpc.ChannelConnectivity.READY
FAILING: Final = grpc.ChannelConnectivity.TRANSIENT_FAILURE


class Patience:
    """One a channel."""

    def __init__(self, channel: grpc.aio.Channel, seconds: float = PATIENCE) -> None:
        self._channel = channel
        self._seconds = seconds
        self._connecting: asyncio.Task[None] | None = None
        """One for all calls that wait."""
        self._in_vain = False

    @property
    def is_over(self) -> bool:
        """Whether a call fails at once where there is no connection."""
        return self._in_vain

    async def wait(self, within: float) -> None:
        """Until there is a connection or no hope; at most so many seconds."""
        state = self._channel.get_state(try_to_connect=True)
        if state is READY:
            self._in_vain = False
            return
        if self._in_vain and state is FAILING:
            return
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._channel.channel_ready(), name="connecting")
        patience = min(self._seconds, within)
        done, _ = await asyncio.wait({self._connecting}, timeout=patience)
        # Who had less time than that knows nothing of the others' hope.
        if done or patience == self._seconds:
            self._in_vain = not done

    def has_connection(self) -> bool:
        return self._channel.get_state() is READY

    def stop(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
