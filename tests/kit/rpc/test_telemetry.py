"""What is counted and what is written down of a call; nothing that was said in it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog
from bulkhead_kit import logs
from bulkhead_kit.errors import NotFound
from bulkhead_kit.interceptors.telemetry import FLUSH_AFTER
from prometheus_client import CollectorRegistry, generate_latest

from tests.kit.rpc.calls import failed, invoke
from tests.kit.rpc.probe import KINDS, SERVICE, Request
from tests.kit.rpc.world import FRIEND, Person, World, make_chain, running, service_metadata

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    registry = CollectorRegistry()
    async with running(chain=make_chain(registry=registry)) as made:
        made.registry = registry
        yield made


@pytest.fixture(scope="module")
async def stub(world: World) -> AsyncIterator[Any]:
    async with world.stub() as made:
        yield made


@pytest.fixture
def written() -> Iterator[io.BytesIO]:
    """What a service writes, in place of what tests capture."""
    stream = io.BytesIO()
    root = logging.getLogger()
    before = structlog.get_config(), root.handlers[:], root.level
    logs.configure("probe", output="json", stream=stream)
    yield stream
    structlog.configure(**before[0])
    root.handlers, root.level = before[1:]
    logging.captureWarnings(capture=False)


async def lines(written: io.BytesIO) -> list[dict[str, Any]]:
    await asyncio.sleep(FLUSH_AFTER + 0.05)
    return [json.loads(line) for line in written.getvalue().splitlines()]


@pytest.mark.parametrize("method", KINDS)
async def test_a_call_leaves_one_line(world: World, stub: Any, written: io.BytesIO, method: str) -> None:
    person = Person()
    secret = "a very private title"
    await invoke(
        stub,
        method,
        Request(text=secret),
        metadata=person.metadata(x_request_id='re"quest\\1', traceparent=TRACEPARENT),
    )
    (line,) = await lines(written)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert 0 < line.pop("ms") < 1000
    assert line == {
        "level": "info",
        "event": "rpc",
        "actor_type": "person",
        "service": "probe",
        "logger": "bulkhead.access",
        "rpc": f"{SERVICE}/{method}",
        "request_id": 're"quest\\1',
        "tenant_id": str(person.tenant_id),
        "user_id": str(person.user_id),
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "code": "OK",
    }
    text = written.getvalue().decode()
    assert secret not in text
    assert "eyJ" not in text


async def test_the_line_says_how_a_call_failed_and_who_it_was(world: World, stub: Any, written: io.BytesIO) -> None:
    async def script(request: Any) -> str:
        raise NotFound("issue")

    world.servicer.script = script
    tenant = str(Person().tenant_id)
    await failed(stub, "Ask", metadata=service_metadata(FRIEND, x_tenant_id=tenant))
    await failed(stub, "Ask", metadata=[])
    await failed(stub, "Ask", metadata=Person().metadata(x_request_id="two words"))
    world.servicer.reset()
    first, second, third = await lines(written)
    assert (first["code"], first["reason"], first["caller_service"], first["tenant_id"]) == (
        "NOT_FOUND",
        "RESOURCE_NOT_FOUND",
        FRIEND,
        tenant,
    )
    assert (second["code"], second["reason"]) == ("UNAUTHENTICATED", "TOKEN_MISSING")
    assert (third["code"], third["reason"], third["request_id"]) == ("INVALID_ARGUMENT", "INVALID_METADATA", "")
    assert not {"tenant_id", "user_id", "caller_service"} & (set(second) | set(third))


async def test_hand_made_lines_say_what_the_log_says_itself(world: World, stub: Any) -> None:
    """Both ways to write a line, compared; the one for terminals goes through the processors."""
    metadata = Person().metadata(x_request_id="r1", traceparent=TRACEPARENT)
    with structlog.testing.capture_logs() as logged:
        await invoke(stub, "Ask", metadata=metadata)
    (line,) = [line for line in logged if line["event"] == "rpc"]
    assert set(line) == {"event", "log_level", "rpc", "request_id", "code", "reason", "ms"}
    assert (line["rpc"], line["request_id"], line["code"], line["reason"]) == (f"{SERVICE}/Ask", "r1", "OK", "")


def metrics(world: World) -> dict[str, float]:
    found = {}
    for line in generate_latest(world.registry).decode().splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


async def test_calls_are_counted_by_method_code_and_duration(world: World, stub: Any) -> None:
    async def script(request: Any) -> str:
        await asyncio.sleep(0.06)
        return "slow"

    before = metrics(world)
    world.servicer.script = script
    for _ in range(3):
        await invoke(stub, "Chat")
    world.servicer.reset()
    await failed(stub, "Chat", metadata=[])
    after = metrics(world)

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0.0)

    labels = f'method="{SERVICE}/Chat",code="OK"'
    refused = f'method="{SERVICE}/Chat",code="UNAUTHENTICATED"'

    def bucket(bound: str, which: str = labels) -> float:
        method, code = which.split(",")
        return grown(f'bulkhead_rpc_server_seconds_bucket{{{code},le="{bound}",{method}}}')

    assert [bucket(bound) for bound in ("0.05", "0.1", "60.0", "+Inf")] == [0, 3, 3, 3]
    assert bucket("+Inf", refused) == 1
    method, code = labels.split(",")
    assert grown(f"bulkhead_rpc_server_seconds_count{{{code},{method}}}") == 3
    assert 0.18 <= grown(f"bulkhead_rpc_server_seconds_sum{{{code},{method}}}") < 0.6


async def test_running_calls_are_shown(world: World, stub: Any) -> None:
    async def script(request: Any) -> str:
        return str(metrics(world)["bulkhead_rpc_server_running"])

    world.servicer.script = script
    assert await invoke(stub, "Ask") == ["1.0"]
    world.servicer.reset()
    assert metrics(world)["bulkhead_rpc_server_running"] == 0
