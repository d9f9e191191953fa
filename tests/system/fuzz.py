"""Requests by chance: noise, broken messages, messages of random fields, and good requests with a few fields bent.

Ids are mostly real, texts mostly short and times mostly possible, so that chance gets past the first check.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from tests.isolation.samples import Request
from tests.support.client import message_class
from tests.system.calls import Raw
from tests.system.fields import places

TEXTS = ["", " ", "a", "me", "*", "\0", "\n", "\x1b[0m", "'", '"', "%", "_", "\\", "null", "0", "-1", "[]", "{}", "🛟"]
LETTERS = "abcXYZ019 _-.:%'\"\\\n\t\0\x7f\u0301\u202e\ufeffßİı漢🛟"
NUMBERS = [0, 1, -1, 2, 7, 50, 200, 201, 10_000_000, 2**31 - 1, -(2**31)]
SECONDS = [0, 1_700_000_000, 1_800_000_000, -62_135_596_800, 253_402_300_799, 253_402_300_800, 2**63 - 1, -(2**63)]
WORDS = [
    *("AND", "OR", "NOT", "-", "(", ")", "=", "!=", "<", "<=", ">", ">=", ":", ":*", ",", '"', "'", "\\"),
    *("number", "title", "priority", "type", "label_id", "assignee_id", "status_category", "due_time", "create_time"),
    *("actor_id", "action", "entity_type", "entity_id", "project_id", "occur_time", "outcome", "field"),
    *("me", "1", "99999999999999999999", "HIGH", "BUG", "DONE", "*", '"a*"', '"2026-11-20T00:00:00Z"', "issue.created"),
]

Sent = Request | Raw | list[Raw]
Way = Callable[[MethodDescriptor, Request], Sent]


class Fuzz:
    def __init__(self, rng: random.Random, ids: Sequence[str]) -> None:
        self.rng = rng
        self.ids = ids

    def request(self, method: MethodDescriptor, good: Request) -> Sent:
        ways: list[Way] = [self._noise, self._broken, self._random, self._bent]
        (way,) = self.rng.choices(ways, weights=[1, 2, 3, 6])
        return way(method, good)

    def _noise(self, method: MethodDescriptor, _good: Request) -> Raw | list[Raw]:
        return self._raw(method, [self.rng.randbytes(self.rng.randrange(200)) for _ in range(self.rng.randrange(3))])

    def _broken(self, method: MethodDescriptor, good: Request) -> Raw | list[Raw]:
        """The bytes of a good request, some of them changed, left out or doubled."""
        found = [message.SerializeToString() for message in (good if isinstance(good, list) else [good])]
        return self._raw(method, [self._damaged(one) for one in found])

    def _raw(self, method: MethodDescriptor, found: list[bytes]) -> Raw | list[Raw]:
        if method.client_streaming:
            return [Raw(one) for one in found]
        return Raw(found[0] if found else b"")

    def _damaged(self, raw: bytes) -> bytes:
        made = bytearray(raw or b"\0")
        for _ in range(self.rng.randint(1, 4)):
            at = self.rng.randrange(len(made) + 1)
            change = self.rng.randrange(3)
            if change == 0:
                made[at : at + 1] = self.rng.randbytes(1)
            elif change == 1:
                del made[at : at + self.rng.randint(1, 8)]
            else:
                made[at:at] = made[at : at + self.rng.randint(1, 40)]
        return bytes(made)

    def _random(self, method: MethodDescriptor, _good: Request) -> Request:
        count = self.rng.randrange(5) if method.client_streaming else 1
        made = [self.message(method.input_type) for _ in range(count)]
        return made if method.client_streaming else made[0]

    def _bent(self, method: MethodDescriptor, good: Request) -> Request:
        found = places(method)
        for place in self.rng.sample(found, min(len(found), self.rng.randint(0, 2))):
            good = place.put(good, self.value(place.field))
        return good

    def message(self, descriptor: Descriptor, depth: int = 0) -> Message:
        made = message_class(descriptor.full_name)()
        for field in descriptor.fields:
            if self.rng.random() < 0.5 or depth > 4:
                continue
            if field.is_repeated:
                values = [self.value(field, depth) for _ in range(self.rng.choice([1, 1, 2, 3, 120]))]
                getattr(made, field.name).extend(values)
            elif field.message_type is not None:
                getattr(made, field.name).CopyFrom(self.value(field, depth))
            else:
                setattr(made, field.name, self.value(field, depth))
        return made

    def value(self, field: FieldDescriptor, depth: int = 0) -> Any:
        """One value for the field, or for an element of it."""
        if field.message_type is not None:
            return self._message(field.message_type, depth)
        if field.type == FieldDescriptor.TYPE_STRING:
            return self._text(field.name)
        if field.type == FieldDescriptor.TYPE_BOOL:
            return self.rng.random() < 0.5
        if field.type == FieldDescriptor.TYPE_ENUM:
            return self.rng.choice([0, 1, 2, 3, 4, 5, 6, 99, -1, 2**31 - 1])
        if field.type == FieldDescriptor.TYPE_BYTES:
            return self.rng.randbytes(self.rng.randrange(50))
        return self.rng.choice(NUMBERS)

    def _message(self, descriptor: Descriptor, depth: int) -> Message:
        if descriptor.full_name == "google.protobuf.Timestamp":
            return Timestamp(seconds=self.rng.choice(SECONDS), nanos=self.rng.choice([0, 0, 1, 999_999_999, -1]))
        if descriptor.full_name == "google.protobuf.Struct":
            return self._struct(depth)
        return self.message(descriptor, depth + 1)

    def _struct(self, depth: int) -> Struct:
        values = [
            Value(string_value=self._text("")),
            Value(number_value=self.rng.choice([0.5, 1e308, float("nan"), 2.0**60])),
            Value(null_value=0),  # type: ignore[arg-type]  # the stubs want the enum's own type
            Value(list_value=ListValue(values=[Value(bool_value=True)] * self.rng.randrange(3))),
            Value(),
        ]
        if depth < 20 and self.rng.random() < 0.7:
            values.append(Value(struct_value=self._struct(depth + 1)))
        return Struct(fields={self._text(""): self.rng.choice(values) for _ in range(self.rng.randrange(4))})

    def _text(self, name: str) -> str:
        what = self.rng.random()
        if name.endswith(("_id", "_ids")) and what < 0.8:
            return self.rng.choice(self.ids)
        if name in {"filter", "order_by"} and what < 0.8:
            return " ".join(self.rng.choice(WORDS) for _ in range(self.rng.randint(1, 9)))
        if name in {"paths", "field"} and what < 0.8:
            return self.rng.choice(["title", "name", "body", "metadata", "due_time", "parent_id", "*"])
        if what < 0.9:
            return self.rng.choice([*TEXTS, *self.ids])
        return "".join(self.rng.choices(LETTERS, k=self.rng.choice([1, 5, 64, 501, 3000])))
