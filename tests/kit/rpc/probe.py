"""A throw-away service with a method of every kind and policy, its contract made without protoc, and its servicer
steered by the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from buf.validate import validate_pb2
from bulkhead.rpc.v1 import options_pb2
from bulkhead_kit.caller import Caller, current_caller
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "bulkhead.probe.v1"
SERVICE = f"{PACKAGE}.ProbeService"
MAX_TEXT = 100

Scope = options_pb2.Scope
VIEWER, MEMBER, OWNER = options_pb2.ROLE_VIEWER, options_pb2.ROLE_MEMBER, options_pb2.ROLE_OWNER

TENANT = {"scope": Scope.SCOPE_TENANT, "least_role": VIEWER}
METHODS: dict[str, tuple[bool, bool, dict[str, Any]]] = {
    # name: client streams, server streams, policy
    "Ask": (False, False, {**TENANT, "idempotent": True}),
    "Download": (False, True, {**TENANT, "idempotent": True}),
    "Upload": (True, False, TENANT),
    "Chat": (True, True, TENANT),
    "Change": (False, False, {**TENANT, "audited": True}),
    "ChangeOnce": (False, False, {**TENANT, "audited": True, "idempotent": True}),
    "AsOwner": (False, False, {**TENANT, "least_role": OWNER}),
    "AsAnyone": (False, False, {"scope": Scope.SCOPE_PUBLIC}),
    "AsUser": (False, False, {"scope": Scope.SCOPE_USER}),
    "AsService": (False, False, {"scope": Scope.SCOPE_SERVICE}),
    "AsPlatform": (False, False, {"scope": Scope.SCOPE_PLATFORM}),
    "Brief": (False, False, {**TENANT, "default": 0.2, "longest": 0.4}),
    "BriefDownload": (False, True, {**TENANT, "default": 0.2, "longest": 0.4}),
    "BriefUpload": (True, False, {**TENANT, "default": 0.2, "longest": 0.4}),
    "BriefChat": (True, True, {**TENANT, "default": 0.2, "longest": 0.4}),
}
KINDS = ("Ask", "Download", "Upload", "Chat")


def policy(
    *,
    scope: Any = 0,
    least_role: Any = 0,
    audited: bool = False,
    idempotent: bool = False,
    default: float | None = None,
    longest: float | None = None,
) -> options_pb2.Policy:
    made = options_pb2.Policy(scope=scope, least_role=least_role, audited=audited, idempotent=idempotent)
    if default is not None:
        made.default_deadline.FromNanoseconds(int(default * 1e9))
    if longest is not None:
        made.max_deadline.FromNanoseconds(int(longest * 1e9))
    return made


def add_file(package: str, service: str, methods: dict[str, tuple[bool, bool, options_pb2.Policy | None]]) -> None:
    """Adds a contract to the default pool, as importing generated code does."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package.replace('.', '/')}/probe.proto",
        package=package,
        syntax="proto3",
        dependency=["bulkhead/rpc/v1/options.proto", "buf/validate/validate.proto"],
    )
    request = file.message_type.add(name="ProbeRequest")
    text = request.field.add(name="text", number=1, type=9, label=1)
    text.options.Extensions[validate_pb2.field].string.max_len = MAX_TEXT
    request.field.add(name="request_id", number=2, type=9, label=1)
    request.field.add(name="payload", number=3, type=12, label=1)
    file.message_type.add(name="ProbeReply").field.add(name="text", number=1, type=9, label=1)
    made = file.service.add(name=service)
    for name, (client_streaming, server_streaming, its_policy) in methods.items():
        method = made.method.add(
            name=name,
            input_type=f".{package}.ProbeRequest",
            output_type=f".{package}.ProbeReply",
            client_streaming=client_streaming,
            server_streaming=server_streaming,
        )
        if its_policy is not None:
            method.options.Extensions[options_pb2.policy].CopyFrom(its_policy)
    descriptor_pool.Default().Add(file)


add_file(PACKAGE, "ProbeService", {name: (c, s, policy(**p)) for name, (c, s, p) in METHODS.items()})


def message_class(name: str) -> Any:
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(f"{PACKAGE}.{name}"))


Request = message_class("ProbeRequest")
Reply = message_class("ProbeReply")

Script = Callable[[Any], Awaitable[str]]
Context = grpc.aio.ServicerContext[Any, Any]


async def echo(request: Any) -> str:
    return str(request.text)


def make_reply(text: str) -> Any:
    return Reply(text=text)


class ProbeServicer:
    """Every method awaits `script` once for each request; streams answer once before it, so that it runs midway."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.script: Script = echo
        self.reply: Callable[[str], Any] = make_reply
        self.requests: list[Any] = []
        self.callers: list[Caller] = []
        self.ended = 0
        """Handlers whose clean-up has run."""

    async def unary(self, request: Any, context: Context) -> Any:
        try:
            return self.reply(await self._work(request))
        finally:
            self.ended += 1

    async def download(self, request: Any, context: Context) -> AsyncIterator[Any]:
        try:
            yield self.reply("first")
            yield self.reply(await self._work(request))
        finally:
            self.ended += 1

    async def upload(self, requests: AsyncIterator[Any], context: Context) -> Any:
        try:
            return self.reply(",".join([await self._work(request) async for request in requests]))
        finally:
            self.ended += 1

    async def chat(self, requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
        try:
            yield self.reply("first")
            async for request in requests:
                yield self.reply(await self._work(request))
        finally:
            self.ended += 1

    async def _work(self, request: Any) -> str:
        self.requests.append(request)
        self.callers.append(current_caller())
        return await self.script(request)

    def register(self, server: grpc.aio.Server) -> None:
        """What generated code does."""
        handlers = {name: self.handler(name) for name in METHODS}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        server.add_registered_method_handlers(SERVICE, handlers)

    def handler(self, name: str) -> grpc.RpcMethodHandler[Any, Any]:
        client_streaming, server_streaming, _ = METHODS[name]
        codecs = {"request_deserializer": Request.FromString, "response_serializer": Reply.SerializeToString}
        if client_streaming and server_streaming:
            return grpc.stream_stream_rpc_method_handler(self.chat, **codecs)
        if client_streaming:
            return grpc.stream_unary_rpc_method_handler(self.upload, **codecs)
        if server_streaming:
            return grpc.unary_stream_rpc_method_handler(self.download, **codecs)
        return grpc.unary_unary_rpc_method_handler(self.unary, **codecs)


class ProbeStub:
    """What generated code makes of the contract: an attribute for each method."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        for name, (client_streaming, server_streaming, _) in METHODS.items():
            kind = f"{'stream' if client_streaming else 'unary'}_{'stream' if server_streaming else 'unary'}"
            make: Any = getattr(channel, kind)
            setattr(
                self,
                name,
                make(
                    f"/{SERVICE}/{name}",
                    request_serializer=Request.SerializeToString,
                    response_deserializer=Reply.FromString,
                ),
            )

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)
