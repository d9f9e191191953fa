"""One spelling for what can be written in several, given to a request before anybody compares it.

An id is the same in capitals, and a text is the same in Unicode's forms NFC and NFD. Rules (are the ids of a list
different?), the digest of a request_id, page tokens, filters and handlers all see small letters and NFC, so none of
them has to think of it. Which fields are ids, and which are kept as they come, is said by the contracts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from buf.validate import validate_pb2
from bulkhead.rpc.v1 import options_pb2
from google.protobuf.message import Message

if TYPE_CHECKING:
    from google._upb._message import Descriptor as UpbDescriptor
    from google._upb._message import FieldDescriptor as UpbFieldDescriptor
    from google.protobuf.descriptor import Descriptor, FieldDescriptor

_LENGTH: Final = 36
_OWN: Final = "bulkhead."


@dataclass(slots=True)
class Plan:
    """The fields of one kind of message that hold ids or texts, or messages with such in them."""

    ids: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    text_lists: tuple[str, ...] = ()
    inner: tuple[tuple[str, Plan], ...] = ()
    many: tuple[tuple[str, Plan], ...] = ()

    @property
    def is_empty(self) -> bool:
        return self == Plan()


_plans: dict[type[Message], Plan] = {}


def prepare(kinds: Iterable[type[Message]]) -> None:
    for kind in kinds:
        _plans[kind] = plan_of(kind.DESCRIPTOR)


def normalise(request: Message) -> None:
    """In place. What is no id in any spelling is left for the rules to refuse."""
    kind = type(request)
    plan = _plans.get(kind)
    if plan is None:
        plan = _plans[kind] = plan_of(kind.DESCRIPTOR)
    _apply(plan, request)


def plan_of(descriptor: Descriptor | UpbDescriptor, _above: frozenset[str] = frozenset()) -> Plan:
    plan = Plan()
    above = _above | {descriptor.full_name}
    for field in descriptor.fields:
        if is_id(field):
            if field.is_repeated:
                plan.lists += (field.name,)
            else:
                plan.ids += (field.name,)
        elif is_text(field):
            if field.is_repeated:
                plan.text_lists += (field.name,)
            else:
                plan.texts += (field.name,)
        elif (kind := field.message_type) is not None and kind.full_name.startswith(_OWN):
            if kind.full_name in above:
                raise ValueError(f"{kind.full_name} holds itself: plans are made for messages of a known depth")
            found = plan_of(kind, above)
            if found.is_empty:
                continue
            if field.is_repeated:
                plan.many += ((field.name, found),)
            else:
                plan.inner += ((field.name, found),)
    return plan


def is_id(field: FieldDescriptor | UpbFieldDescriptor) -> bool:
    """Whether the contract's rule for the field says that it holds a UUID."""
    options = field.GetOptions()
    if not options.HasExtension(validate_pb2.field):
        return False
    rules = options.Extensions[validate_pb2.field]
    return bool(rules.repeated.items.string.uuid if field.is_repeated else rules.string.uuid)


def is_text(field: FieldDescriptor | UpbFieldDescriptor) -> bool:
    return field.type == field.TYPE_STRING and not field.GetOptions().Extensions[options_pb2.verbatim]


def _apply(plan: Plan, message: Any) -> None:
    _write(message, plan.ids, _small)
    _write(message, plan.texts, _composed)
    for names, spelt in ((plan.lists, _small), (plan.text_lists, _composed)):
        for name in names:
            _write_list(getattr(message, name), spelt)
    for name, inner in plan.inner:
        if message.HasField(name):
            _apply(inner, getattr(message, name))
    for name, inner in plan.many:
        for one in getattr(message, name):
            _apply(inner, one)


def _write(message: Any, names: tuple[str, ...], spelt: Callable[[str], str]) -> None:
    for name in names:
        text = getattr(message, name)
        if text and (right := spelt(text)) != text:
            setattr(message, name, right)


def _write_list(texts: Any, spelt: Callable[[str], str]) -> None:
    for position, text in enumerate(texts):
        if (right := spelt(text)) != text:
            texts[position] = right


def _small(text: str) -> str:
    return text.lower() if len(text) == _LENGTH else text


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)
