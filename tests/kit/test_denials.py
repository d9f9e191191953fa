"""What was refused is written down: once a kind, with its number, behind the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

import pytest
from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit import denials
from bulkhead_kit.caller import Caller, Role
from bulkhead_kit.denials import MAX_KINDS, MAX_OTHERS, OTHERS, Denial, Denials
from bulkhead_kit.errors import DeadlineExceeded, Unavailable
from prometheus_client import CollectorRegistry, Counter

ANN, BEN = UUID(int=1), UUID(int=2)


def caller(user_id: UUID = ANN, rpc: str = "a.B/C", tenant: int = 9) -> Caller:
    return Caller(
        actor_type="person",
        rpc=rpc,
        request_id="r1",
        deadline=0.0,
        tenant_id=UUID(int=tenant),
        user_id=user_id,
        role=Role.VIEWER,
    )


class Book:
    """Keeps what is recorded; fails while it is told to."""

    def __init__(self) -> None:
        self.denials: list[Denial] = []
        self.fails = False
        self.came = asyncio.Event()
        self.lost = Counter("lost", "Lost.", registry=CollectorRegistry())
        self.made = Denials(self.record, self.lost)

    async def record(self, denial: Denial) -> None:
        if self.fails:
            raise Unavailable(ErrorReason.DATABASE_UNAVAILABLE, "away")
        self.denials.append(denial)
        self.came.set()

    def told(self) -> list[tuple[UUID | None, str, str, int]]:
        return [(d.caller.user_id, d.caller.rpc, d.reason, d.calls) for d in self.denials]


async def test_the_same_refusal_is_one_event_with_a_number() -> None:
    book = Book()
    for _ in range(1000):
        book.made.note(caller(), "ROLE_TOO_LOW")
    book.made.note(caller(), "ROLE_ABOVE_OWN")
    book.made.note(caller(rpc="a.B/D"), "ROLE_TOO_LOW")
    book.made.note(caller(BEN), "ROLE_TOO_LOW")
    await book.made.flush()
    assert book.told() == [
        (ANN, "a.B/C", "ROLE_TOO_LOW", 1000),
        (BEN, "a.B/C", "ROLE_TOO_LOW", 1),
        (ANN, "a.B/C", "ROLE_ABOVE_OWN", 1),
        (ANN, "a.B/D", "ROLE_TOO_LOW", 1),
    ]
    await book.made.flush()
    assert len(book.denials) == 4
    # The caller's own deadline has passed with her answer.
    assert all(denial.caller.time_left() > 1 for denial in book.denials)


async def test_it_is_written_by_itself_within_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denials, "FLUSH_AFTER", 0.01)
    book = Book()
    book.made.note(caller(), "ROLE_TOO_LOW")
    async with asyncio.timeout(5):
        await book.came.wait()
    book.made.note(caller(), "ROLE_TOO_LOW")
    await book.made.close()
    assert [denial.calls for denial in book.denials] == [1, 1]


async def test_what_cannot_be_written_is_counted() -> None:
    book = Book()
    book.fails = True
    for _ in range(3):
        book.made.note(caller(), "ROLE_TOO_LOW")
    await book.made.close()
    assert book.lost._value.get() == 3
    assert book.denials == []


async def test_a_database_that_hangs_costs_one_deadline_and_not_one_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denials, "WRITE_SECONDS", 0.1)
    book = Book()

    async def hangs(denial: Denial) -> None:
        await asyncio.sleep(max(0.0, denial.caller.time_left()))
        raise DeadlineExceeded

    made = Denials(hangs, book.lost)
    for n in range(50):
        made.note(caller(UUID(int=n + 1)), "ROLE_TOO_LOW")
    async with asyncio.timeout(1):
        await made.close()
    assert book.lost._value.get() == 50


async def test_no_flood_of_kinds_fills_the_memory() -> None:
    book = Book()
    for n in range(MAX_KINDS + 300):
        book.made.note(caller(UUID(int=n + 1), tenant=n % 20 + 1), "ROLE_TOO_LOW")
    await book.made.close()
    kept = [denial for denial in book.denials if denial.reason != OTHERS]
    others = [denial for denial in book.denials if denial.reason == OTHERS]
    assert (len(kept), len(others), book.lost._value.get()) == (MAX_KINDS, MAX_OTHERS, 100)


METHODS = 32
FLOODS: dict[str, Callable[[int], Caller]] = {
    "one caller": lambda n: caller(ANN, rpc=f"a.B/{n}"),
    "one caller with 400 tenants": lambda n: caller(ANN, rpc=f"a.B/{n % METHODS}", tenant=1000 + n // METHODS),
    "one tenant with 400 callers": lambda n: caller(UUID(int=1000 + n // METHODS), rpc=f"a.B/{n % METHODS}", tenant=2),
    "100 callers with four tenants each": lambda n: caller(
        UUID(int=1000 + n % 100), rpc=f"a.B/{n // 400}", tenant=2000 + n % 400
    ),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
async def test_a_flood_pushes_out_nothing_of_another(flood: Callable[[int], Caller]) -> None:
    """25 refusals of another tenant, some before, some within and some after 12,600 of a flood."""
    book, noted = Book(), 0
    for n in range(12_600):
        if n % 504 == 0:
            book.made.note(caller(UUID(int=50 + noted % 5), rpc=f"c.D/{noted}", tenant=7), "ROLE_TOO_LOW")
            noted += 1
        book.made.note(flood(n), "CALLER_NOT_ALLOWED")
    await book.made.close()
    mine = [denial for denial in book.denials if denial.caller.tenant_id == UUID(int=7)]
    assert (noted, len(mine)) == (25, 25)
    # What of the flood has no event of its own is a number: of the caller in the tenant, or the metric's.
    assert sum(denial.calls for denial in book.denials) + book.lost._value.get() == 12_625
    assert len(book.denials) <= MAX_KINDS + MAX_OTHERS


async def test_they_are_written_in_turns() -> None:
    """A database that becomes slow in the middle has the first of everybody."""
    book = Book()
    for n in range(40):
        book.made.note(caller(ANN, rpc=f"a.B/{n}"), "ROLE_TOO_LOW")
    book.made.note(caller(BEN), "ROLE_TOO_LOW")
    await book.made.close()
    assert [denial.caller.user_id for denial in book.denials[:3]] == [ANN, BEN, ANN]


async def test_of_who_is_refused_too_often_the_number_stays() -> None:
    book = Book()
    book.made.note(caller(), "ROLE_TOO_LOW")
    for n in range(1000):
        book.made.note_one_of_many(caller(rpc=f"a.B/{n}"))
    await book.made.close()
    assert [(denial.reason, denial.calls) for denial in book.denials] == [("ROLE_TOO_LOW", 1), (OTHERS, 1000)]
