"""Calls that are refused for a token or a right: counted before a signature is checked, over a real server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc.aio
import prometheus_client
import pytest
import pytest_asyncio
from bulkhead_kit import clock, denials, tokens
from bulkhead_kit.caller import Role
from bulkhead_kit.clock import Clock, ManualClock
from bulkhead_kit.denials import Denial, Denials
from bulkhead_kit.interceptors import access_log, refused_lines
from bulkhead_kit.interceptors.call import Call
from bulkhead_kit.interceptors.refused_lines import LINES, MAX_ADDRESSES, SECONDS, RefusedLines
from bulkhead_kit.policy import read_policies
from bulkhead_kit.rates.rate import Rate
from bulkhead_kit.rates.refusals import LOOKS, Refusals
from bulkhead_kit.server import ServerOptions
from bulkhead_kit.telemetry import RateMetrics
from bulkhead_kit.tls import channel_credentials
from google.rpc.error_details_pb2 import ErrorInfo
from prometheus_client import CollectorRegistry

from tests.kit.rpc.calls import detail_of, failed, invoke, reason_of
from tests.kit.rpc.probe import SERVICE, ProbeStub
from tests.kit.rpc.world import Person, World, make_chain, running, service_metadata
from tests.support.certificates import Authority

MANY = Rate(300, 60)


@pytest.fixture(autouse=True)
def hands() -> Iterator[ManualClock]:
    manual = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    with clock.replaced(manual):
        yield manual


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many signatures were verified."""
    seen: Counter[str] = Counter()
    verify = tokens._es256.verify

    class Counting:
        @staticmethod
        def verify(*arguments: Any) -> bool:
            seen["signatures"] += 1
            return verify(*arguments)

    monkeypatch.setattr(tokens, "_es256", Counting)
    return seen


def limited() -> Any:
    return running(chain=make_chain(refusals=Refusals(MANY, RateMetrics(CollectorRegistry()))))


def forged(person: Person) -> list[tuple[str, str]]:
    """A signature of another token under a token."""
    token, other = person.token(), Person().token()
    return [("authorization", f"Bearer {token.rpartition('.')[0]}.{other.rpartition('.')[2]}")]


async def outcomes(stub: Any, method: str, times: int, metadata: Any) -> Counter[str]:
    seen: Counter[str] = Counter()
    for _ in range(times):
        error = await failed(stub, method, metadata=metadata())
        seen[reason_of(error)] += 1
        if reason_of(error) == "RATE_LIMITED":
            assert detail_of(error, ErrorInfo).metadata == {"limit": "refused", "rate": "300/minute"}
    return seen


async def test_of_3000_bad_signatures_few_are_looked_at(checked: Counter[str]) -> None:
    bad = forged(Person())
    async with limited() as world, world.stub() as stub:
        seen = await outcomes(stub, "Ask", 3000, lambda: bad)
    assert seen == {"TOKEN_INVALID": MANY.calls, "RATE_LIMITED": 3000 - MANY.calls}
    assert checked["signatures"] == MANY.calls + LOOKS.calls


async def test_neighbours_of_a_flood_go_on(hands: ManualClock, checked: Counter[str]) -> None:
    """Whose token was good a moment ago is not asked; whose is new gets one of a few looks."""
    known, new, bad = Person(), Person(), forged(Person())
    async with limited() as world, world.stub() as stub:
        metadata = known.metadata()
        await invoke(stub, "Ask", metadata=metadata)
        await outcomes(stub, "Ask", MANY.calls + 2 * LOOKS.calls, lambda: bad)
        await invoke(stub, "Ask", metadata=metadata)
        assert reason_of(await failed(stub, "Ask", metadata=new.metadata())) == "RATE_LIMITED"
        hands.advance(2.0)
        await invoke(stub, "Ask", metadata=new.metadata())
        # What needs no token is not kept from anybody, and costs no look.
        looked = checked["signatures"]
        await invoke(stub, "AsAnyone", metadata=bad)
        await invoke(stub, "AsAnyone", metadata=[])
        assert checked["signatures"] == looked


async def test_calls_without_a_token_are_counted_too() -> None:
    async with limited() as world, world.stub() as stub:
        seen = await outcomes(stub, "Ask", 400, list)
        assert seen == {"TOKEN_MISSING": 300, "RATE_LIMITED": 100}
        # Nobody's word is taken for where she calls from.
        seen = await outcomes(stub, "Ask", 10, lambda: [("x-forwarded-for", "203.0.113.7")])
        assert seen == {"RATE_LIMITED": 10}


async def test_bad_tokens_where_none_is_needed_are_counted(checked: Counter[str]) -> None:
    bad = forged(Person())
    async with limited() as world, world.stub() as stub:
        for _ in range(400):
            await invoke(stub, "AsAnyone", metadata=bad)
    assert checked["signatures"] == 300


async def test_a_person_without_the_right_is_counted_alone() -> None:
    viewer, neighbour = Person(role=Role.VIEWER), Person(role=Role.VIEWER)
    async with limited() as world, world.stub() as stub:
        seen = await outcomes(stub, "AsOwner", 400, viewer.metadata)
        assert seen == {"ROLE_TOO_LOW": 300, "RATE_LIMITED": 100}
        # What she may do she still may, and who shares her address is told what is amiss.
        await invoke(stub, "Ask", metadata=viewer.metadata())
        assert reason_of(await failed(stub, "AsOwner", metadata=neighbour.metadata())) == "ROLE_TOO_LOW"


async def test_what_is_no_longer_told_is_still_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denials, "FLUSH_AFTER", 3600.0)
    written: Counter[str] = Counter()

    async def record(denial: Denial) -> None:
        written[denial.reason] += denial.calls

    noted = Denials(record, prometheus_client.Counter("lost", "Lost.", registry=CollectorRegistry()))
    viewer = Person(role=Role.VIEWER)
    chain = make_chain(refusals=Refusals(MANY, RateMetrics(CollectorRegistry())), denials=noted)
    async with running(chain=chain) as world, world.stub() as stub:
        await outcomes(stub, "AsOwner", 400, viewer.metadata)
    await noted.close()
    assert written == {"ROLE_TOO_LOW": 300, "OTHERS": 100}


async def test_behind_the_gateway_each_address_is_counted_alone(tmp_path: Path) -> None:
    """By its certificate, which is checked before any token."""
    with clock.replaced(Clock()):
        # Certificates are checked by the real time.
        authority = Authority(tmp_path)
        probe, gateway = authority.issue("probe"), authority.issue("gateway")
    chain = make_chain(refusals=Refusals(Rate(5, 60), RateMetrics(CollectorRegistry())))
    async with running(options=ServerOptions(tls=probe, drain_delay=0.0), chain=chain) as world:
        address = world.address.replace("127.0.0.1", "localhost")
        credentials = channel_credentials(gateway.read())
        async with grpc.aio.secure_channel(address, credentials) as channel:
            stub = ProbeStub(channel)
            for ip, reasons in (
                ("203.0.113.7", ["TOKEN_MISSING"] * 5 + ["RATE_LIMITED"]),
                ("8.8.8.8", ["TOKEN_MISSING"]),
            ):
                told = [await failed(stub, "Ask", metadata=[("x-forwarded-for", ip)]) for _ in reasons]
                assert [reason_of(one) for one in told] == reasons


async def test_services_are_not_counted() -> None:
    async with limited() as world, world.stub() as stub:
        for _ in range(400):
            error = await failed(stub, "AsUser", metadata=service_metadata("stranger"))
            assert reason_of(error) == "CALLER_NOT_ALLOWED"


async def test_a_window_ends(hands: ManualClock) -> None:
    async with limited() as world, world.stub() as stub:
        await outcomes(stub, "Ask", 350, list)
        hands.advance(2 * MANY.seconds)
        assert (await outcomes(stub, "Ask", 1, list)) == {"TOKEN_MISSING": 1}


class TestLines:
    def refused(self, ip: str) -> Call:
        return Call(read_policies([SERVICE])[f"{SERVICE}/Ask"], None, 0.0, 0.0, ip=ip)

    @pytest.fixture
    def told(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
        told: list[tuple[str, int]] = []

        class Log:
            @staticmethod
            def warning(_event: str, *, address: str, calls: int) -> None:
                told.append((address, calls))

        monkeypatch.setattr(refused_lines, "log", Log)
        return told

    def test_a_few_of_each_address_and_a_number(self, hands: ManualClock, told: list[tuple[str, int]]) -> None:
        lines, good = RefusedLines(), self.refused("192.0.2.9")
        good.admitted = True
        flood = [self.refused("192.0.2.1") for _ in range(3000)]
        written = lines.choose([good, *flood, self.refused("192.0.2.2"), good])
        assert Counter(call.ip for call in written) == {"192.0.2.1": LINES, "192.0.2.2": 1, "192.0.2.9": 2}
        assert written[-1] is good
        assert told == []
        hands.advance(SECONDS)
        assert lines.choose([good]) == [good]
        assert told == [("192.0.2.1", 3000 - LINES)]
        assert len(lines.choose(flood)) == LINES
        lines.tell(now=True)
        assert told == [("192.0.2.1", 3000 - LINES)] * 2

    def test_a_network_is_one_address_and_there_are_not_too_many(
        self, hands: ManualClock, told: list[tuple[str, int]]
    ) -> None:
        lines = RefusedLines()
        same = [self.refused(f"2001:db8::{n:x}") for n in range(100)]
        assert len(lines.choose(same)) == LINES
        others = [self.refused(f"10.0.{n // 250}.{n % 250}") for n in range(MAX_ADDRESSES + 999)]
        assert len(lines.choose(others)) == MAX_ADDRESSES - 1 + LINES
        lines.tell(now=True)
        assert told == [("2001:db8::/64", 100 - LINES), ("others", 1000 - LINES)]


async def test_lines_are_few_on_a_server_as_well(world_lines: tuple[World, list[str]]) -> None:
    world, written = world_lines
    async with world.stub() as stub:
        await outcomes(stub, "Ask", 100, list)
        await invoke(stub, "Ask", metadata=Person().metadata())
    world.chain.flush()
    assert Counter(written) == {"rpc UNAUTHENTICATED": LINES, "refused_calls_not_written": 1, "rpc OK": 1}


@pytest_asyncio.fixture
async def world_lines(monkeypatch: pytest.MonkeyPatch) -> Any:
    written: list[str] = []

    class Log:
        @staticmethod
        def info(event: str, *, code: str, **_: Any) -> None:
            written.append(f"{event} {code}")

        @staticmethod
        def warning(event: str, **_: Any) -> None:
            written.append(event)

    monkeypatch.setattr(access_log, "log", Log)
    monkeypatch.setattr(refused_lines, "log", Log)
    monkeypatch.setattr("bulkhead_kit.logs.by_hand", lambda: None)
    async with limited() as world:
        yield world, written
