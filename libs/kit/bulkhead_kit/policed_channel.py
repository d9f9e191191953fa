"""A channel that knows the policy of each method that stubs make on it; everything else is the channel's within it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar
from weakref import WeakKeyDictionary

import grpc
import grpc.aio

from bulkhead_kit.policy import MethodPolicy

Q = TypeVar("Q")
R = TypeVar("R")
M = TypeVar("M")


class PolicedChannel(grpc.aio.Channel):
    def __init__(self, inner: grpc.aio.Channel, policies: Mapping[str, MethodPolicy]) -> None:
        self._inner = inner
        self._policies = policies
        self._methods: WeakKeyDictionary[Any, MethodPolicy] = WeakKeyDictionary()

    def policy_of(self, method: object) -> MethodPolicy | None:
        """Of a method of a stub that was made on this channel."""
        return self._methods.get(method)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._inner.channel_ready()

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Q], bytes] | None = None,
        response_deserializer: Callable[[bytes], R] | None = None,
        _registered_method: bool | None = False,
    ) -> grpc.aio.UnaryUnaryMultiCallable[Q, R]:
        return self._known(method, self._inner.unary_unary(method, request_serializer, response_deserializer))

    def unary_stream(
        self,
        method: str,
        request_serializer: Callable[[Q], bytes] | None = None,
        response_deserializer: Callable[[bytes], R] | None = None,
        _registered_method: bool | None = False,
    ) -> grpc.aio.UnaryStreamMultiCallable[Q, R]:
        return self._known(method, self._inner.unary_stream(method, request_serializer, response_deserializer))

    def stream_unary(
        self,
        method: str,
        request_serializer: Callable[[Q], bytes] | None = None,
        response_deserializer: Callable[[bytes], R] | None = None,
        _registered_method: bool | None = False,
    ) -> grpc.aio.StreamUnaryMultiCallable[Q, R]:
        return self._known(method, self._inner.stream_unary(method, request_serializer, response_deserializer))

    def stream_stream(
        self,
        method: str,
        request_serializer: Callable[[Q], bytes] | None = None,
        response_deserializer: Callable[[bytes], R] | None = None,
        _registered_method: bool | None = False,
    ) -> grpc.aio.StreamStreamMultiCallable[Q, R]:
        return self._known(method, self._inner.stream_stream(method, request_serializer, response_deserializer))

    def _known(self, method: str, made: M) -> M:
        policy = self._policies.get(method.removeprefix("/"))
        if policy is not None:
            self._methods[made] = policy
        return made
