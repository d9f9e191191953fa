from __future__ import annotations

import asyncio
import urllib.request

import pytest
from bulkhead_kit import telemetry
from bulkhead_kit.telemetry import PoolMetrics, RelayMetrics, Trace, parse_traceparent, start_trace
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_a_traceparent_is_read_back(trace: int, span: int, sampled: bool) -> None:
    made = Trace(f"{trace:032x}", f"{span:016x}", sampled)
    assert len(made.traceparent) == 55
    assert parse_traceparent(made.traceparent) == made


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"01-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", True),
    ],
)
def test_headers_of_now_and_later_are_taken(text: str, sampled: bool) -> None:
    assert parse_traceparent(text) == Trace(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "00",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01 ",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-0g",
        f"cc-{TRACE}-{SPAN}-01more",
        f"cc-{TRACE}-{SPAN}-01-" + "x" * 300,
        f"00_{TRACE}_{SPAN}_01",
    ],
)
def test_a_broken_header_starts_a_new_trace(text: str | None) -> None:
    assert parse_traceparent(text) is None
    trace = start_trace(text)
    assert trace.trace_id != TRACE
    assert parse_traceparent(trace.traceparent) == trace


def test_our_span_belongs_to_the_callers_trace() -> None:
    trace = start_trace(f"00-{TRACE}-{SPAN}-00")
    assert (trace.trace_id, trace.sampled) == (TRACE, False)
    assert trace.span_id != SPAN
    assert telemetry.current_trace() is trace
    assert telemetry.current_traceparent() == trace.traceparent


async def test_each_task_has_its_own_trace() -> None:
    async def one() -> tuple[str, str | None]:
        trace = start_trace()
        await asyncio.sleep(0)
        return trace.traceparent, telemetry.current_traceparent()

    seen = await asyncio.gather(*(one() for _ in range(10)))
    assert all(made == current for made, current in seen)
    assert len({made for made, _ in seen}) == 10


def test_pool_counters_are_read_when_somebody_looks() -> None:
    registry = CollectorRegistry()
    pools = PoolMetrics(registry)
    stats = {"pool_size": 4, "pool_available": 1, "pool_max": 10, "requests_num": 7, "requests_wait_ms": 12}
    pools.watch("app", lambda: stats)
    pools.watch("worker", dict)
    stats["requests_num"] = 8
    text = generate_latest(registry).decode()
    assert 'bulkhead_db_pool_connections{pool="app"} 4.0' in text
    assert 'bulkhead_db_pool_requests_total{pool="app"} 8.0' in text
    assert 'bulkhead_db_pool_wait_ms_total{pool="app"} 12.0' in text
    assert 'bulkhead_db_pool_waiting{pool="worker"} 0.0' in text


def test_metrics_are_served_over_http_and_stop_with_the_server() -> None:
    registry = CollectorRegistry()
    relay = RelayMetrics(registry)
    relay.depth.set(3)
    relay.delivered.inc(5)
    exposition = telemetry.serve("127.0.0.1", 0, registry)
    url = f"http://127.0.0.1:{exposition.port}/metrics"
    with urllib.request.urlopen(url, timeout=5) as reply:
        text = reply.read().decode()
    exposition.close()
    assert "bulkhead_outbox_depth 3.0" in text
    assert "bulkhead_relay_delivered_total 5.0" in text
    with pytest.raises(OSError, match=r".*"):
        urllib.request.urlopen(url, timeout=1)
