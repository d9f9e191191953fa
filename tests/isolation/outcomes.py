"""What came back from a call, in a form in which two of them can be compared byte for byte."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import grpc.aio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from tests.isolation.samples import Request
from tests.support.client import Client, reason_of, status_of


@dataclass(frozen=True)
class Outcome:
    code: str
    reason: str = ""
    body: bytes = b""
    """The whole status of a refusal, details included; the messages of an answer."""

    @property
    def ok(self) -> bool:
        return self.code == "OK"

    def without(self, asked: str) -> Outcome:
        return replace(self, body=self.body.replace(asked.encode(), b""))

    def without_numbers(self) -> Outcome:
        return replace(self, body=re.sub(rb"\d{4,}", b"", self.body))

    def __str__(self) -> str:
        return f"{self.code} {self.reason}".strip()


async def call(client: Client, method: MethodDescriptor, request: Request) -> Outcome:
    sent: Any = _stream(request) if isinstance(request, list) else request
    invoked = client.call(method, sent, timeout=10)
    try:
        if method.server_streaming:
            return Outcome("OK", body=b"".join([reply.SerializeToString() async for reply in invoked]))
        return Outcome("OK", body=(await invoked).SerializeToString())
    except grpc.aio.AioRpcError as error:
        return Outcome(error.code().name, reason_of(error), status_of(error).SerializeToString(deterministic=True))


async def _stream(messages: list[Message]) -> AsyncIterator[Message]:
    for message in messages:
        yield message
