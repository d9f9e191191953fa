"""Calls as a client of any kind makes them: plain channels, one attribute a service, one method an RPC.

await owner.issues.GetIssue(issue_id=issue_id)
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import bulkhead
import grpc
import grpc.aio
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

SERVICES = ("identity", "issues", "audit")
TIMEOUT = 10.0
Metadata = tuple[tuple[str, str], ...]


@lru_cache(maxsize=1)
def contracts() -> tuple[ServiceDescriptor, ...]:
    """Every service of every contract."""
    found: dict[str, ServiceDescriptor] = {}
    for root in bulkhead.__path__:
        for file in sorted(Path(root).rglob("*_pb2.py")):
            name = ".".join(["bulkhead", *file.relative_to(root).with_suffix("").parts])
            module = importlib.import_module(name)
            for service in module.DESCRIPTOR.services_by_name.values():
                found[service.full_name] = service
    return tuple(found.values())


@lru_cache(maxsize=1)
def methods() -> tuple[MethodDescriptor, ...]:
    return tuple(method for service in contracts() for method in service.methods)


def find_method(package: str, name: str) -> MethodDescriptor:
    found = [m for m in methods() if m.name == name and m.full_name.split(".")[1] == package]
    if len(found) != 1:
        raise AttributeError(f"{package} has {len(found)} methods named {name}")
    return found[0]


def message_class(name: str) -> type[Message]:
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))


class Client:
    """One caller, known by the metadata she sends to a service; a service's own tokens differ by whom it calls."""

    def __init__(self, channels: Mapping[str, grpc.aio.Channel], metadata: Callable[[str], Metadata]) -> None:
        self.channels = channels
        self.metadata = metadata

    @property
    def identity(self) -> Api:
        return Api(self, "identity")

    @property
    def issues(self) -> Api:
        return Api(self, "issues")

    @property
    def audit(self) -> Api:
        return Api(self, "audit")

    def with_metadata(self, *entries: tuple[str, str]) -> Client:
        """The same caller with entries added or, where she has them, replaced."""
        replaced = {key for key, _ in entries}

        def metadata(service: str) -> Metadata:
            return (*(entry for entry in self.metadata(service) if entry[0] not in replaced), *entries)

        return Client(self.channels, metadata)

    def call(
        self,
        method: MethodDescriptor,
        request: Message | Iterable[Message] | AsyncIterable[Message],
        *,
        timeout: float = TIMEOUT,
    ) -> Any:
        """The call itself: await it, or iterate over it where the server streams."""
        service = method.full_name.split(".")[1]
        kind = f"{_kind(method.client_streaming)}_{_kind(method.server_streaming)}"
        invoke = getattr(self.channels[service], kind)(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_class(method.output_type.full_name).FromString,
        )
        return invoke(request, timeout=timeout, metadata=self.metadata(service))


def _kind(streaming: bool) -> str:
    return "stream" if streaming else "unary"


class Api:
    """The RPCs of one service by their names; arguments are the request's fields, or the request itself."""

    def __init__(self, client: Client, package: str) -> None:
        self._client = client
        self._package = package

    def __getattr__(self, name: str) -> Any:
        method = find_method(self._package, name)

        def invoke(request: Any = None, /, *, timeout: float = TIMEOUT, **fields: Any) -> Any:
            if request is None:
                request = message_class(method.input_type.full_name)(**fields)
            return self._client.call(method, request, timeout=timeout)

        return invoke


@contextmanager
def refused(code: str, reason: str = "") -> Iterator[Refusal]:
    """The block must end with that status and, where one is named, that reason; the refusal says more afterwards."""
    refusal = Refusal()
    try:
        yield refusal
    except grpc.aio.AioRpcError as error:
        refusal.error = error
    else:
        raise AssertionError(f"expected {code} {reason}, but the call went through")
    said = (refusal.error.code().name, reason_of(refusal.error) if reason else "")
    assert said == (code, reason), refusal.message


class Refusal:
    error: grpc.aio.AioRpcError

    @property
    def status(self) -> status_pb2.Status:
        return status_of(self.error)

    @property
    def message(self) -> str:
        return self.error.details() or ""

    @property
    def metadata(self) -> dict[str, str]:
        """Of the ErrorInfo."""
        info = error_details_pb2.ErrorInfo()
        return dict(info.metadata) if any(detail.Unpack(info) for detail in self.status.details) else {}

    @property
    def fields(self) -> list[str]:
        """The fields a BadRequest names."""
        bad = error_details_pb2.BadRequest()
        found = any(detail.Unpack(bad) for detail in self.status.details)
        return [violation.field for violation in bad.field_violations] if found else []


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The status with its details, as the server sent it."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            return status_pb2.Status.FromString(value)
    return status_pb2.Status(code=error.code().value[0], message=error.details() or "")


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The name of the ErrorReason, or "" where the error has none."""
    for detail in status_of(error).details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return ""
