from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import structlog
from bulkhead.rpc.v1.options_pb2 import Policy
from bulkhead_kit import clock, logs
from bulkhead_kit.caller import Caller, set_current_caller
from bulkhead_kit.telemetry import start_trace
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
CALLER = Caller(
    actor_type="person",
    rpc="bulkhead.issues.v1.IssueService/GetIssue",
    request_id="r-1",
    deadline=0.0,
    tenant_id=UUID(int=1),
    user_id=UUID(int=2),
)


@pytest.fixture
def out() -> Iterator[io.BytesIO]:
    root = logging.getLogger()
    before = structlog.get_config(), root.handlers[:], root.level
    stream = io.BytesIO()
    logs.configure("probe", output="json", level="debug", stream=stream)
    yield stream
    structlog.configure(**before[0])
    root.handlers, root.level = before[1:]
    logging.captureWarnings(capture=False)


def lines(out: io.BytesIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().decode().splitlines()]


def line(out: io.BytesIO) -> dict[str, Any]:
    (only,) = lines(out)
    return only


def test_a_line_is_one_json_object(out: io.BytesIO) -> None:
    hands = clock.ManualClock(datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC))
    with clock.replaced(hands):
        structlog.get_logger("bulkhead.probe").info("caught_up", rows=3, text='quo"te\nnew 🧱')
    assert line(out) == {
        "time": "2026-01-02T03:04:05.678Z",
        "level": "info",
        "event": "caught_up",
        "service": "probe",
        "logger": "bulkhead.probe",
        "rows": 3,
        "text": 'quo"te\nnew 🧱',
    }
    assert out.getvalue().count(b"\n") == 1


async def test_a_line_inside_a_call_names_the_call_and_outside_does_not(out: io.BytesIO) -> None:
    log = structlog.get_logger("bulkhead.probe")

    async def call() -> None:
        set_current_caller(CALLER)
        trace = start_trace()
        log.info("inside", wanted=trace.trace_id)

    await asyncio.create_task(call())
    log.info("outside")
    inside, outside = lines(out)
    assert inside["trace_id"] == inside["wanted"]
    assert {key: inside[key] for key in ("tenant_id", "user_id", "request_id", "rpc")} == {
        "tenant_id": str(UUID(int=1)),
        "user_id": str(UUID(int=2)),
        "request_id": "r-1",
        "rpc": CALLER.rpc,
    }
    assert not {"tenant_id", "user_id", "request_id", "rpc", "trace_id"} & set(outside)


@pytest.mark.parametrize(
    "key", ["password", "new_password", "Authorization", "refresh_token", "client_secret", "set-cookie", "database_dsn"]
)
def test_a_value_with_a_secrets_name_is_hidden_at_any_depth(out: io.BytesIO, key: str) -> None:
    structlog.get_logger().info("x", **{key: "v4lue"}, nested={"list": [{key: "v4lue"}]}, ok="shown")
    assert b"v4lue" not in out.getvalue()
    assert line(out)[key] == "[hidden]"
    assert line(out)["ok"] == "shown"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"got {JWT}", JWT),
        (f"authorization: Bearer {JWT}", JWT),
        (f"cut {JWT[:30]}", "eyJhbGciOiJFUzI1NiJ9"),
        ("Bearer abcdef0123456789", "abcdef0123456789"),
        ("bearer abcdef0123456789", "abcdef0123456789"),
        ("BEARER   abcdef0123456789", "abcdef0123456789"),
        ("key bh_live_0123456789abcdef", "0123456789abcdef"),
        ("postgresql://app:hunter2@db/bulkhead", "hunter2"),
        ("redis://:hunter2@cache:6379/0", "hunter2"),
        ("host=db password=hunter2 user=app", "hunter2"),
        ("host=db password='hunter2 and more' user=app", "hunter2"),
        ("-----BEGIN PRIVATE KEY-----\nMIGHAgEA\n-----END PRIVATE KEY-----", "MIGHAgEA"),
        ("-----BEGIN EC PRIVATE KEY-----\nMIGHAgEA", "MIGHAgEA"),
    ],
)
def test_what_looks_like_a_secret_is_hidden_wherever_it_stands(out: io.BytesIO, text: str, secret: str) -> None:
    log = structlog.get_logger()
    log.info("in_a_value", text=text)
    log.info(f"in the event {text}")
    log.info("deep", a={"b": [text]})
    try:
        raise ValueError(text)
    except ValueError:
        log.exception("in_an_exception")
    logging.getLogger("library").warning("from a library %s", text)
    assert len(lines(out)) == 5
    assert secret.encode() not in out.getvalue()
    assert out.getvalue().count(b"[hidden]") >= 5


def test_other_text_is_left_alone(out: io.BytesIO) -> None:
    for text in ("https://example.com/a?b=c", "mail me@example.com", "bh_ is our prefix", "eyJ", "----- 8< -----"):
        structlog.get_logger().info("x", text=text)
    assert b"hidden" not in out.getvalue()


def test_objects_are_named_not_shown(out: io.BytesIO) -> None:
    structlog.get_logger().info(
        "x", message=Policy(audited=True), id=UUID(int=5), raw=b"bytes", at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    found = line(out)
    assert (found["message"], found["raw"]) == ("<Policy>", "<bytes>")
    assert found["id"] == str(UUID(int=5))
    assert found["at"].startswith("2026-01-01")


def test_a_traceback_comes_without_local_variables(out: io.BytesIO) -> None:
    hidden_local = "l0cal-value"
    try:
        raise KeyError(len(hidden_local))
    except KeyError:
        structlog.get_logger().exception("fault", error_id="abc")
    assert "KeyError: 11" in line(out)["exception"]
    assert b"l0cal-value" not in out.getvalue().replace(b'hidden_local = "l0cal-value"', b"")
    assert "exc_info" not in line(out)


def test_the_standard_librarys_loggers_take_the_same_way(out: io.BytesIO) -> None:
    logging.getLogger("some.library").warning("gave up after %d tries", 3)
    logging.getLogger("some.library").debug("chatter")
    assert line(out)["event"] == "gave up after 3 tries"
    assert (line(out)["logger"], line(out)["level"]) == ("some.library", "warning")


def test_levels_below_the_wanted_one_are_not_written(out: io.BytesIO) -> None:
    logs.configure("probe", output="json", level="warning", stream=out)
    log = structlog.get_logger("fresh")
    log.info("no")
    log.warning("yes")
    assert line(out)["event"] == "yes"


def test_a_logger_in_use_follows_a_second_call(out: io.BytesIO) -> None:
    log = structlog.get_logger("early")
    log.info("one")
    other = io.BytesIO()
    logs.configure("other", output="json", stream=other)
    log.info("two")
    assert line(out)["event"] == "one"
    assert (line(other)["event"], line(other)["service"]) == ("two", "other")


def test_without_a_terminal_auto_is_json_and_console_is_text(out: io.BytesIO) -> None:
    logs.configure("probe", stream=out)
    structlog.get_logger("a").info("x")
    assert line(out)["event"] == "x"
    text = io.BytesIO()
    logs.configure("probe", output="console", stream=text)
    structlog.get_logger("b").warning("hello", agent="evil\x1b[31m\r\nfaked line", password="p4ss", n=None)
    shown = text.getvalue().decode()
    assert "hello" in shown
    assert "\x1b" not in shown
    assert "evil\ufffd[31m\ufffd\ufffdfaked line" in shown
    assert "p4ss" not in shown
    assert shown.count("\n") == 1


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.uuids(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


# Not for slowness: the first text of a process costs the table of all characters, two seconds beside other work.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(value=json_like)
def test_nothing_that_is_logged_raises_or_breaks_a_line(out: io.BytesIO, value: object) -> None:
    out.seek(0)
    out.truncate()
    structlog.get_logger().info("x", value=value)
    assert out.getvalue().count(b"\n") == 1
    assert line(out)["event"] == "x"


def test_a_circle_or_a_lone_surrogate_does_not_raise(out: io.BytesIO) -> None:
    circle: list[Any] = []
    circle.append(circle)
    structlog.get_logger().info("circle", value=circle)
    structlog.get_logger().info("surrogate", value="\ud800")
    assert [found["event"] for found in lines(out)] == ["circle", "surrogate"]


def test_error_ids_are_short_and_differ() -> None:
    made = {logs.error_id() for _ in range(1000)}
    assert len(made) == 1000
    assert all(len(one) == 10 and one.isalnum() for one in made)
