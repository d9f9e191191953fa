"""Every text of every request comes into one form, NFC, before anybody looks at it: the contracts are walked."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any, Final

import pytest
from bulkhead_kit.spelling import is_id, normalise
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tests.isolation.rpc_probes import methods_to_probe

APART: Final = "a\u0301 \u212b \u0958"
TOGETHER: Final = unicodedata.normalize("NFC", APART)
VERBATIM: Final = {"bulkhead.audit.v1.NewEvent.changes_json": "hashed as another service wrote it"}
OF_GOOGLE: Final = {
    "google.protobuf.Struct": "branding, settings, preferences, metadata: JSON of clients, kept as it comes",
    "google.protobuf.FieldMask": "names of fields, which are ASCII",
    "google.protobuf.Timestamp": "no text",
    "google.protobuf.Duration": "no text",
}
MOST_CHOICES: Final = 4
"""Fields in one oneof."""
REQUESTS: Final = {method.input_type.full_name: method.input_type for method in methods_to_probe()}


@pytest.mark.parametrize("kind", REQUESTS.values(), ids=REQUESTS.keys())
def test_two_spellings_are_one(kind: Descriptor) -> None:
    seen: set[str] = set()
    for choice in range(MOST_CHOICES):
        request = GetMessageClass(kind)()
        filled = set(_fill(request, choice))
        normalise(request)
        found = dict(_texts(request))
        assert set(found) == filled
        for field, text in found.items():
            assert text == (APART if field in VERBATIM else TOGETHER), field
        seen |= filled
    assert seen == {field.full_name for field in _fields(kind) if _is_words(field)}


def test_what_stays_as_it_comes_is_named() -> None:
    fields = [field for kind in REQUESTS.values() for field in _fields(kind)]
    assert set(VERBATIM) <= {field.full_name for field in fields}
    assert {field.message_type.full_name for field in fields if field.message_type and not _is_ours(field)} == set(
        OF_GOOGLE
    )
    assert len({field.full_name for field in fields if _is_words(field)}) > 120


def _is_words(field: FieldDescriptor) -> bool:
    return field.type == FieldDescriptor.TYPE_STRING and not is_id(field)


def _is_ours(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name.startswith("bulkhead.")


def _fields(kind: Descriptor) -> Iterator[FieldDescriptor]:
    for field in _own_fields(kind):
        yield field
        if field.message_type is not None and _is_ours(field):
            yield from _fields(field.message_type)


def _own_fields(message: Any) -> list[FieldDescriptor]:
    # Typed as one of two kinds of descriptor, which are alike.
    return list(message.fields)


def _fill(message: Message, choice: int) -> Iterator[str]:
    """Every text in every message, one in each list, and of each oneof the chosen field; which ones."""
    for field in _own_fields(message.DESCRIPTOR):
        among = field.containing_oneof.fields if field.containing_oneof else [field]
        assert len(among) <= MOST_CHOICES
        if among[choice % len(among)].name != field.name:
            continue
        holder: Any = getattr(message, field.name)
        if _is_words(field):
            if field.is_repeated:
                holder.append(APART)
            else:
                setattr(message, field.name, APART)
            yield field.full_name
        elif _is_ours(field):
            inner = holder.add() if field.is_repeated else holder
            inner.SetInParent()
            yield from _fill(inner, choice)


def _texts(message: Message) -> Iterator[tuple[str, str]]:
    for field, value in message.ListFields():
        for one in value if field.is_repeated else [value]:
            if _is_words(field):
                yield field.full_name, one
            elif _is_ours(field):
                yield from _texts(one)
