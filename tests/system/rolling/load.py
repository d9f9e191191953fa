"""Fifty calls a second to one service, each answered or counted as failed, by clients of three kinds: ours, and
strangers by the service config of the runbook, with its retries and without."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import grpc.aio
from bulkhead.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from bulkhead.identity.v1 import membership_service_pb2, membership_service_pb2_grpc
from bulkhead.issues.v1 import label_pb2, label_service_pb2, label_service_pb2_grpc
from bulkhead_kit import clock
from bulkhead_kit.caller import Role
from bulkhead_kit.client import connect
from bulkhead_kit.errors import DomainError
from bulkhead_kit.ids import new_id
from bulkhead_kit.tls import channel_credentials

from tests.system.rolling.fleet import Fleet

RUNBOOK: Final = Path("docs/runbooks/restarts.md")
EVERY: Final = 0.1
"""Seconds between two calls of a client, of which there are five."""
DEADLINE: Final = 10.0

STUBS: Final[dict[str, tuple[str, Any]]] = {
    "identity": ("bulkhead.identity.v1.MembershipService", membership_service_pb2_grpc.MembershipServiceStub),
    "issues": ("bulkhead.issues.v1.LabelService", label_service_pb2_grpc.LabelServiceStub),
    "audit": ("bulkhead.audit.v1.AuditService", audit_service_pb2_grpc.AuditServiceStub),
}
Call = tuple[str, Any]
"""The method's name, and a request."""
Send = Callable[[Call], Awaitable[Any]]


def published_config() -> dict[str, Any]:
    """What the runbook tells clients of other languages."""
    found = re.search(r"```json\n(.*?)```", RUNBOOK.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    config: dict[str, Any] = json.loads(found[1])
    return config


def choose(service: str, number: int, *, named: bool) -> Call:
    """Every fifth call to issues is a change; `named`: with a request_id of the client's own."""
    if service == "audit":
        return "ListEvents", audit_service_pb2.ListEventsRequest(page_size=1)
    if service == "identity":
        return "ListMembers", membership_service_pb2.ListMembersRequest(page_size=1)
    if number % 5:
        return "ListLabels", label_service_pb2.ListLabelsRequest(page_size=1)
    label = label_pb2.Label(name=str(new_id()))
    return "CreateLabel", label_service_pb2.CreateLabelRequest(label=label, request_id=str(new_id()) if named else "")


@dataclass
class Tally:
    calls: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    """Of an answer or a failure."""

    async def count(self, kind: str, call: Awaitable[Any]) -> None:
        self.calls += 1
        began = clock.monotonic()
        try:
            await call
        except DomainError as error:
            self.failed[f"{kind}: {error.reason_name}"] += 1
        except grpc.aio.AioRpcError as error:
            self.failed[f"{kind}: {error.code().name} {error.details()}"] += 1
        self.times.append(clock.monotonic() - began)
        self.heard.set()

    def __str__(self) -> str:
        times = sorted(self.times)
        late = sum(time > 1 for time in times)
        return (
            f"{self.calls} calls, {self.failed.total()} failed {dict(self.failed)},"
            f" p50 {times[len(times) // 2] * 1000:.0f} ms, p99 {times[int(len(times) * 0.99)] * 1000:.0f} ms,"
            f" {late} over 1 s, slowest {times[-1] * 1000:.0f} ms"
        )


class Callers:
    """They open their channels to one service, and close them."""

    def __init__(self, fleet: Fleet, service: str, owner: UUID, tenant: UUID) -> None:
        self._fleet, self._service = fleet, service
        self._owner, self._tenant = owner, tenant
        self._opened = AsyncExitStack()
        self.kinds: list[tuple[str, Send]] = [
            *[("ours", self._ours()) for _ in range(3)],
            ("stranger", self._stranger(retries=True)),
            ("stranger without retries", self._stranger(retries=False)),
        ]

    async def close(self) -> None:
        await self._opened.aclose()

    def _token(self, _: object = None) -> str:
        return self._fleet.mint.person(self._owner, tenant_id=self._tenant, role=Role.OWNER)

    def _ours(self) -> Send:
        contract, stub = STUBS[self._service]
        channel = connect(
            self._fleet.targets[self._service],
            service=self._service,
            contracts=[contract],
            token=self._token,
            as_service=False,
            tls=self._fleet.tls["client"],
        )
        self._opened.push_async_callback(channel.close)
        methods = stub(channel)
        return lambda call: channel.call(getattr(methods, call[0]), call[1], caller=None)

    def _stranger(self, *, retries: bool) -> Send:
        config = published_config()
        if not retries:
            for one in config["methodConfig"]:
                one.pop("retryPolicy", None)
        options = [
            ("grpc.service_config", json.dumps(config)),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.dns_min_time_between_resolutions_ms", 2000),
            # Else it would have the connections of the one before.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        credentials = channel_credentials(self._fleet.tls["client"].read())
        channel = grpc.aio.secure_channel(self._fleet.targets[self._service], credentials, options)
        self._opened.push_async_callback(channel.close)
        methods = STUBS[self._service][1](channel)

        async def send(call: Call) -> Any:
            metadata = [("authorization", f"Bearer {self._token()}")]
            return await getattr(methods, call[0])(call[1], timeout=DEADLINE, metadata=metadata)

        return send


@asynccontextmanager
async def load(fleet: Fleet, service: str, owner: UUID, tenant: UUID) -> AsyncIterator[Tally]:
    tally, ending = Tally(), asyncio.Event()
    callers = Callers(fleet, service, owner, tenant)

    async def work(kind: str, send: Send) -> None:
        number = 0
        async with asyncio.TaskGroup() as calls:
            while not ending.is_set():
                # At its pace, whether or not the last was answered.
                call = choose(service, number, named=kind == "stranger")
                calls.create_task(tally.count(kind, send(call)))
                number += 1
                await asyncio.sleep(EVERY)

    try:
        async with asyncio.TaskGroup() as group:
            for kind, send in callers.kinds:
                group.create_task(work(kind, send))
            try:
                yield tally
            finally:
                ending.set()
    finally:
        await callers.close()
