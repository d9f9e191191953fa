"""Any kind of method called in one way: some messages in, the texts of the replies out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc.aio
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from tests.kit.rpc.probe import METHODS, Request
from tests.kit.rpc.world import Person


async def one_by_one(messages: tuple[Any, ...]) -> AsyncIterator[Any]:
    for message in messages:
        yield message


def start(stub: Any, method: str, *messages: Any, **how: Any) -> Any:
    """The call, still running; by a member unless metadata are given."""
    how.setdefault("metadata", Person().metadata())
    sent = messages or (Request(text="hi"),)
    client_streaming, _, _ = METHODS[method]
    return getattr(stub, method)(one_by_one(sent) if client_streaming else sent[0], **how)


async def replies_of(call: Any, method: str) -> list[str]:
    _, server_streaming, _ = METHODS[method]
    replies = [reply async for reply in call] if server_streaming else [await call]
    return [getattr(reply, "text", "") for reply in replies]


async def invoke(stub: Any, method: str, *messages: Any, **how: Any) -> list[str]:
    return await replies_of(start(stub, method, *messages, **how), method)


async def failed(stub: Any, method: str, *messages: Any, **how: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await invoke(stub, method, *messages, **how)
    return caught.value


class RawStub:
    """Sends bytes as they are, well-formed or not."""

    def __init__(self, channel: grpc.aio.Channel, service: str) -> None:
        for name, (client_streaming, server_streaming, _) in METHODS.items():
            kind = f"{'stream' if client_streaming else 'unary'}_{'stream' if server_streaming else 'unary'}"
            make: Callable[[str], Any] = getattr(channel, kind)
            setattr(self, name, make(f"/{service}/{name}"))


def status_of(error: grpc.aio.AioRpcError) -> Status:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            assert isinstance(value, bytes)
            return Status.FromString(value)
    raise AssertionError(f"no status details in {error!r}")


def detail_of(error: grpc.aio.AioRpcError, kind: type[Any]) -> Any:
    found = [detail for detail in status_of(error).details if detail.Is(kind.DESCRIPTOR)]
    assert len(found) == 1, found
    return kind.FromString(found[0].value)


def reason_of(error: grpc.aio.AioRpcError) -> str:
    info = detail_of(error, ErrorInfo)
    assert info.domain == "bulkhead"
    assert status_of(error).message == error.details()
    return str(info.reason)
