"""A channel whose TLS files may be renewed: grpc reads them once, so that a new channel takes the old one's place.

Calls that are on their way end on the channel they began on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import grpc
import grpc.aio

from bulkhead_kit.keywatch import LOOK_SECONDS
from bulkhead_kit.tls import TlsFiles, channel_credentials

GRACE_SECONDS: Final = 60.0
"""What calls on the old channel get to end by themselves; none has a longer deadline but an import."""

Opens = Callable[[grpc.ChannelCredentials], grpc.aio.Channel]


class RenewedChannel(grpc.aio.Channel):
    def __init__(self, files: TlsFiles, open_channel: Opens) -> None:
        """Raises KeyFileError."""
        self._files = files
        self._open = open_channel
        self._watch = files.watch()
        self._inner = open_channel(channel_credentials(self._watch.first))
        self._ending: set[asyncio.Task[None]] = set()

    def current(self) -> grpc.aio.Channel:
        """For the next call: a new one once the files have changed."""
        pem = self._watch.changed(LOOK_SECONDS)
        if pem is not None:
            self._files.tell("tls_certificate_renewed", pem)
            old, self._inner = self._inner, self._open(channel_credentials(pem))
            ending = asyncio.get_running_loop().create_task(old.close(GRACE_SECONDS))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        return self._inner

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        for ending in self._ending:
            ending.cancel()
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self.current().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self.current().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self.current().channel_ready()

    def unary_unary(self, method: str, *serializers: Any, **options: Any) -> Any:
        return _Method(self, lambda channel: channel.unary_unary(method, *serializers, **options))

    def unary_stream(self, method: str, *serializers: Any, **options: Any) -> Any:
        return _Method(self, lambda channel: channel.unary_stream(method, *serializers, **options))

    def stream_unary(self, method: str, *serializers: Any, **options: Any) -> Any:
        return _Method(self, lambda channel: channel.stream_unary(method, *serializers, **options))

    def stream_stream(self, method: str, *serializers: Any, **options: Any) -> Any:
        return _Method(self, lambda channel: channel.stream_stream(method, *serializers, **options))


class _Method:
    """What a stub calls; made anew on each channel that takes another's place."""

    def __init__(self, channel: RenewedChannel, make: Callable[[grpc.aio.Channel], Any]) -> None:
        self._channel = channel
        self._make = make
        self._made_on: grpc.aio.Channel | None = None
        self._made: Any = None

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        channel = self._channel.current()
        if channel is not self._made_on:
            self._made_on, self._made = channel, self._make(channel)
        return self._made(*arguments, **options)
