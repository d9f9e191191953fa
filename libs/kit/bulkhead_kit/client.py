"""Calls to other services: who asks and how long they can wait travel along, a restart of the other side costs no
call, retries are safe, failures come back as DomainErrors.

    audit = connect("127.0.0.1:7103", service="audit", contracts=["bulkhead.audit.v1.AuditService"], token=tokens.get)
    stub = AuditServiceStub(audit)
    reply = await audit.call(stub.GetEvent, request, caller=caller)
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc
import grpc.aio

from bulkhead_kit import clock, metadata, telemetry
from bulkhead_kit.caller import Caller
from bulkhead_kit.errors import DeadlineExceeded, DomainError
from bulkhead_kit.ids import new_id
from bulkhead_kit.patience import PATIENCE, Patience
from bulkhead_kit.policed_channel import PolicedChannel
from bulkhead_kit.policy import DEFAULT_DEADLINE, MethodPolicy, read_policies
from bulkhead_kit.renewed_channel import RenewedChannel
from bulkhead_kit.statuses import to_domain_error, unavailable
from bulkhead_kit.tls import TlsFiles
from bulkhead_kit.transport import MAX_MESSAGE_BYTES, client_options

Q = TypeVar("Q")
R = TypeVar("R")

MARGIN: Final = 0.05
"""Seconds kept back from the caller's time, to answer her when the other service does not."""

MAX_ATTEMPTS: Final = 4

Token = Callable[[Caller | None], str | None]
"""What proves us to the other service. Asked for every call, so that it can be renewed."""


def service_config(contracts: Iterable[str], policies: Mapping[str, MethodPolicy]) -> str:
    """Retries for a lost connection only, of methods where a repeat has no further effect, and fewer of them when
    many calls fail. CANCELLED is what grpc answers a call that comes while a server stops."""
    contracts = list(contracts)
    names = [
        {"service": policy.service, "method": policy.method.partition("/")[2]}
        for policy in policies.values()
        if policy.idempotent
    ]
    retry = {
        "maxAttempts": MAX_ATTEMPTS,
        "initialBackoff": "0.05s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
    }
    return json.dumps(
        {
            "loadBalancingConfig": [{"round_robin": {}}],
            "healthCheckConfig": {"serviceName": contracts[0]},
            "methodConfig": [{"name": names, "retryPolicy": retry}] if names else [],
            "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
        }
    )


def connect(
    address: str,
    *,
    service: str,
    contracts: Sequence[str],
    token: Token,
    as_service: bool = True,
    tls: TlsFiles | None = None,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    patience: float = PATIENCE,
) -> Channel:
    """`service` names the other side in errors; `contracts` are the full names of its services used here.

    `as_service`: the token is our own and not a person's, so a refusal of it is our trouble and not the caller's.
    `patience`: seconds that a call waits for a connection, while processes of the other side are restarted.
    """
    policies = read_policies(contracts)
    options = [
        *client_options(max_message_bytes),
        ("grpc.service_config", service_config(contracts, policies)),
        ("grpc.enable_retries", 1),
    ]
    inner: grpc.aio.Channel
    if tls is None:
        inner = grpc.aio.insecure_channel(address, options)
    else:
        inner = RenewedChannel(tls, lambda credentials: grpc.aio.secure_channel(address, credentials, options))
    waiting = Patience(inner, patience)
    return Channel(inner, service=service, policies=policies, token=token, as_service=as_service, patience=waiting)


@dataclass(frozen=True, slots=True)
class _Terms:
    """What goes with one call besides its request."""

    timeout: float
    entries: Sequence[tuple[str, str]]
    waits: bool
    """For a connection, should the one that was there go in this moment."""

    def options(self) -> dict[str, Any]:
        return {"timeout": self.timeout, "metadata": self.entries, "wait_for_ready": self.waits}


class Channel(PolicedChannel):
    """Stubs are made on it as on any channel, and called through `call`, `stream`, `upload` and `exchange`."""

    def __init__(
        self,
        inner: grpc.aio.Channel,
        *,
        service: str,
        policies: Mapping[str, MethodPolicy],
        token: Token,
        as_service: bool,
        patience: Patience,
    ) -> None:
        super().__init__(inner, policies)
        self._patience = patience
        self.service = service
        self._token = token
        self._as_service = as_service

    async def close(self, grace: float | None = None) -> None:
        self._patience.stop()
        await super().close(grace)

    async def call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Q, R],
        request: Q,
        *,
        caller: Caller | None,
        within: float | None = None,
    ) -> R:
        terms = await self._terms(method, caller, within)
        try:
            return await method(self._with_request_id(method, request), **terms.options())
        except grpc.aio.AioRpcError as error:
            raise self._understood(error) from None

    async def stream(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[Q, R],
        request: Q,
        *,
        caller: Caller | None,
        within: float | None = None,
    ) -> AsyncGenerator[R, None]:
        terms = await self._terms(method, caller, within)
        call = method(self._with_request_id(method, request), **terms.options())
        async for reply in self._replies(call):
            yield reply

    async def upload(
        self,
        method: grpc.aio.StreamUnaryMultiCallable[Q, R],
        requests: AsyncIterator[Q],
        *,
        caller: Caller | None,
        within: float | None = None,
    ) -> R:
        terms = await self._terms(method, caller, within)
        try:
            return await method(requests, **terms.options())
        except grpc.aio.AioRpcError as error:
            raise self._understood(error) from None

    async def exchange(
        self,
        method: grpc.aio.StreamStreamMultiCallable[Q, R],
        requests: AsyncIterator[Q],
        *,
        caller: Caller | None,
        within: float | None = None,
    ) -> AsyncGenerator[R, None]:
        terms = await self._terms(method, caller, within)
        async for reply in self._replies(method(requests, **terms.options())):
            yield reply

    async def _replies(
        self, call: grpc.aio.UnaryStreamCall[Q, R] | grpc.aio.StreamStreamCall[Q, R]
    ) -> AsyncGenerator[R, None]:
        try:
            async for reply in call:
                yield reply
        except grpc.aio.AioRpcError as error:
            raise self._understood(error) from None
        finally:
            call.cancel()

    def _understood(self, error: grpc.aio.AioRpcError) -> DomainError:
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and not self._patience.has_connection():
            return unavailable(error, self.service)
        return to_domain_error(error, self.service, as_service=self._as_service)

    async def _terms(self, method: object, caller: Caller | None, within: float | None) -> _Terms:
        policy = self.policy_of(method)
        if within is None:
            within = DEFAULT_DEADLINE if policy is None else policy.default_deadline
        if caller is not None:
            within = min(within, caller.time_left() - MARGIN)
        if within <= 0:
            raise DeadlineExceeded()
        began = clock.monotonic()
        await self._patience.wait(within)
        within = max(MARGIN, within - (clock.monotonic() - began))
        entries = metadata.outgoing(
            token=self._token(caller),
            tenant_id=caller.tenant_id if caller else None,
            request_id=caller.request_id if caller else None,
            traceparent=telemetry.current_traceparent(),
        )
        return _Terms(within, entries, waits=not self._patience.is_over)

    def _with_request_id(self, method: object, request: Q) -> Q:
        """A change that names no request_id gets one, as its retries would otherwise be changes of their own."""
        policy = self.policy_of(method)
        if policy is None or not policy.idempotent or not policy.takes_request_id:
            return request
        copy: Any = type(request)()
        copy.CopyFrom(request)
        copy.request_id = copy.request_id or str(new_id())
        named: Q = copy
        return named
