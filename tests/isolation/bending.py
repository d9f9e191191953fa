"""Finding the ids in a request and putting others in their place."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

from bulkhead.rpc.v1 import options_pb2
from bulkhead_kit.ids import new_id
from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message

from tests.isolation.samples import Request

NAMES = {
    # Fields that name a thing without being an id: what kind of name it is, and one that nobody has.
    "bulkhead.issues.v1.GetIssueRequest.key": ("issue key", "ZZZ9-999"),
    "bulkhead.issues.v1.GetProjectRequest.key": ("project key", "ZZZ9"),
    "bulkhead.issues.v1.ImportOptions.source": ("import source", "nobody"),
    "bulkhead.issues.v1.ImportLabel.name": ("label name", "nobody's label"),
}
TOGETHER = {"bulkhead.issues.v1.ImportLabel.name": ("issue", "label_names")}
"""A later message of the stream says the name again."""


@dataclass(frozen=True)
class IdField:
    path: tuple[str, ...]
    kind: str
    """What it refers to."""
    repeated: bool
    unknown: str = ""
    """One that nobody has; a new id where it is empty."""
    also: IdField | None = None
    """Gets the same value."""

    def __str__(self) -> str:
        return ".".join(self.path)

    def names_what_is_made(self, method: MethodDescriptor) -> bool:
        """A client may choose the id of what it creates; then a new id is the right one."""
        return method.name.startswith("Create") and self.path[-1] == f"{self.path[0]}_id"


def id_fields(message: Descriptor, above: tuple[str, ...] = ()) -> Iterator[IdField]:
    for field in message.fields:
        options = field.GetOptions()
        path = (*above, field.name)
        if field_behavior_pb2.OUTPUT_ONLY in options.Extensions[field_behavior_pb2.field_behavior]:
            continue
        kind = options.Extensions[options_pb2.refers_to]
        if kind:
            yield IdField(path, kind, field.is_repeated)
        elif field.full_name in NAMES:
            kind, unknown = NAMES[field.full_name]
            again = TOGETHER.get(field.full_name)
            also = IdField(again, kind, repeated=True) if again else None
            yield IdField(path, kind, field.is_repeated, unknown, also)
        elif field.message_type is not None and not field.message_type.full_name.startswith("google."):
            yield from id_fields(field.message_type, path)


def bend(request: Request, field: IdField, value: str) -> Request:
    """A copy with another id in that field."""
    bent = copy.deepcopy(request)
    for each in (field, field.also) if field.also else (field,):
        for message in bent if isinstance(bent, list) else [bent]:
            # Of a stream's messages only the one that has the field.
            if not isinstance(bent, list) or message.HasField(each.path[0]):
                _put(message, each, value)
    if field.also and isinstance(bent, list):
        # The name would be known in our tenant from then on, and the next probe could not tell.
        setattr(getattr(bent[0], "options"), "dry_run", True)  # noqa: B009, B010 - not every message has them
    return bent


def _put(message: Message, field: IdField, value: str) -> None:
    *above, last = field.path
    for name in above:
        inner = getattr(message, name)
        message = inner if isinstance(inner, Message) else inner[0]
    if field.repeated:
        del getattr(message, last)[:]
        getattr(message, last).append(value)
    else:
        setattr(message, last, value)


def as_new(request: Request) -> Request:
    """With a request_id of its own, where there is one: or the second of two calls would be a repeat."""
    made = copy.deepcopy(request)
    for message in made if isinstance(made, list) else [made]:
        if "request_id" in message.DESCRIPTOR.fields_by_name:
            setattr(message, "request_id", str(new_id()))  # noqa: B010 - not every message has the field
    return made
