"""Between issues and their messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from bulkhead.issues.v1 import issue_pb2, issue_service_pb2, project_pb2, workflow_pb2
from bulkhead_kit import canonical_json, texts, wire
from bulkhead_kit.etags import etag
from bulkhead_kit.ids import parse_id
from bulkhead_kit.masks import MutableFields
from bulkhead_kit.paging import text_bytes
from bulkhead_kit.structs import struct
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from bulkhead_issues.issue.rules import KEPT_AFTER_DELETION, TASK, ChangeRow, IssueRow, NewIssue, SpanRow
from bulkhead_issues.wire import metadata, metadata_bytes, moment, optional_id


def issue(row: IssueRow) -> issue_pb2.Issue:
    # Fifty times in a list, so: by keyword, from texts and integers, and what is mostly unset only if it is set.
    return issue_pb2.Issue(
        issue_id=row.issue_id,
        project_id=row.project_id,
        key=f"{row.project_key}-{row.number}",
        number=row.number,
        type=cast("issue_pb2.IssueType.ValueType", row.type),
        title=row.title,
        description=row.description,
        status_id=row.status_id,
        status_category=cast("workflow_pb2.StatusCategory.ValueType", row.status_category),
        priority=cast("project_pb2.Priority.ValueType", row.priority),
        reporter_id=row.reporter_id,
        spent_minutes=row.spent_minutes,
        create_time=moment(row.created_at),
        update_time=moment(row.updated_at),
        etag=etag(row.version),
        **_rest(row),
    )


def _rest(row: IssueRow) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if row.assignee_id is not None:
        fields["assignee_id"] = row.assignee_id
    if row.parent_id is not None:
        fields["parent_id"] = row.parent_id
    if row.label_ids is not None:
        fields["label_ids"] = row.label_ids.split(",")
    if row.estimate_minutes is not None:
        fields["estimate_minutes"] = row.estimate_minutes
    if row.start_at is not None:
        fields["start_time"] = moment(row.start_at)
    if row.due_at is not None:
        fields["due_time"] = moment(row.due_at)
    if row.resolved_at is not None:
        fields["resolve_time"] = moment(row.resolved_at)
    if row.breached_at is not None:
        fields["breach_time"] = moment(row.breached_at)
    if row.metadata is not None:
        fields["metadata"] = struct(row.metadata)
    if row.external_id is not None:
        fields |= {"external_source": row.external_source, "external_id": row.external_id}
    if row.deleted_at is not None:
        purged_at = row.deleted_at + KEPT_AFTER_DELETION
        fields |= {"delete_time": moment(row.deleted_at), "purge_time": moment(purged_at)}
    return fields


def weight(row: IssueRow) -> int:
    long = (row.title, row.description, row.label_ids, row.external_source, row.external_id)
    return text_bytes(long) + metadata_bytes(row.metadata)


def span(row: SpanRow) -> issue_pb2.StatusSpan:
    return issue_pb2.StatusSpan(
        seq=row.seq,
        status_id=row.status_id,
        enter_time=wire.timestamp(row.entered_at),
        leave_time=wire.timestamp(row.left_at),
        changed_by_id=row.changed_by or "",
    )


def _told(field: str, value: str | None) -> str | None:
    """As the audit log tells it, which is the contract's JSON; the table holds bare numbers of enums."""
    if value is None:
        return None
    if field in _ENUMS:
        return _ENUMS[field](int(value))
    if field == "metadata":
        return canonical_json.canonical(canonical_json.parse(value))
    return value


_ENUMS: Mapping[str, Callable[[int], str]] = {
    "type": lambda number: issue_pb2.IssueType.Name(cast("issue_pb2.IssueType.ValueType", number)),
    "priority": lambda number: project_pb2.Priority.Name(cast("project_pb2.Priority.ValueType", number)),
}


def change(row: ChangeRow) -> issue_pb2.IssueChange:
    return issue_pb2.IssueChange(
        change_time=wire.timestamp(row.changed_at),
        changed_by_id=row.changed_by or "",
        field=row.field,
        old_value=_told(row.field, row.old_value),
        new_value=_told(row.field, row.new_value),
    )


def new_issue(message: issue_pb2.Issue) -> NewIssue:
    return NewIssue(
        project_id=parse_id(message.project_id, "issue.project_id"),
        status_id=optional_id(message, "status_id", "issue"),
        assignee_id=optional_id(message, "assignee_id", "issue"),
        label_ids=[parse_id(text, f"issue.label_ids[{i}]") for i, text in enumerate(message.label_ids)],
        values={column: read(message) for column, read in _READ.values()},
    )


def changes(request: issue_service_pb2.UpdateIssueRequest) -> dict[str, object]:
    """Column values to write."""
    paths = _MUTABLE.to_write(request.issue, request.update_mask)
    return {column: read(request.issue) for column, read in map(_READ.__getitem__, paths)}


def _title(message: issue_pb2.Issue) -> str:
    return texts.name(message.title, "issue.title")


def _time(field: str) -> Callable[[Message], object]:
    def read(message: Message) -> object:
        if not message.HasField(field):
            return None
        stamp: Timestamp = getattr(message, field)
        return wire.to_datetime(stamp, f"issue.{field}")

    return read


_READ: Mapping[str, tuple[str, Callable[[issue_pb2.Issue], object]]] = {
    "type": ("type", lambda m: m.type or TASK),
    "title": ("title", _title),
    "description": ("description", lambda m: texts.optional_prose(m.description, "issue.description")),
    "priority": ("priority", lambda m: m.priority),
    "parent_id": ("parent_id", lambda m: optional_id(m, "parent_id", "issue")),
    "estimate_minutes": (
        "estimate_minutes",
        lambda m: m.estimate_minutes if m.HasField("estimate_minutes") else None,
    ),
    "spent_minutes": ("spent_minutes", lambda m: m.spent_minutes),
    "start_time": ("start_at", _time("start_time")),
    "due_time": ("due_at", _time("due_time")),
    "metadata": ("metadata", lambda m: metadata(m.metadata, "issue.metadata") if m.HasField("metadata") else {}),
}
_MUTABLE = MutableFields(issue_pb2.Issue, _READ)
