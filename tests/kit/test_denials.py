"""What was refused is written down: once a kind, with its number, behind the answer."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit import denials
from bulkhead_kit.caller import Caller, Role
from bulkhead_kit.denials import MAX_KINDS, Denial, Denials
from bulkhead_kit.errors import DeadlineExceeded, Unavailable
from prometheus_client import CollectorRegistry, Counter

ANN, BEN = UUID(int=1), UUID(int=2)


def caller(user_id: UUID = ANN, rpc: str = "a.B/C") -> Caller:
    return Caller(
        actor_type="person",
        rpc=rpc,
        request_id="r1",
        deadline=0.0,
        tenant_id=UUID(int=9),
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
        (ANN, "a.B/C", "ROLE_ABOVE_OWN", 1),
        (ANN, "a.B/D", "ROLE_TOO_LOW", 1),
        (BEN, "a.B/C", "ROLE_TOO_LOW", 1),
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
    for n in range(MAX_KINDS + 50):
        book.made.note(caller(UUID(int=n + 1)), "ROLE_TOO_LOW")
    await book.made.close()
    assert (len(book.denials), book.lost._value.get()) == (MAX_KINDS, 50)
