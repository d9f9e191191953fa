"""Which limit counts whom, over a real server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from bulkhead_kit import clock
from bulkhead_kit.caller import ActorType, Caller
from bulkhead_kit.clock import ManualClock
from bulkhead_kit.errors import ResourceExhausted
from bulkhead_kit.ids import new_id
from bulkhead_kit.policy import MethodPolicy, read_policies
from bulkhead_kit.rates.limiter import RateLimits, Rates, network_of
from bulkhead_kit.rates.rate import Rate
from bulkhead_kit.telemetry import RateMetrics
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from prometheus_client import CollectorRegistry

from tests.kit.rpc.calls import detail_of, failed, invoke, reason_of
from tests.kit.rpc.probe import SERVICE
from tests.kit.rpc.world import FRIEND, Person, make_chain, running, service_metadata

POLICIES = read_policies([SERVICE])
ASK, OPEN = (POLICIES[f"{SERVICE}/{name}"] for name in ("Ask", "AsAnyone"))
LOGIN = replace(OPEN, method=f"{SERVICE}/Login")
TEN = Rate(10, 60)


def make(**rates: Any) -> RateLimits:
    return RateLimits(Rates(**rates), RateMetrics(CollectorRegistry()))


def caller(user: UUID | None = None, tenant: UUID | None = None, ip: str = "192.0.2.1", **more: Any) -> Caller:
    kind: ActorType = "person" if user else "anonymous"
    facts = {"actor_type": kind, "rpc": "a/B", "request_id": "r", "deadline": 0.0}
    return Caller(**{**facts, "user_id": user, "tenant_id": tenant, "ip": ip, **more})


async def admitted(limits: RateLimits, who: Caller, policy: MethodPolicy = ASK, tries: int = 100) -> tuple[int, str]:
    """How many were let through, and which limit refused the rest."""
    refusals: list[ResourceExhausted] = []
    for _ in range(tries):
        try:
            await limits(who, policy)
        except ResourceExhausted as error:
            refusals.append(error)
    assert all(error.reason_name == "RATE_LIMITED" and error.retry_after for error in refusals)
    return tries - len(refusals), refusals[-1].metadata["limit"] if refusals else ""


@pytest.fixture(autouse=True)
def hands() -> Iterator[ManualClock]:
    manual = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    with clock.replaced(manual):
        yield manual


async def test_a_principal_is_counted_wherever_she_calls_from_and_in_whichever_tenant() -> None:
    limits, ada = make(principal=TEN), new_id()
    assert await admitted(limits, caller(ada, new_id(), "192.0.2.1"), tries=6) == (6, "")
    assert await admitted(limits, caller(ada, new_id(), "192.0.2.2")) == (4, "principal")
    assert await admitted(limits, caller(new_id(), new_id(), "192.0.2.2")) == (10, "principal")


async def test_members_of_a_tenant_share_its_rate() -> None:
    limits, acme = make(tenant=TEN, principal=Rate(6, 60)), new_id()
    assert await admitted(limits, caller(new_id(), acme)) == (6, "principal")
    assert await admitted(limits, caller(new_id(), acme)) == (4, "tenant")
    assert await admitted(limits, caller(new_id(), new_id())) == (6, "principal")


async def test_a_refused_call_takes_nothing_of_another_limit() -> None:
    """Somebody over her own rate must not use up her tenant's."""
    limits, acme = make(tenant=TEN, principal=Rate(2, 60)), new_id()
    assert await admitted(limits, caller(new_id(), acme), tries=1000) == (2, "principal")
    assert [await admitted(limits, caller(new_id(), acme), tries=2) for _ in range(4)] == [(2, "")] * 4


async def test_who_names_nobody_is_counted_by_address() -> None:
    limits = make(ip=TEN, principal=Rate(1, 60))
    assert await admitted(limits, caller(), OPEN) == (10, "ip")
    assert await admitted(limits, caller(ip="192.0.2.9"), OPEN) == (10, "ip")
    assert await admitted(limits, caller(new_id()), OPEN) == (1, "principal")


async def test_public_methods_are_counted_by_address_whoever_calls() -> None:
    """Otherwise a valid token of one's own would be a way round the limit of guesses."""
    limits = make(methods={"Login": Rate(3, 60), "*": Rate(5, 60)})
    assert await admitted(limits, caller(), LOGIN, tries=2) == (2, "")
    assert await admitted(limits, caller(new_id()), LOGIN) == (1, "method:Login")
    assert await admitted(limits, caller(), OPEN) == (5, "method:AsAnyone")
    assert await admitted(limits, caller(new_id(), new_id()), ASK) == (100, "")


async def test_a_method_may_be_off() -> None:
    limits = make(methods={"Login": None, "*": Rate(5, 60)})
    assert await admitted(limits, caller(), LOGIN) == (100, "")


async def test_services_are_not_counted() -> None:
    limits = make(ip=TEN, principal=TEN, tenant=TEN, methods={"*": TEN})
    service = caller(tenant=new_id(), actor_type="service", service="issues")
    assert await admitted(limits, service) == (100, "")


async def test_who_waits_as_told_gets_in(hands: ManualClock) -> None:
    limits, ada = make(principal=TEN), caller(new_id())
    await admitted(limits, ada)
    for _ in range(20):
        with pytest.raises(ResourceExhausted) as caught:
            await limits(ada, ASK)
        assert caught.value.retry_after is not None
        hands.advance(caught.value.retry_after + 0.001)
        await limits(ada, ASK)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        (None, "local"),
    ],
)
def test_an_address_stands_for_what_one_customer_has(address: str | None, network: str) -> None:
    assert network_of(address) == network


async def test_the_refusal_says_which_limit_and_when_to_come_back() -> None:
    registry = CollectorRegistry()
    limits = RateLimits(Rates(principal=Rate(3, 3600)), RateMetrics(registry))
    ada, bob = Person(), Person()
    async with running(chain=make_chain(rate_limit=limits)) as world, world.stub() as stub:
        for _ in range(3):
            await invoke(stub, "Ask", metadata=ada.metadata())
        handled = len(world.servicer.requests)
        answer = await failed(stub, "Ask", metadata=ada.metadata())
        assert (answer.code().name, reason_of(answer)) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        assert dict(detail_of(answer, ErrorInfo).metadata) == {"limit": "principal", "rate": "3/hour"}
        assert 0 < detail_of(answer, RetryInfo).retry_delay.seconds <= 7200
        assert len(world.servicer.requests) == handled
        assert await invoke(stub, "Ask", metadata=bob.metadata()) == ["hi"]
        # Another service calls on, and who has no token is told that, not counted.
        for _ in range(5):
            assert await invoke(stub, "AsService", metadata=service_metadata(FRIEND)) == ["hi"]
            assert reason_of(await failed(stub, "Ask", metadata=[])) == "TOKEN_MISSING"
    assert registry.get_sample_value("bulkhead_rate_limited_total", {"limit": "principal"}) == 1


async def test_a_method_that_is_named_is_counted_by_the_person_who_calls_it() -> None:
    limits, ada = make(methods={"Ask": TEN, "*": Rate(3, 60)}), new_id()
    assert await admitted(limits, caller(ada, new_id(), "192.0.2.1"), tries=6) == (6, "")
    assert await admitted(limits, caller(ada, new_id(), "192.0.2.2")) == (4, "method:Ask")
    assert await admitted(limits, caller(new_id(), new_id(), "192.0.2.2")) == (10, "method:Ask")
    # What is not named is the person's own affair, unless anybody may call it.
    change = POLICIES[f"{SERVICE}/Change"]
    assert await admitted(limits, caller(ada, new_id()), change) == (100, "")
    assert await admitted(limits, caller(ada), OPEN) == (3, "method:AsAnyone")
