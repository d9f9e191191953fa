"""One wrapper for all four kinds of RPC, made once per method. The steps run inside it in a fixed order:

telemetry -> errors -> caller -> policy -> limits -> spelling -> validation -> handler

Messages are read, decoded and encoded here rather than by grpc, which is told that every call streams its requests:
else it reads the request before it asks anybody, and a stranger's megabytes are ours to keep. Its own codecs answer a
broken message with the exception's text. Replies of a stream are written here, not yielded: a deadline that passes
while the client reads slowly must still end with a status.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, TypeAlias, cast

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from bulkhead_kit import metadata
from bulkhead_kit.caller import set_current_caller
from bulkhead_kit.denials import Denials
from bulkhead_kit.errors import DomainError, InvalidArgument
from bulkhead_kit.interceptors.bodies import Bodies, Hearings
from bulkhead_kit.interceptors.caller import Callers, peer_address
from bulkhead_kit.interceptors.deadline import Deadlines
from bulkhead_kit.interceptors.errors import answer, forget_frames
from bulkhead_kit.interceptors.limits import Limits
from bulkhead_kit.interceptors.policy import checker
from bulkhead_kit.interceptors.telemetry import RpcMetrics
from bulkhead_kit.policy import MethodPolicy
from bulkhead_kit.services_auth import ServiceAllowList
from bulkhead_kit.spelling import normalise
from bulkhead_kit.telemetry import expect_trace
from bulkhead_kit.validation import validate

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Serve = Callable[[Any, Context], Awaitable[bytes | None]]
"""What grpc calls: raw request or raw iterator in, raw reply out, None where the replies were written already. The
iterator that grpc itself gives is left alone: requests are read by the context."""

PERMISSION_DENIED = grpc.StatusCode.PERMISSION_DENIED


class HandlerError(Exception):
    """A servicer's method is of the wrong sort of function: the server must not start."""


class Chain:
    def __init__(
        self,
        *,
        callers: Callers,
        services: ServiceAllowList,
        limits: Limits,
        metrics: RpcMetrics,
        denials: Denials | None = None,
    ) -> None:
        self._callers = callers
        self._services = services
        self._limits = limits
        self._metrics = metrics
        self._denials = denials
        self._deadlines = Deadlines()
        self._bodies = Bodies()
        self._hearings = Hearings()
        self.begun = 0
        """Calls so far, of every kind."""

    @property
    def running(self) -> int:
        return len(self._deadlines.running)

    def demand_known(self, methods: Iterable[str]) -> None:
        """At start: whom the allow list lets in must be let in somewhere."""
        self._services.demand_known(methods)

    async def idle(self) -> None:
        """Until no call is running."""
        await self._deadlines.idle()

    def flush(self) -> None:
        """Counts and writes down the calls that have ended; nothing does it after the event loop."""
        self._metrics.close()

    def wrap(self, policy: MethodPolicy, handler: Handler) -> Handler:
        serve = self._through_steps(policy, _body(policy, handler))
        return _make(handler)(serve, request_deserializer=None, response_serializer=None)

    def _through_steps(self, policy: MethodPolicy, body: Serve) -> Serve:
        callers, metrics, deadlines, denials = self._callers, self._metrics, self._deadlines, self._denials
        bodies, hearings = self._bodies, self._hearings
        streaming, sends_many = policy.client_streaming or policy.server_streaming, policy.client_streaming
        slots = self._limits.streams if streaming else self._limits.calls
        rate_limit = self._limits.rate
        refusals = self._limits.refusals
        check = checker(policy, self._services)

        async def serve(incoming: Any, context: Context) -> bytes | None:
            self.begun += 1
            call = metrics.begin(policy, context)
            deadlines.watch(call)
            try:
                found = metadata.read(context.invocation_metadata() or ())
                call.request_id = found.request_id
                call.trace = expect_trace(found.traceparent)
                caller = call.caller = callers.known(call, found, context) or await callers.by_key(call, found, context)
                set_current_caller(caller)
                check(caller)
                if rate_limit is not None:
                    await rate_limit(caller, policy)
                share = caller.shares()[-1]
                # A request on its way keeps no slot from others; a stream keeps its own while it sends.
                incoming = bodies.all(context, share) if sends_many else await bodies.only(context, share)
                slots.take(caller, call)
                call.admitted = True
                try:
                    return await body(incoming, context)
                finally:
                    slots.give_back(call)
            except BaseException as error:
                if sends_many and (call.displaced or isinstance(error, Exception)):
                    await hearings.hear_out(context, call.caller)
                told = error
                if isinstance(error, DomainError) and not call.admitted:
                    call.ip = call.ip or peer_address(context)
                    told = error if refusals is None else refusals.judge(error, call.caller, call.ip)
                    if told is not error and error.code is PERMISSION_DENIED and call.caller and denials is not None:
                        denials.note_one_of_many(call.caller)
                try:
                    await answer(told, call, context)
                finally:
                    del incoming, told
                    forget_frames(error)
                raise
            finally:
                if call.code is PERMISSION_DENIED and denials is not None and call.caller is not None:
                    denials.note(call.caller, call.reason)
                metrics.end(call)
                deadlines.release(call)

        return serve


def _make(handler: Handler) -> Callable[..., Handler]:
    return grpc.stream_stream_rpc_method_handler if handler.response_streaming else grpc.stream_unary_rpc_method_handler


def _body(policy: MethodPolicy, handler: Handler) -> Serve:
    behaviour: Any = _behaviour(policy, handler)
    encode = cast("Callable[[Any], bytes]", handler.response_serializer)
    receive = _receiver(policy, handler)

    async def one_reply(incoming: Any, context: Context) -> bytes:
        return encode(await behaviour(receive(incoming), context))

    async def many_replies(incoming: Any, context: Context) -> None:
        # aclosing: the generator's own clean-up must have run before the call is answered.
        async with aclosing(behaviour(receive(incoming), context)) as replies:
            async for reply in replies:
                await context.write(encode(reply))

    return many_replies if handler.response_streaming else one_reply


def _behaviour(policy: MethodPolicy, handler: Handler) -> Callable[..., Any]:
    if handler.request_streaming != policy.client_streaming or handler.response_streaming != policy.server_streaming:
        raise HandlerError(f"{policy.method}: its handler is not of the kind its descriptor says")
    if handler.response_streaming:
        behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream
        fits, kind = inspect.isasyncgenfunction(behaviour), "an async generator, yielding its replies"
    else:
        behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary
        fits, kind = inspect.iscoroutinefunction(behaviour), "an async function, returning its reply"
    if behaviour is None or not fits:
        raise HandlerError(f"{policy.method}: its handler must be {kind}")
    if handler.request_deserializer is None or handler.response_serializer is None:
        raise HandlerError(f"{policy.method}: its handler does not say how messages are read and written")
    return behaviour


def _receiver(policy: MethodPolicy, handler: Handler) -> Callable[[Any], Any]:
    decode: Any = handler.request_deserializer

    def one(raw: bytes) -> Message:
        try:
            message: Message = decode(raw)
        except DecodeError:
            raise InvalidArgument.field("", f"the request is not a valid message of {policy.method}") from None
        normalise(message)
        validate(message)
        return message

    async def many(raws: AsyncIterator[bytes]) -> AsyncIterator[Message]:
        async for raw in raws:
            yield one(raw)

    return many if handler.request_streaming else one
