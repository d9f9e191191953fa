"""The fields of a request by their paths, and putting a value into one of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from buf.validate import validate_pb2
from bulkhead.rpc.v1 import options_pb2
from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from tests.isolation.samples import Request
from tests.support.client import message_class


@dataclass(frozen=True)
class Place:
    """A field that a client may fill, wherever in the request it stands."""

    path: tuple[FieldDescriptor, ...]

    def __str__(self) -> str:
        """As a BadRequest names it: `events[0].actor_id`."""
        return ".".join(f"{field.name}[0]" if field.is_repeated else field.name for field in self.path)

    @property
    def field(self) -> FieldDescriptor:
        return self.path[-1]

    @property
    def is_id(self) -> bool:
        rules = self.field.GetOptions().Extensions[validate_pb2.field]
        return bool(
            self.field.GetOptions().Extensions[options_pb2.refers_to]
            or rules.string.uuid
            or rules.repeated.items.string.uuid
        )

    @property
    def is_text(self) -> bool:
        return bool(self.field.type == FieldDescriptor.TYPE_STRING and not self.is_id)

    @property
    def is_enum(self) -> bool:
        return bool(self.field.type == FieldDescriptor.TYPE_ENUM)

    def holds(self, name: str) -> bool:
        """A message of that type, such as google.protobuf.Struct."""
        return self.field.message_type is not None and self.field.message_type.full_name == name

    def put(self, request: Request, value: Any) -> Request:
        """A copy of the request with the value in this field; where the field is a list, its only element."""
        made = copy.deepcopy(request)
        message = _carrier(made, self.path[0]) if isinstance(made, list) else made
        for field in self.path[:-1]:
            inner: Any = getattr(message, field.name)
            message = (inner[0] if inner else inner.add()) if field.is_repeated else inner
        if self.field.is_repeated:
            message.ClearField(self.field.name)
            getattr(message, self.field.name).append(value)
        elif isinstance(value, Message):
            getattr(message, self.field.name).CopyFrom(value)
        else:
            setattr(message, self.field.name, value)
        return made


def _carrier(stream: list[Message], first: FieldDescriptor) -> Message:
    """Of a stream's messages the one with that field, or a new one behind them."""
    for message in stream:
        if message.HasField(first.name):
            return message
    stream.append(message_class(stream[0].DESCRIPTOR.full_name)())
    return stream[-1]


def places(method: MethodDescriptor) -> list[Place]:
    """Those of Google's messages, such as times, are one place each."""
    return list(_places(method.input_type, ()))


def _places(message: Descriptor, above: tuple[FieldDescriptor, ...]) -> Iterator[Place]:
    for field in message.fields:
        if field_behavior_pb2.OUTPUT_ONLY in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]:
            continue
        if field.message_type is None or field.message_type.full_name.startswith("google."):
            yield Place((*above, field))
        else:
            yield from _places(field.message_type, (*above, field))


def named(method: MethodDescriptor, name: str) -> Place | None:
    """The request's own field of that name."""
    field = method.input_type.fields_by_name.get(name)
    return None if field is None else Place((field,))
