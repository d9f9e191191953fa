"""The static rules of the contracts (buf.validate), checked before a handler runs.

Rules that need a database or a caller are the slices' own. One without rules costs a look-up.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import protovalidate
from buf.validate import validate_pb2
from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from google.protobuf.message import Message

from bulkhead_kit.errors import FieldViolation, InvalidArgument

if TYPE_CHECKING:
    from google._upb._message import Descriptor as UpbDescriptor
    from google.protobuf.descriptor import Descriptor

_MAX_REPORTED = 20
"""An error travels in trailers of at most 8 KB; the rest is counted."""
_MAX_PATH = 200
_LARGE = 16_384
"""Bytes of a request above which the first broken rule is enough."""
_MANY = 200
"""Entries of a list above which it is enough, too: 5,300 ids of one letter would take 140 ms."""

_validator = protovalidate.Validator()
_with_rules: dict[type[Message], bool] = {}


def validate(request: Message) -> None:
    """Raises InvalidArgument with a violation per broken rule, each with the path of its field."""
    kind = type(request)
    needed = _with_rules.get(kind)
    if needed is None:
        needed = _with_rules[kind] = has_rules(kind.DESCRIPTOR)
    if not needed:
        return
    try:
        # A large message can break a rule in every one of its items; gathering all of them would hold the loop for
        # half a minute.
        _validator.validate(request, fail_fast=request.ByteSize() > _LARGE or _holds_many(request))
    except protovalidate.ValidationError as error:
        raise _refusal(error.violations) from None


def _holds_many(message: Message) -> bool:
    """Lists of lists are found by their bytes."""
    for field, value in message.ListFields():
        if field.is_repeated:
            if len(value) > _MANY:
                return True
        elif field.message_type is not None and _holds_many(value):
            return True
    return False


def prepare(kinds: Iterable[type[Message]]) -> None:
    """Compiles the rules at start: a rule that does not compile stops the server instead of every call."""
    for kind in kinds:
        _with_rules[kind] = has_rules(kind.DESCRIPTOR)
        if _with_rules[kind]:
            _validator.collect_violations(kind())


def has_rules(descriptor: Descriptor | UpbDescriptor) -> bool:
    """Whether the message, or any message that can be inside it, states a rule."""
    seen: set[str] = set()
    waiting: list[Descriptor | UpbDescriptor] = [descriptor]
    while waiting:
        message = waiting.pop()
        if message.full_name in seen:
            continue
        seen.add(message.full_name)
        if message.GetOptions().HasExtension(validate_pb2.message):
            return True
        if any(oneof.GetOptions().HasExtension(validate_pb2.oneof) for oneof in message.oneofs):
            return True
        for field in message.fields:
            if field.GetOptions().HasExtension(validate_pb2.field):
                return True
            if field.message_type is not None:
                waiting.append(field.message_type)
    return False


def _refusal(broken: Iterable[protovalidate.Violation]) -> InvalidArgument:
    violations = [FieldViolation(_path(one), one.proto.message or one.proto.rule_id) for one in broken]
    first, more = violations[0], len(violations) - 1
    text = f"{first.field}: {first.description}" if first.field else first.description
    if more:
        text += f" (and {more} more)"
    return InvalidArgument(ErrorReason.INVALID_FIELD, text, violations=violations[:_MAX_REPORTED])


def _path(violation: protovalidate.Violation) -> str:
    """As in google.rpc.BadRequest: `issue.labels[2]`, `settings["color"]`; empty for the whole message."""
    path = ""
    for element in violation.proto.field.elements if violation.proto.field else ():
        path += f".{element.field_name}" if path else element.field_name
        if element.subscript is not None:
            value = element.subscript.value
            path += f'["{value}"]' if isinstance(value, str) else f"[{value}]"
    return path if len(path) <= _MAX_PATH else path[:_MAX_PATH] + "..."
