"""Calls whose answer is looked at as a whole: status, reason, fields named."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
import pytest
from bulkhead_kit.caller import Role
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from tests.isolation.callers import right_caller
from tests.isolation.outcomes import Outcome, call
from tests.isolation.rpc_probes import methods_to_probe, name_of, policy_of
from tests.isolation.samples import SAMPLES, Request
from tests.isolation.world import Company
from tests.support.client import Client, Refusal, reason_of

METHODS = methods_to_probe()


OF_OWN_ACTS = {"ListEvents"}
"""Open to every role, of which only owners and admins see enough for a second page."""


@dataclass(frozen=True)
class Answer:
    code: str
    reason: str = ""
    fields: tuple[str, ...] = ()
    """Those a BadRequest names."""
    metadata: dict[str, str] = field(default_factory=dict)
    text: str = ""

    def __str__(self) -> str:
        return f"{self.code} {self.reason} {list(self.fields)}: {self.text}"


class Raw:
    """Bytes that go out as they are, where a message is expected."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        return self._raw


async def ask(client: Client, method: MethodDescriptor, request: Request | Raw | list[Raw]) -> Answer:
    sent: Any = request
    if method.client_streaming:
        sent = stream(request if isinstance(request, list) else [request])
    invoked = client.call(method, sent)
    try:
        if method.server_streaming:
            async for _ in invoked:
                pass
        else:
            await invoked
    except grpc.aio.AioRpcError as error:
        refusal = Refusal()
        refusal.error = error
        return Answer(error.code().name, reason_of(error), tuple(refusal.fields), refusal.metadata, refusal.message)
    return Answer("OK")


async def stream(messages: Iterable[Message | Raw]) -> AsyncIterator[Message | Raw]:
    for message in messages:
        yield message


@dataclass(frozen=True)
class Twin:
    """A call as it should be: by whom it may be made, and with what."""

    method: MethodDescriptor
    client: Client
    request: Request

    @classmethod
    async def make(cls, method: MethodDescriptor, company: Company) -> Twin:
        policy = policy_of(method)
        role = policy.least_role or Role.OWNER
        request = await SAMPLES[name_of(method)].request(method, company, role)
        if method.name in OF_OWN_ACTS:
            return cls(method, company.client(Role.OWNER), request)
        return cls(method, await right_caller(company, method, policy), request)

    async def ask(self, request: Request | Raw | list[Raw]) -> Answer:
        return await ask(self.client, self.method, request)

    async def goes_through(self) -> None:
        """The service lives, and what was refused before was refused for what was wrong with it."""
        outcome: Outcome = await call(self.client, self.method, self.request)
        assert outcome.code == SAMPLES[name_of(self.method)].expects, f"the call as it should be gave {outcome}"


Good = Callable[[MethodDescriptor], AbstractAsyncContextManager[Twin]]
"""Bent within the block, the twin must change nothing; unbent, at its end, it must go through."""


def every(
    holds: Callable[[MethodDescriptor], object] = lambda _: True, *, share: int = 1, turn: int = 0
) -> pytest.MarkDecorator:
    """Runs a test for each method of which that holds.

    With a share, one of so many is tried in a short run and the rest in the long one: for what the kit does for every
    method alike. `turn` says which of them, so that the short runs of several tests try different ones.
    """
    chosen = [method for method in METHODS if holds(method)]
    return pytest.mark.parametrize(
        "method",
        [
            pytest.param(method, marks=() if place % share == turn % share else pytest.mark.soak)
            for place, method in enumerate(chosen)
        ],
        ids=map(name_of, chosen),
    )


def demand(answer: Answer, reason: str, place: str, what: object) -> None:
    assert (answer.code, answer.reason) == ("INVALID_ARGUMENT", reason), f"{place} = {what!r} gave {answer}"
    assert place in answer.fields, f"{place} = {what!r} gave {answer}"
