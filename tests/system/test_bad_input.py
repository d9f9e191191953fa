"""Every RPC with every kind of bad request: refused with a reason and the field, nothing changed, the service lives.

Each test bends the one good request the method has in tests/isolation/samples, and sends that one at its end.
"""

from __future__ import annotations

from bulkhead_kit.caller import Role
from google.protobuf.descriptor import MethodDescriptor

from tests.isolation.world import Company
from tests.support.builders import make_label
from tests.system.calls import Good, Raw, ask, demand, every
from tests.system.contents import Tables, difference
from tests.system.fields import Place, named, places

ID = "0190163d-8694-739b-aea5-966c26f8ad93"


async def test_a_change_is_noticed(ours: Company, tables: Tables) -> None:
    """What every test here relies on."""
    before = tables.contents()
    label = await make_label(ours.client(Role.OWNER))
    made = tables.contents()
    assert {line.split(":")[0] for line in difference(before, made)} == {"issues.labels", "issues.outbox"}
    await ours.client(Role.OWNER).issues.UpdateLabel(label={"label_id": label.label_id, "color": "#000000"})
    assert any(line.startswith("issues.labels: ") for line in difference(made, tables.contents()))


def is_refused(place: Place) -> bool:
    """Items of an import are not: what is wrong with one of them is in the report, see below."""
    message = place.path[0].containing_type
    return message is None or message.name != "ImportItemsRequest" or place.path[0].name == "options"


METADATA = {
    "a tenant that is no UUID": [("x-tenant-id", "acme")],
    "a tenant in braces": [("x-tenant-id", f"{{{ID}}}")],
    "two tenants": [("x-tenant-id", ID), ("x-tenant-id", ID)],
    "a request id with a space": [("x-request-id", "two words")],
    "a request id that is too long": [("x-request-id", "x" * 65)],
    "two request ids": [("x-request-id", "one"), ("x-request-id", "two")],
    "another scheme": [("authorization", "Basic dXNlcjpwYXNz")],
    "no token": [("authorization", "Bearer ")],
    "two tokens": [("authorization", "Bearer one"), ("authorization", "Bearer two")],
    "9 KB": [("x-anything", "x" * 9_000)],
    "9 KB in pieces": [(f"x-{n}", "x" * 90) for n in range(100)],
}


@every(share=6)
async def test_malformed_metadata(method: MethodDescriptor, harmless: Good) -> None:
    async with harmless(method) as twin:
        for what, entries in METADATA.items():
            answer = await ask(twin.client.with_metadata(*entries), method, twin.request)
            assert (answer.code, answer.reason) == ("INVALID_ARGUMENT", "INVALID_METADATA"), f"{what} gave {answer}"
            assert answer.metadata["key"] == ("*" if "KB" in what else entries[0][0])


IDS = [
    "a",
    "acme",
    ID[:-1],
    ID + "0",
    ID.replace("-", ""),
    f"{{{ID}}}",
    f"urn:uuid:{ID}",
    ID.replace("0", "٠"),
    ID[:-1] + "\0",
    " " + ID[1:],
    "' or 1=1 --",
    "x" * 5_000,
]


@every(lambda method: any(place.is_id for place in places(method)))
async def test_malformed_ids(method: MethodDescriptor, harmless: Good) -> None:
    async with harmless(method) as twin:
        for place in places(method):
            if place.is_id:
                for text in IDS:
                    demand(await twin.ask(place.put(twin.request, text)), "INVALID_FIELD", str(place), text)


@every(lambda method: any(is_refused(place) and place.is_enum for place in places(method)))
async def test_unknown_enum_numbers(method: MethodDescriptor, harmless: Good) -> None:
    async with harmless(method) as twin:
        for place in places(method):
            if is_refused(place) and place.is_enum:
                for number in (99, -1, 2**31 - 1):
                    demand(await twin.ask(place.put(twin.request, number)), "INVALID_FIELD", str(place), number)


CONTROL = ["\0", "a\0b", "a\x07b", "\x1b[2J", "a\x7fb", "a\x85b"]
SECRETS = {"password", "current_password", "new_password", "token", "refresh_token", "device_token"}
"""Compared by their hashes: a wrong one is a wrong one, whatever it is made of."""


def is_plain_text(method: MethodDescriptor, place: Place) -> bool:
    if method.name == "AppendEvents":
        return False  # audit keeps what happened as it was, see below
    ignored = place.field.name == "etag" and method.name.startswith("Create")
    return is_refused(place) and place.is_text and place.field.name not in SECRETS and not ignored


@every(lambda method: any(is_plain_text(method, place) for place in places(method)))
async def test_control_characters(method: MethodDescriptor, harmless: Good) -> None:
    reasons = {"filter": "INVALID_FILTER", "page_token": "INVALID_PAGE_TOKEN"}
    async with harmless(method) as twin:
        for place in places(method):
            if is_plain_text(method, place):
                for text in CONTROL:
                    reason = reasons.get(place.field.name, "INVALID_FIELD")
                    demand(await twin.ask(place.put(twin.request, text)), reason, str(place), text)


@every(lambda method: named(method, "page_size"))
async def test_page_sizes(method: MethodDescriptor, harmless: Good) -> None:
    place = named(method, "page_size")
    assert place is not None
    async with harmless(method) as twin:
        for size in (-1, -(2**31)):
            demand(await twin.ask(place.put(twin.request, size)), "INVALID_FIELD", "page_size", size)
        assert (await twin.ask(place.put(twin.request, 2**31 - 1))).code == "OK"


@every(share=6, turn=1)
async def test_messages_that_are_too_long(method: MethodDescriptor, harmless: Good) -> None:
    async with harmless(method) as twin:
        # An unknown field, so that only the length is wrong.
        answer = await twin.ask(Raw(b"\xfa\xff\xff\xff\x0f" + b"\x80\x80\x40" + b"x" * (1 << 20)))
        assert answer.code == "RESOURCE_EXHAUSTED", answer
        assert "1048576" in answer.text


BROKEN = {
    "a tag cut off": b"\x8a",
    "a length cut off": b"\x0a\xff",
    "a length beyond the end": b"\x0a\x7fabc",
    "a length beyond everything": b"\x0a\xff\xff\xff\xff\x0f",
    "a varint that does not end": b"\x08" + b"\xff" * 11,
    "a wire type that does not exist": b"\x0f",
    "a group that does not end": b"\x0b",
    "a group that ends only": b"\x0c",
    "noise": bytes(range(255, 200, -1)),
}


@every(share=6, turn=2)
async def test_bytes_that_are_no_message(method: MethodDescriptor, harmless: Good) -> None:
    async with harmless(method) as twin:
        for what, raw in BROKEN.items():
            demand(await twin.ask(Raw(raw)), "INVALID_FIELD", "", what)
