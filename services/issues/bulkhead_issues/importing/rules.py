"""What an import brings, and what has to be done so that it is here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final

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
    def kind(self) -> str:
        """github, of github/owner/repository."""
        return self.source.partition("/")[0]

    @property
    def author_source(self) -> str:
        """github/owner/repository: a person of GitHub is the same in all its repositories."""
        return self.kind


@dataclass(frozen=True, slots=True)
class Label:
    name: str
    description: str
    color: str
    """Empty: the one that labels have when nobody chooses."""


@dataclass(frozen=True, slots=True)
class Comment:
    external_id: str
    """Empty: the source has none."""
    author: str
    body: str
    visibility: int
    created_at: datetime
    updated_at: datetime

    @property
    def digest(self) -> bytes:
        return _digest(self.author, self.body, self.visibility, self.created_at, self.updated_at)

    @property
    def body_digest(self) -> bytes:
        return hashlib.sha256(self.body.encode()).digest()


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
    global_id: bool = False
    """Nothing else in all sources of this kind has its external id."""

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


class Outcome(Enum):
    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


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

    def add_issue(self, outcome: Outcome, item: Issue, *, new: int, edited: int) -> None:
        """`new` and `edited`: how many comments."""
        self.issues.add(outcome)
        self.comments.add(Outcome.CREATED, new)
        self.comments.add(Outcome.UPDATED, edited)
        self.comments.add(Outcome.UNCHANGED, len(item.comments) - new - edited)
        self.people |= item.people

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
