"""Between the messages of an import and what they bring. One item's faults are that item's own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from bulkhead.identity.v1 import membership_service_pb2
from bulkhead.issues.v1 import comment_pb2, import_pb2, import_service_pb2, issue_pb2, project_pb2
from bulkhead_kit import clock, texts, wire
from bulkhead_kit.errors import InvalidArgument
from google.protobuf.message import Message

from bulkhead_issues.importing.rules import (
    MAX_COMMENTS,
    MAX_ITEM_BYTES,
    MAX_LABELS,
    MOST_AHEAD,
    OPEN,
    Comment,
    Counts,
    Issue,
    Label,
    Options,
    Report,
)

_color = re.compile("#[0-9a-f]{6}").fullmatch


def options(message: import_service_pb2.ImportOptions) -> Options:
    return Options(message.project_id, message.source, message.dry_run)


def label(message: import_pb2.ImportLabel) -> Label:
    color = message.color.lower()
    if color and _color(color) is None:
        raise InvalidArgument.field("color", "must be # and six hexadecimal digits")
    return Label(_line(message.name, "name", 100), _text(message.description, "description", 1000), color)


class Comments:
    """Those of one item, read as they arrive. Behind a fault nothing more is kept: the item does not go in."""

    def __init__(self) -> None:
        self.held = 0
        """Bytes of the messages whose comments are kept."""
        self._read: list[Comment] = []
        self._fault: InvalidArgument | None = None

    def add(self, messages: Sequence[import_pb2.ImportComment], length: int) -> None:
        """`length`: the bytes of the message that brought them."""
        if self._fault is not None:
            return
        self.held += length
        try:
            if len(self._read) + len(messages) > MAX_COMMENTS:
                raise InvalidArgument.field("comments", f"must be at most {MAX_COMMENTS}")
            if self.held > MAX_ITEM_BYTES:
                raise InvalidArgument.field("comments", f"must have, with their issue, at most {MAX_ITEM_BYTES} bytes")
            for message in messages:
                self._read.append(_comment(message, f"comments[{len(self._read)}]."))
        except InvalidArgument as fault:
            self._fault = fault.with_traceback(None)
            self._read.clear()
            self.held = 0

    def all(self) -> list[Comment]:
        if self._fault is not None:
            raise self._fault
        return self._read


def issue(message: import_pb2.ImportIssue, comments: Comments) -> Issue:
    if not 1 <= message.number <= 999_999_999:
        raise InvalidArgument.field("number", "must be from 1 to 999,999,999")
    if len(message.label_names) > MAX_LABELS:
        raise InvalidArgument.field("label_names", f"must be at most {MAX_LABELS}")
    created_at = _time(message, "create_time", "")
    read = Issue(
        external_id=_line(message.external_id, "external_id", 500),
        number=message.number,
        type=_enum(message.type, issue_pb2.IssueType.values(), "type") or 1,
        title=_line(message.title, "title", 500),
        description=_text(message.description, "description", 100_000),
        priority=_enum(message.priority, project_pb2.Priority.values(), "priority"),
        state=message.state,
        author=_line(message.author, "author", 100),
        assignee=_line(message.assignee, "assignee", 100) if message.assignee else "",
        label_names=[_line(name, f"label_names[{i}]", 100) for i, name in enumerate(message.label_names)],
        created_at=created_at,
        updated_at=_time(message, "update_time", "", least=created_at),
        closed_at=_closed_at(message, created_at),
        comments=comments.all(),
        global_id=message.global_id,
    )
    names = [one.external_id for one in read.comments if one.external_id]
    if len(set(names)) != len(names):
        raise InvalidArgument.field("comments.external_id", "must be another for each comment")
    return read


def _closed_at(message: import_pb2.ImportIssue, created_at: datetime) -> datetime | None:
    if message.state not in import_pb2.ImportState.values()[1:]:
        raise InvalidArgument.field("state", "must be open, done or cancelled")
    if (message.state == OPEN) == message.HasField("close_time"):
        raise InvalidArgument.field("close_time", "must be set exactly when the issue is not open")
    return None if message.state == OPEN else _time(message, "close_time", "", least=created_at)


def _comment(message: import_pb2.ImportComment, path: str) -> Comment:
    created_at = _time(message, "create_time", path)
    body = _text(message.body, f"{path}body", 100_000)
    if not body.strip():
        raise InvalidArgument.field(f"{path}body", "must not be blank")
    return Comment(
        external_id=_line(message.external_id, f"{path}external_id", 500) if message.external_id else "",
        author=_line(message.author, f"{path}author", 100),
        body=body,
        visibility=_enum(message.visibility, comment_pb2.Visibility.values(), f"{path}visibility")
        or comment_pb2.VISIBILITY_EVERYONE,
        created_at=created_at,
        updated_at=_time(message, "update_time", path, least=created_at),
    )


def _line(text: str, field: str, longest: int) -> str:
    text = texts.name(text, field)
    if not 1 <= len(text) <= longest:
        raise InvalidArgument.field(field, f"must have 1 to {longest:,} characters")
    return text


def _text(text: str, field: str, longest: int) -> str:
    text = texts.optional_prose(text, field)
    if len(text) > longest:
        raise InvalidArgument.field(field, f"must have at most {longest:,} characters")
    return text


def _enum(value: int, known: Sequence[int], field: str) -> int:
    if value not in known:
        raise InvalidArgument.field(field, "is not a value of its enum")
    return value


def _time(message: Message, name: str, path: str, least: datetime | None = None) -> datetime:
    if not message.HasField(name):
        raise InvalidArgument.field(path + name, "must be set")
    moment = wire.to_datetime(getattr(message, name), path + name)
    if least is not None and moment < least:
        raise InvalidArgument.field(path + name, "must not be before create_time")
    if moment > clock.now() + MOST_AHEAD:
        raise InvalidArgument.field(path + name, "must not be in the future")
    return moment


def report(done: Report) -> import_service_pb2.ImportItemsResponse:
    return import_service_pb2.ImportItemsResponse(
        dry_run=done.dry_run,
        labels=_counts(done.labels),
        issues=_counts(done.issues),
        comments=_counts(done.comments),
        authors=len(done.people),
        failures=[
            import_pb2.ImportFailure(
                position=one.position, item=one.item[:100], reason=one.reason, message=one.message[:300]
            )
            for one in done.failures
        ],
        failures_left_out=done.failures_left_out,
    )


def _counts(counts: Counts) -> import_pb2.ImportCounts:
    return import_pb2.ImportCounts(created=counts.created, updated=counts.updated, unchanged=counts.unchanged)


def people_request(source: str, names: Sequence[str]) -> membership_service_pb2.ImportMembersRequest:
    return membership_service_pb2.ImportMembersRequest(
        external_source=source,
        authors=[
            membership_service_pb2.ImportMembersRequest.Author(external_id=name, display_name=name) for name in names
        ],
    )


def people(response: membership_service_pb2.ImportMembersResponse) -> dict[str, str]:
    """Users' ids by their names in the source."""
    return {member.external_id: member.user_id for member in response.members}
