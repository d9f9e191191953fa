"""Times, numbers, structures and texts at the edge of what can be written down, and beyond it."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from buf.validate import validate_pb2
from bulkhead_kit.caller import Role
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from tests.isolation.world import Company, new_event
from tests.issues.importing import sample
from tests.support.builders import make_project
from tests.support.client import find_method, refused
from tests.system.calls import Good, Raw, Twin, demand, every
from tests.system.contents import Tables, difference
from tests.system.fields import Place, places
from tests.system.test_bad_input import CONTROL, is_refused

TIMES = [
    Timestamp(seconds=-62_135_596_801),
    Timestamp(seconds=253_402_300_800),
    Timestamp(seconds=2**63 - 1),
    Timestamp(seconds=-(2**63)),
    Timestamp(nanos=-1),
    Timestamp(nanos=1_000_000_000),
    Timestamp(nanos=-(2**31)),
]
STRUCTS = {
    "NUL in a text": Struct(fields={"a": Value(string_value="a\0b")}),
    "NUL in a name": Struct(fields={"a\0b": Value(string_value="a")}),
    "NUL deep inside": Struct(fields={"a": Value(list_value=ListValue(values=[Value(string_value="\0")]))}),
    "not a number": Struct(fields={"a": Value(number_value=math.nan)}),
    "infinity": Struct(fields={"a": Value(number_value=-math.inf)}),
    "too large": Struct(fields={"a": Value(string_value="x" * 20_000)}),
}


def of_type(method: MethodDescriptor, name: str) -> list[Place]:
    return [place for place in places(method) if is_refused(place) and place.holds(f"google.protobuf.{name}")]


@every(lambda method: of_type(method, "Timestamp"))
async def test_times(method: MethodDescriptor, harmless: Good) -> None:
    async with harmless(method) as twin:
        for place in of_type(method, "Timestamp"):
            for time in TIMES:
                demand(await twin.ask(place.put(twin.request, time)), "INVALID_FIELD", str(place), time)


@every(lambda method: of_type(method, "Struct"))
async def test_structures(method: MethodDescriptor, harmless: Good) -> None:
    async with harmless(method) as twin:
        for place in of_type(method, "Struct"):
            for what, struct in STRUCTS.items():
                demand(await twin.ask(place.put(twin.request, struct)), "INVALID_FIELD", str(place), what)


def numbers(method: MethodDescriptor) -> list[Place]:
    return [
        place
        for place in places(method)
        if is_refused(place) and place.field.type == FieldDescriptor.TYPE_INT32 and place.field.name != "page_size"
    ]


@every(numbers)
async def test_numbers(method: MethodDescriptor, harmless: Good) -> None:
    async with harmless(method) as twin:
        for place in numbers(method):
            for number in (-1, 2**31 - 1, -(2**31)):
                demand(await twin.ask(place.put(twin.request, number)), "INVALID_FIELD", str(place), number)


DATES = ["2026-02-30", "2026-13-01", "0000-01-01", "2026-1-1", "today", "2026-01-01T00:00:00Z", "٢٠٢٦-01-01"]


@every(lambda method: any(place.field.name.endswith("_date") for place in places(method)))
async def test_dates(method: MethodDescriptor, harmless: Good) -> None:
    async with harmless(method) as twin:
        for place in places(method):
            if place.field.name.endswith("_date"):
                for text in DATES:
                    demand(await twin.ask(place.put(twin.request, text)), "INVALID_FIELD", str(place), text)


def in_bytes(place: Place, request: Any, raw: bytes) -> Raw | list[Raw]:
    """The request with these bytes in the place of a text, which no text could hold."""
    stand_in = "Q" * len(raw)
    made = place.put(request, stand_in)
    found = [message.SerializeToString() for message in (made if isinstance(made, list) else [made])]
    changed = [Raw(one.replace(stand_in.encode(), raw)) for one in found]
    return changed if isinstance(made, list) else changed[0]


@every(lambda method: any(place.field.type == FieldDescriptor.TYPE_STRING for place in places(method)), share=6, turn=3)
async def test_texts_that_are_no_utf8(method: MethodDescriptor, harmless: Good) -> None:
    async with harmless(method) as twin:
        for place in places(method):
            if is_refused(place) and place.field.type == FieldDescriptor.TYPE_STRING:
                for raw in (b"aa\xff\xfe", b"\xed\xa0\x80\xed", b"\xc0\xafaa", b"\xf4\x90\x80\x80"):
                    demand(await twin.ask(in_bytes(place, twin.request, raw)), "INVALID_FIELD", "", raw)


TEXT = "Grüße 漢字 🛟👩‍👩‍👧‍👦 e\u0301 𝔘\U0010fffd"
KEPT = unicodedata.normalize("NFC", TEXT)


OF_A_FORM = {"avatar_url", "logo_url", "website_url", "domain", "time_zone", "locale"}
"""Texts whose form is more than a pattern can say."""
NOT_AT_FIRST = {"CreateTenant": {"description", "industry"}}
"""Refused where the resource is made, in words that say so."""


def free_texts(method: MethodDescriptor) -> list[Place]:
    """Of a resource that is made or changed, what has no form of its own."""
    if not method.name.startswith(("Create", "Update")):
        return []
    return [
        place
        for place in places(method)
        if len(place.path) == 2
        and place.is_text
        and place.field.name != "etag"
        and place.field.name not in OF_A_FORM
        and place.field.name not in NOT_AT_FIRST.get(method.name, ())
        and not place.field.GetOptions().Extensions[validate_pb2.field].string.pattern
    ]


@every(free_texts)
async def test_every_letter_comes_back(method: MethodDescriptor, ours: Company) -> None:
    twin = await Twin.make(method, ours)
    request: Any = twin.request
    # Names are taken once only.
    text = f"{TEXT} {method.name}"
    for place in free_texts(method):
        request = place.put(request, text)
    reply = await twin.client.call(method, request)
    (resource,) = {place.path[0].name for place in free_texts(method)}
    read = reply
    if resource not in ("tenant", "user"):
        client = ours.client(Role.OWNER)
        get = getattr(client.identity if resource == "team" else client.issues, f"Get{resource.title()}")
        read = await get(**{f"{resource}_id": getattr(reply, f"{resource}_id")})
    for place in free_texts(method):
        assert getattr(reply, place.field.name) == f"{KEPT} {method.name}"
        assert getattr(read, place.field.name) == f"{KEPT} {method.name}"


async def test_every_letter_comes_back_from_the_log(ours: Company) -> None:
    """Audit keeps what happened as it was. Only NUL cannot be stored, nor can it happen."""
    changes = json.dumps({"title": [None, TEXT + "\x07"]}, ensure_ascii=False)
    event = new_event(ours, changes_json=changes, user_agent=TEXT)
    writer = ours.tenant.service("issues").audit
    await writer.AppendEvents(events=[event])
    read = await ours.client(Role.OWNER).audit.GetEvent(event_id=event.event_id)
    (change,) = read.changes
    assert (json.loads(change.new_json), read.user_agent) == (TEXT + "\x07", KEPT)


BAD_EVENTS: dict[str, dict[str, Any]] = {
    "events[0].changes_json": {"changes_json": '{"title": [null, "a\\u0000b"]}'},
    "events[0].request_id": {"request_id": "a\0b"},
    "events[0].user_agent": {"user_agent": "a\0b"},
}


@pytest.mark.parametrize("place", BAD_EVENTS)
async def test_nul_in_events(place: str, ours: Company, tables: Tables) -> None:
    before = tables.contents()
    good, bad = new_event(ours), new_event(ours, **BAD_EVENTS[place])
    with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
        await ours.tenant.service("issues").audit.AppendEvents(events=[good, bad])
    assert not difference(before, tables.contents())


IMPORTED = find_method("issues", "ImportItems")
ITEM_FIELDS = [place for place in places(IMPORTED) if str(place).startswith("issue.")]


def bad_items(good: Message) -> Iterator[tuple[str, Message]]:
    """By the field that is wrong: an item with one wrong field each."""
    for place in ITEM_FIELDS:
        wrong: list[Any] = []
        if place.is_text:
            wrong = CONTROL
        elif place.is_enum:
            wrong = [99, -1]
        elif place.holds("google.protobuf.Timestamp"):
            wrong = TIMES
        elif place.field.type == FieldDescriptor.TYPE_INT32:
            wrong = [0, -1, 2**31 - 1]
        for value in wrong:
            bent = place.put(good, value)
            assert isinstance(bent, Message)
            yield str(place).removeprefix("issue."), bent


async def test_wrong_fields_of_imported_items(ours: Company, tables: Tables) -> None:
    """All in one import, none of which goes in, with every failure named; the whole one at the end does."""
    good = sample.request(sample.closed(1, comments=[sample.comment(1)], assignee="mira", label_names=["bug"]))
    bad = list(bad_items(good))
    project = await make_project(ours.client(Role.OWNER))
    label = sample.request(sample.label("bug"))
    twin = await Twin.make(IMPORTED, ours)
    before = tables.contents()
    report = await send(twin, project.project_id, [message for _, message in bad])
    assert not difference(before, tables.contents())
    assert [(one.position, one.reason) for one in report.failures] == [
        (number, "INVALID_FIELD") for number in range(1, len(bad) + 1)
    ]
    for (field, message), failure in zip(bad, report.failures, strict=True):
        assert failure.message.startswith(f"{field}: "), f"{message} gave {failure}"
    report = await send(twin, project.project_id, [label, good])
    assert (not report.failures, report.issues.created, report.comments.created) == (True, 1, 1)


async def send(twin: Twin, project_id: str, parts: list[Message]) -> Any:
    async def stream() -> AsyncIterator[Message]:
        yield sample.options(project_id)
        for part in parts:
            yield part

    return await twin.client.call(IMPORTED, stream())
