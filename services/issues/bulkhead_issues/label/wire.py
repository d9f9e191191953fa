"""Between labels and their messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bulkhead.issues.v1 import label_pb2, label_service_pb2
from bulkhead_kit import texts, wire
from bulkhead_kit.etags import etag
from bulkhead_kit.masks import MutableFields

from bulkhead_issues.label.rules import DEFAULT_COLOR, LabelRow, NewLabel

_MUTABLE = MutableFields(label_pb2.Label, ["name", "description", "color"])


def label(row: LabelRow) -> label_pb2.Label:
    return label_pb2.Label(
        label_id=row.label_id,
        name=row.name,
        description=row.description,
        color=row.color,
        create_time=wire.timestamp(row.created_at),
        update_time=wire.timestamp(row.updated_at),
        archive_time=wire.timestamp(row.archived_at),
        etag=etag(row.version),
    )


def new_label(message: label_pb2.Label) -> NewLabel:
    return NewLabel(_name(message), _description(message), _color(message))


def changes(request: label_service_pb2.UpdateLabelRequest) -> dict[str, str]:
    """Column values to write."""
    message = request.label
    paths = _MUTABLE.to_write(message, request.update_mask)
    return {path: _READ[path](message) for path in paths}


def _color(message: label_pb2.Label) -> str:
    return message.color or DEFAULT_COLOR


def _name(message: label_pb2.Label) -> str:
    return texts.name(message.name, "label.name")


def _description(message: label_pb2.Label) -> str:
    return texts.optional_prose(message.description, "label.description")


_READ: Mapping[str, Callable[[label_pb2.Label], str]] = {"name": _name, "description": _description, "color": _color}
