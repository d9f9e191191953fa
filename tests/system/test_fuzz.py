"""Requests by chance to every RPC: whatever comes in, the answer is one the contract names, and the service lives."""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Iterator

import psutil
import pytest
import pytest_asyncio
from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit.caller import Role
from google.protobuf.descriptor import Descriptor, MethodDescriptor

from tests.isolation.world import Company, make_company
from tests.support import people
from tests.support.house import House
from tests.support.parts import PARTS
from tests.system.calls import METHODS, Answer, Twin, every
from tests.system.fuzz import Fuzz

A_METHOD = 16
LEAST = 1_500
MORE = 700
"""For each method in the long run."""
GROWTH = 50 << 20

REASONS = set(ErrorReason.keys())
NEEDED = {"tenant", "team", "member", "service account"}
"""Kinds that every good request of a method may need as they are: chance gets no ids of these to suspend or end."""
FAULTS = {"INTERNAL", "UNKNOWN", "UNIMPLEMENTED", "DATA_LOSS", "UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"}
INSIDE = re.compile(r"psycopg|asyncio|sqlalchemy|traceback|\.py\b|relation \"|constraint|duplicate key", re.IGNORECASE)


async def make_victims(house: House) -> Company:
    """Chance may disable and demote its members, but not those who do the asking."""
    made = await make_company(house, "chance")
    connection = await house.connection()
    victims = [await people.make_person(connection) for _ in range(4)]
    for victim in victims:
        owner = made.tenant.people[Role.OWNER]
        await people.add_member(connection, made.tenant.tenant_id, owner, victim, Role.MEMBER)
    made.things["user"] = [str(victim.user_id) for victim in victims[:-1]]
    made.things["member"] = [str(victims[-1].user_id)]
    return made


@pytest_asyncio.fixture(scope="module")
async def company(house: House) -> Company:
    return await make_victims(house)


@pytest.fixture(scope="module")
def tally() -> Iterator[Counter[str]]:
    found: Counter[str] = Counter()
    yield found
    PARTS.found["Requests by chance"] = f"{found.total()}: {dict(found.most_common())}"


def demand_contract(answer: Answer, method: MethodDescriptor, sent: object) -> None:
    what = f"{method.name} of {sent!r} gave {answer}"
    assert answer.code not in FAULTS, what
    if answer.code == "OK":
        return
    assert answer.reason in REASONS, what
    assert not INSIDE.search(answer.text), what
    for field in answer.fields:
        assert is_field(method.input_type, field), f"{what}: there is no field {field!r}"


def is_field(message: Descriptor | None, path: str) -> bool:
    """Whether a BadRequest's field is one of the request's; empty stands for the request itself."""
    for name in re.sub(r"\[[^]]*\]", "", path).split(".") if path else ():
        found = message.fields_by_name.get(name) or message.oneofs_by_name.get(name) if message else None
        if found is None:
            return False
        message = getattr(found, "message_type", None)
    return True


async def throw(method: MethodDescriptor, company: Company, rng: random.Random, count: int) -> Counter[str]:
    fuzz = Fuzz(rng, [one for kind, ids in company.things.items() if kind not in NEEDED for one in ids])
    tally: Counter[str] = Counter()
    for number in range(count):
        if number % 12 == 0:
            # What chance has done to the things of the last one must not stand in the way for ever.
            twin = await Twin.make(method, company)
        sent = fuzz.request(method, twin.request)
        answer = await twin.ask(sent)
        demand_contract(answer, method, sent)
        tally[answer.code] += 1
    await (await Twin.make(method, company)).goes_through()
    return tally


@every()
async def test_chance(method: MethodDescriptor, company: Company, rng: random.Random, tally: Counter[str]) -> None:
    tally += await throw(method, company, rng, A_METHOD)


def test_chance_got_far_enough(tally: Counter[str]) -> None:
    if tally.total() < A_METHOD * len(METHODS):
        pytest.skip("counts only when every method was tried")
    assert tally.total() >= LEAST
    assert tally["OK"] > tally.total() / 10, tally
    assert tally["INVALID_ARGUMENT"] > tally.total() / 10, tally


@pytest.mark.soak
async def test_chance_for_long(house: House, rng: random.Random) -> None:
    """All methods in turns, without growing. The first turns fill the caches, which are bounded."""
    process = psutil.Process(os.getpid())
    sizes, found = [], Counter[str]()
    for _ in range(MORE // 50):
        # In a company of its own each: chance archives and deletes until nothing is left to be changed.
        company = await make_victims(house)
        for method in METHODS:
            found += await throw(method, company, rng, 50)
        sizes.append(process.memory_info().rss)
    print(f"{found.total()} requests: {dict(found.most_common())}; sizes {[size >> 20 for size in sizes]} MB")
    assert sizes[-1] - sizes[len(sizes) // 3] < GROWTH, [size >> 20 for size in sizes]
