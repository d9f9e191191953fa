"""What a stream may not do to the process: fill its memory, or keep a place and send nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from bulkhead.issues.v1 import import_pb2, import_service_pb2
from bulkhead_issues.importing import rules, wire
from bulkhead_issues.importing.actions import ENTRY_BYTES
from bulkhead_issues.importing.room import Room
from bulkhead_kit.errors import InvalidArgument, ResourceExhausted
from bulkhead_kit.ids import new_id

from tests.issues.importing.sample import Part, comment, counts, issue, label, options, request, run
from tests.support.client import Client, refused
from tests.support.house import House, Tenant


def long_item(number: int, messages: int) -> list[Part]:
    """In that many messages of 500 kB."""
    parts: list[Part] = [issue(number, more_comments_follow=True)]
    for position in range(messages):
        comments = [comment(1000 * number + 10 * position + i, body="x" * 100_000) for i in range(5)]
        last = position == messages - 1
        parts.append(import_pb2.ImportMoreComments(comments=comments, more_comments_follow=not last))
    return parts


async def test_an_item_of_too_many_bytes_is_named_and_the_rest_goes_in(
    tenant: Tenant, project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_ITEM_BYTES", 1_100_000)
    report = await run(tenant, project.project_id, [*long_item(1, 4), issue(2), *long_item(3, 2)])
    assert [(one.position, one.item, one.reason) for one in report.failures] == [(1, "I1", "INVALID_FIELD")]
    assert "1100000 bytes" in report.failures[0].message
    assert (counts(report.issues), counts(report.comments)) == ((2, 0, 0), (10, 0, 0))


async def test_an_item_with_too_many_labels_is_named(tenant: Tenant, project: Any) -> None:
    names = [f"n{number}" for number in range(rules.MAX_LABELS + 1)]
    most = issue(2, label_names=names[1:])
    report = await run(tenant, project.project_id, [*map(label, names), issue(1, label_names=names), most])
    assert [(one.item, one.reason) for one in report.failures] == [("I1", "INVALID_FIELD")]
    assert counts(report.issues) == (1, 0, 0)


FAULTS = {
    "a long text": [comment(1), comment(2, body="x" * 100_001)],
    "too many": [comment(1)] * (rules.MAX_COMMENTS + 1),
}


@pytest.mark.parametrize("name", [*FAULTS, "too many bytes"])
def test_behind_a_fault_nothing_is_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = wire.Comments()
    found.add([comment(0)], 100)
    found.add(FAULTS.get(name, [comment(1)]), 100 if name in FAULTS else rules.MAX_ITEM_BYTES)

    def read(_message: import_pb2.ImportComment, _path: str) -> Any:
        raise AssertionError("it was read")

    monkeypatch.setattr(wire, "_comment", read)
    for _ in range(1000):
        found.add([comment(3)], 100)
    with pytest.raises(InvalidArgument, match=r"comments|body"):
        found.all()


def test_nobody_has_more_of_the_room_than_is_left() -> None:
    room, one, other, third = Room(120), new_id(), new_id(), new_id()
    with room.part(one) as first, room.part(one) as second, room.part(other) as foreign, room.part(third) as last:
        first(20)
        first(30)
        second(30)
        for hold in (first, second):
            with pytest.raises(ResourceExhausted):
                hold(31)
        # Half is left, of which whoever comes next has half, and so on.
        foreign(30)
        with pytest.raises(ResourceExhausted):
            foreign(31)
        last(15)
        with pytest.raises(ResourceExhausted):
            last(16)
        # What is given back is everybody's, in equal parts.
        first(0)
        last(30)
        second(30)
        assert room._free == 30
        for hold in (foreign, last, second):
            with pytest.raises(ResourceExhausted):
                hold(31)
    assert (room._free, room._held) == (120, {})


def test_many_tenants_of_one_person_are_one() -> None:
    room, person, other = Room(100), new_id(), new_id()
    with ExitStack() as streams:
        holds = [streams.enter_context(room.part(new_id(), person)) for _ in range(20)]
        for hold in holds[:10]:
            hold(5)
        with pytest.raises(ResourceExhausted):
            holds[10](1)
        streams.enter_context(room.part(new_id(), other))(25)


async def test_a_stream_that_finds_no_room_ends_and_the_next_one_does_not(
    tenant: Tenant, project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Room.part
    small = Room(2_200_000)
    monkeypatch.setattr(Room, "part", lambda _, *payers: part(small, *payers))
    with refused("RESOURCE_EXHAUSTED", "OVERLOADED"):
        await run(tenant, project.project_id, [issue(1), *long_item(2, 4)])
    report = await run(tenant, project.project_id, [*long_item(3, 2), *long_item(4, 2), issue(1)])
    assert (counts(report.issues), len(report.failures)) == ((2, 0, 1), 0)


async def test_what_a_stream_remembers_takes_room_to_its_end(
    tenant: Tenant, project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Room.part
    small = Room(2 * 40 * ENTRY_BYTES)
    monkeypatch.setattr(Room, "part", lambda _, *payers: part(small, *payers))
    with refused("RESOURCE_EXHAUSTED", "OVERLOADED"):
        await run(tenant, project.project_id, [issue(number) for number in range(1, 30)], dry_run=True)
    report = await run(tenant, project.project_id, [issue(number) for number in range(1, 10)], dry_run=True)
    assert counts(report.issues) == (9, 0, 0)


@pytest.fixture(name="impatient")
async def fixture_impatient(house: House, tenant: Tenant) -> AsyncIterator[Client]:
    """The owner, at a service that waits a third of a second for the next message."""
    service = house.build("issues", {}, import_patience_seconds=0.3)
    channel = grpc.aio.insecure_channel(await service.start())
    try:
        yield Client({"issues": channel}, tenant.owner.metadata)
    finally:
        await channel.close()
        await service.stop()


@pytest.mark.parametrize("sent", [0, 1, 2, 3])
async def test_a_silent_stream_ends_and_keeps_what_went_in(
    tenant: Tenant, project: Any, impatient: Client, sent: int
) -> None:
    messages = [options(project.project_id), request(label("kept")), request(issue(1, more_comments_follow=True))]

    async def stream() -> AsyncIterator[import_service_pb2.ImportItemsRequest]:
        for message in messages[:sent]:
            yield message
        await asyncio.sleep(30)

    with refused("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED") as refusal:
        await impatient.issues.ImportItems(stream(), timeout=10)
    assert "0.3 seconds" in refusal.message
    labels = (await tenant.owner.issues.ListLabels()).labels
    assert [one.name for one in labels] == ["kept"] * (sent >= 2)
