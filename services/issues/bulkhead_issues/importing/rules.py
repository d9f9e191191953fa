"""What an import brings, and what has to be done so that it is here."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final, NamedTuple

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit.errors import Aborted, AlreadyExists, DomainError, FailedPrecondition, InvalidArgument

MAX_COMMENTS: Final = 20_000
"""Of one issue, which goes in as a whole or not at all."""
MAX_LABELS: Final = 100
"""Of one issue, as everywhere."""
MOST_AHEAD: Final = timedelta(hours=1)
"""By which a source's clock may be fast; the database says the same. What is far ahead would be the latest for good."""
MAX_ITEM_BYTES: Final = 32 * 1024 * 1024
"""Of one issue's messages, as all of it is in memory at once. Twenty thousand comments of usual length fit in."""
MAX_FAILURES: Final = 500
"""Named in a report, which has to fit into one message."""

OPEN, DONE, CANCELLED = 1, 2, 3
"""States, with the numbers of the contract."""
CATEGORY_OF: Final[Mapping[int, int]] = {DONE: 4, CANCELLED: 5}
"""The category of status in which an issue that is not open ends."""


@dataclass(frozen=True, slots=True)
class Options:
    project_id: str
    source: str
    dry_run: bool

    @property
    def author_source(self) -> str:
        """github/owner/repository: a person of GitHub is the same in all its repositories."""
        return self.source.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Label:
    name: str
    description: str
    color: str
    """Empty: the one that labels have when nobody chooses."""


@dataclass(frozen=True, slots=True)
class Comment:
    external_id: str
    author: str
    body: str
    visibility: int
    created_at: datetime
    updated_at: datetime

    @property
    def digest(self) -> bytes:
        return _digest(self.author, self.body, self.visibility, self.created_at, self.updated_at)


@dataclass(frozen=True, slots=True)
class Issue:
    external_id: str
    number: int
    type: int
    title: str
    description: str
    priority: int
    state: int
    author: str
    assignee: str
    label_names: Sequence[str]
    created_at: datetime
    updated_at: datetime
    closed_at: datetime | None
    comments: Sequence[Comment]

    @property
    def digest(self) -> bytes:
        """Of everything but the comments, which have their own."""
        return _digest(
            self.number,
            self.type,
            self.title,
            self.description,
            self.priority,
            self.state,
            self.author,
            self.assignee,
            sorted(self.label_names),
            self.created_at,
            self.updated_at,
            self.closed_at,
        )

    @property
    def people(self) -> set[str]:
        return {self.author, *(comment.author for comment in self.comments)} | ({self.assignee} - {""})


def _digest(*values: Any) -> bytes:
    text = json.dumps(values, default=datetime.isoformat, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


def label_key(name: str) -> str:
    """As the table compares names: without case and width."""
    return unicodedata.normalize("NFKC", name).lower()


class IssueHere(NamedTuple):
    """An issue that the source's item may be."""

    issue_id: str
    project_id: str
    external_source: str | None
    external_id: str | None
    external_digest: bytes | None
    status_category: int
    deleted_at: int | None


class CommentHere(NamedTuple):
    comment_id: str
    issue_id: str
    external_id: str
    external_digest: bytes | None
    visibility: int
    deleted_at: int | None


class Outcome(Enum):
    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to be done so that one issue is as the source says."""

    item: Issue
    issue_id: str | None
    """None: it is not here yet."""
    fields: bool
    """Its fields and labels have to be written."""
    moves: bool
    """It has to change between open and resolved."""
    new_comments: Sequence[Comment]
    edited_comments: Sequence[tuple[str, Comment]]
    """With their ids here."""

    @property
    def outcome(self) -> Outcome:
        if self.issue_id is None:
            return Outcome.CREATED
        changed = self.fields or self.new_comments or self.edited_comments
        return Outcome.UPDATED if changed else Outcome.UNCHANGED


def plan(options: Options, item: Issue, found: Sequence[IssueHere], comments: Sequence[CommentHere]) -> Plan:
    """`found`: the issues here with the item's external id or with its number."""
    here = next(
        (one for one in found if (one.external_source, one.external_id) == (options.source, item.external_id)), None
    )
    if here is None:
        if found:
            raise AlreadyExists.field("number", f"another issue of the project has number {item.number}")
        return Plan(item, None, fields=True, moves=item.state != OPEN, new_comments=item.comments, edited_comments=())
    if here.project_id != options.project_id:
        raise AlreadyExists.field("external_id", "the issue was imported into another project")
    if here.deleted_at is not None:
        # Whoever deleted it here does not want it back by the next import.
        return Plan(item, here.issue_id, fields=False, moves=False, new_comments=(), edited_comments=())
    known = {comment.external_id: comment for comment in comments}
    if any(comment.issue_id != here.issue_id for comment in comments):
        raise AlreadyExists.field("comments.external_id", "a comment was imported into another issue")
    # Whoever deleted a comment here does not want it back either.
    both = [
        (known[comment.external_id], comment)
        for comment in item.comments
        if comment.external_id in known and known[comment.external_id].deleted_at is None
    ]
    for comment_here, comment in both:
        if comment_here.visibility != comment.visibility:
            # A text meant for few must not replace one that everyone reads.
            raise InvalidArgument.field(
                "comments.visibility", f"comment {comment.external_id[:100]} is here with another, which never changes"
            )
    fields = here.external_digest != item.digest
    return Plan(
        item,
        here.issue_id,
        fields=fields,
        moves=fields and (here.status_category in CATEGORY_OF.values()) != (item.state != OPEN),
        new_comments=[comment for comment in item.comments if comment.external_id not in known],
        edited_comments=[
            (comment_here.comment_id, comment)
            for comment_here, comment in both
            if comment_here.external_digest != comment.digest
        ],
    )


@dataclass(frozen=True, slots=True)
class Failure:
    position: int
    item: str
    reason: str
    message: str


@dataclass(slots=True)
class Counts:
    created: int = 0
    updated: int = 0
    unchanged: int = 0

    def add(self, outcome: Outcome, number: int = 1) -> None:
        setattr(self, outcome.value, getattr(self, outcome.value) + number)


@dataclass(slots=True)
class Report:
    dry_run: bool
    labels: Counts = field(default_factory=Counts)
    issues: Counts = field(default_factory=Counts)
    comments: Counts = field(default_factory=Counts)
    people: set[str] = field(default_factory=set)
    failures: list[Failure] = field(default_factory=list)
    failures_left_out: int = 0

    def add_issue(self, done: Plan) -> None:
        self.issues.add(done.outcome)
        new, edited = len(done.new_comments), len(done.edited_comments)
        self.comments.add(Outcome.CREATED, new)
        self.comments.add(Outcome.UPDATED, edited)
        self.comments.add(Outcome.UNCHANGED, len(done.item.comments) - new - edited)
        self.people |= done.item.people

    def add_failure(self, position: int, item: str, error: DomainError) -> None:
        if len(self.failures) < MAX_FAILURES:
            self.failures.append(Failure(position, item, error.reason_name, error.message))
        else:
            self.failures_left_out += 1


def is_of_item(error: DomainError) -> bool:
    """Whether the error is the item's own, so that the next ones can go in; any other ends the import."""
    if isinstance(error, FailedPrecondition):
        return error.reason != ErrorReason.TENANT_SUSPENDED
    return isinstance(error, InvalidArgument | AlreadyExists | Aborted)
