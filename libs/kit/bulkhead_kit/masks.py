"""What an Update may write: update_mask read by the rules of AIP-134.

No mask: all fields that are set. `*`: every mutable field, set or not. A path that does not exist, or that an
Update may not write, is refused by name: leaving it out silently would look like success.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from bulkhead_kit.errors import FieldViolation, InvalidArgument

if TYPE_CHECKING:
    from google._upb._message import Descriptor as UpbDescriptor
    from google.protobuf.descriptor import Descriptor

_MAX_PATHS = 100


class MutableFields:
    """The paths of one message that an Update may write; checked against the message when loaded.

    A path may lead into a message ("branding.color"). A path that is itself a message is written as a whole.
    """

    def __init__(self, message: type[Message], paths: Iterable[str]) -> None:
        self._descriptor = message.DESCRIPTOR
        self.paths = frozenset(paths)
        self._cache: dict[str, frozenset[str]] = {}
        for path in self.paths:
            if not _exists(self._descriptor, path):
                raise ValueError(f"{self._descriptor.full_name} has no field {path}")

    def to_write(self, resource: Message, mask: FieldMask | None, field: str = "update_mask") -> frozenset[str]:
        """The mutable paths to write from the resource, which is the request's."""
        if mask is None or not mask.paths:
            return frozenset(path for path in self.paths if _is_set(resource, path))
        if len(mask.paths) > _MAX_PATHS:
            raise _refused(field, "", f"must have at most {_MAX_PATHS} paths")
        if "*" in mask.paths:
            if len(mask.paths) > 1:
                raise _refused(field, "*", "must be the only path: it stands for all of them")
            return self.paths
        return frozenset[str]().union(*(self._covered(path, field) for path in mask.paths))

    def _covered(self, path: str, field: str) -> frozenset[str]:
        known = self._cache.get(path)
        if known is not None:
            return known
        covered = frozenset(p for p in self.paths if p == path or p.startswith(path + "."))
        if not _exists(self._descriptor, path):
            raise _refused(field, path, "is not a field")
        if not covered:
            whole = next((p for p in self.paths if path.startswith(p + ".")), None)
            raise _refused(field, path, f"is written as a whole: use {whole}" if whole else "cannot be changed")
        # Only paths that exist get here, so the cache cannot outgrow the message.
        self._cache[path] = covered
        return covered


def _exists(descriptor: Descriptor | UpbDescriptor | None, path: str) -> bool:
    for name in path.split("."):
        found = descriptor.fields_by_name.get(name) if descriptor is not None else None
        if found is None:
            return False
        descriptor = None if found.is_repeated else found.message_type
    return True


def _is_set(message: Message, path: str) -> bool:
    *parents, last = path.split(".")
    for name in parents:
        if not message.HasField(name):
            return False
        message = getattr(message, name)
    field = message.DESCRIPTOR.fields_by_name[last]
    if field.has_presence:
        return message.HasField(last)
    value = getattr(message, last)
    return len(value) > 0 if field.is_repeated else value != field.default_value


def _refused(field: str, path: str, description: str) -> InvalidArgument:
    path = path[:100]
    text = f"{path!r} {description}" if path else description
    return InvalidArgument(
        ErrorReason.INVALID_UPDATE_MASK,
        f"{field}: {text}",
        metadata={"path": path},
        violations=[FieldViolation(field, text)],
    )
