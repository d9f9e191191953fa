"""Who guesses API keys, or calls too often with one, does not get as far as the database."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit.api_keys import KeyOwner
from bulkhead_kit.caller import Caller, Role
from bulkhead_kit.clock import ManualClock
from bulkhead_kit.errors import DomainError, Unauthenticated
from bulkhead_kit.ids import new_id
from bulkhead_kit.rates.keys import LimitedLookup
from bulkhead_kit.rates.rate import Rate
from bulkhead_kit.telemetry import RateMetrics
from prometheus_client import CollectorRegistry

from tests.kit.rates.test_limiter import caller, hands

__all__ = ["hands"]


class Keys:
    """Some are good; how often it was asked is what the database would have been."""

    def __init__(self, *good: str, **rates: Rate | None) -> None:
        self.good = set(good)
        self.asked = 0
        self.registry = CollectorRegistry()
        rates = {"failed": Rate(10, 60), "principal": Rate(20, 60), **rates}
        self.lookup = LimitedLookup(self, RateMetrics(self.registry), **rates)

    async def __call__(self, key: str, nobody: Caller) -> KeyOwner:
        self.asked += 1
        if key not in self.good:
            raise Unauthenticated(ErrorReason.TOKEN_INVALID, "the token is not valid")
        return KeyOwner(new_id(), new_id(), Role.MEMBER, 1)

    async def outcome(self, key: str, ip: str = "192.0.2.1") -> str:
        try:
            await self.lookup(key, caller(ip=ip))
        except DomainError as error:
            return error.metadata.get("limit", error.reason_name)
        return "OK"

    async def outcomes(self, keys: list[str], **how: Any) -> Counter[str]:
        return Counter([await self.outcome(key, **how) for key in keys])


async def test_guesses_from_one_address_stop_asking_the_database() -> None:
    keys = Keys("good")
    guesses = [f"guess {n}" for n in range(1000)]
    assert await keys.outcomes(guesses) == {"TOKEN_INVALID": 10, "failed_keys": 990}
    assert keys.asked == 10
    assert await keys.outcomes(["good"] * 5, ip="192.0.2.2") == {"OK": 5}
    assert keys.registry.get_sample_value("bulkhead_rate_limited_total", {"limit": "failed_keys"}) == 990


async def test_a_good_key_is_not_shut_out_by_a_neighbour() -> None:
    keys = Keys("good", "new")
    assert await keys.outcome("good") == "OK"
    await keys.outcomes(["bad"] * 50)
    assert await keys.outcomes(["good", "new"]) == {"OK": 1, "failed_keys": 1}


async def test_a_key_that_is_revoked_is_no_way_round() -> None:
    keys = Keys("good")
    assert await keys.outcome("good") == "OK"
    keys.good.clear()
    assert await keys.outcomes(["good"] * 500) == {"TOKEN_INVALID": 10, "failed_keys": 490}
    assert keys.asked == 11


async def test_a_key_that_calls_too_often_stops_asking_the_database(hands: ManualClock) -> None:
    keys = Keys("good", "other")
    assert await keys.outcomes(["good"] * 300) == {"OK": 20, "principal": 280}
    assert keys.asked == 20
    assert await keys.outcome("other") == "OK"
    hands.advance(121)
    assert await keys.outcome("good") == "OK"


@pytest.mark.parametrize("off", ["failed", "principal"])
async def test_each_may_be_off(off: str) -> None:
    keys = Keys("good", **{off: None})
    found = await keys.outcomes(["good"] * 50 + ["bad"] * 50)
    assert found == (
        {"OK": 20, "principal": 30, "TOKEN_INVALID": 50}
        if off == "failed"
        else {"OK": 50, "TOKEN_INVALID": 10, "failed_keys": 40}
    )
