"""An archive in the service's own terms: what will be sent, and what was counted."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bulkhead.issues.v1 import import_pb2, issue_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from bulkhead_cli.errors import MendableError
from bulkhead_cli.importing import github

# What the service refuses in texts, and people only have in them by accident.
_not_in_prose = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_not_in_line = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True)
class Archive:
    name: str
    """Of the repository."""
    labels: tuple[import_pb2.ImportLabel, ...]
    issues: tuple[import_pb2.ImportIssue, ...]
    """Pull requests too, in the order of their numbers."""
    pull_requests: int
    comments: int
    authors: frozenset[str]
    """Of issues, pull requests and comments."""
    reviews: int
    """Of pull requests; not taken."""

    @property
    def source(self) -> str:
        return f"github/{self.name}"

    def line(self) -> str:
        issues = len(self.issues) - self.pull_requests
        return (
            f"{self.name}: {issues} issues, {self.pull_requests} pull requests, {len(self.labels)} labels, "
            f"{self.comments} comments, {len(self.authors)} authors"
        )


def read(path: Path) -> Archive:
    """Raises MendableError when the file is not a whole and sound archive."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise MendableError(f"{path} cannot be read: {error.strerror}.", "name a file that is there.") from None
    except ValueError as error:
        raise MendableError(
            f"{path} is not whole JSON: {error}. Nothing was imported.", "fetch the archive again."
        ) from None
    try:
        return parse(content)
    except github.FormatError as error:
        raise MendableError(
            f"{path} is not a GitHub archive as it should be. Nothing was imported.\n{error}",
            "correct these places, or fetch the archive again.",
        ) from None


def parse(content: object) -> Archive:
    """Raises github.FormatError."""
    checked = github.check(content)
    items: list[github.Item] = sorted([*checked.issues, *checked.pulls], key=lambda item: item.number)
    return Archive(
        name=checked.repo,
        labels=tuple(_label(label) for label in checked.labels),
        issues=tuple(_issue(item) for item in items),
        pull_requests=len(checked.pulls),
        comments=sum(len(item.comments) for item in items),
        authors=frozenset(_authors(items)),
        reviews=sum(len(pull.reviews) for pull in checked.pulls),
    )


def _authors(items: Iterable[github.Item]) -> Iterator[str]:
    for item in items:
        yield item.author or github.GHOST
        yield from item.assignees[:1]
        for comment in item.comments:
            yield comment.author or github.GHOST


def _label(label: github.Label) -> import_pb2.ImportLabel:
    return import_pb2.ImportLabel(
        name=_line(label.name), description=_prose(label.description or ""), color=f"#{label.color.lower()}"
    )


def _issue(item: github.Item) -> import_pb2.ImportIssue:
    is_pull = isinstance(item, github.PullRequest)
    return import_pb2.ImportIssue(
        external_id=item.id,
        number=item.number,
        type=issue_pb2.ISSUE_TYPE_PULL_REQUEST if is_pull else issue_pb2.ISSUE_TYPE_TASK,
        title=_line(item.title) or "(without title)",
        description=_prose(item.body or ""),
        state=_state(item, is_pull=is_pull),
        author=item.author or github.GHOST,
        # GitHub has several; Bulkhead has one who answers for it.
        assignee=item.assignees[0] if item.assignees else "",
        label_names=dict.fromkeys(map(_line, item.labels)),
        create_time=_time(item.created_at),
        update_time=_time(item.updated_at),
        close_time=_time(item.resolved_at) if item.state != "OPEN" else None,
        comments=_comments(item),
    )


def _state(item: github.Item, *, is_pull: bool) -> import_pb2.ImportState.ValueType:
    if item.state == "OPEN":
        return import_pb2.IMPORT_STATE_OPEN
    if item.state == "MERGED" or not is_pull:
        return import_pb2.IMPORT_STATE_DONE
    return import_pb2.IMPORT_STATE_CANCELLED


def _comments(item: github.Item) -> Iterator[import_pb2.ImportComment]:
    """The format gives comments no ids: who said something on what, and when, is what stays the same."""
    same: Counter[str] = Counter()
    for comment in item.comments:
        author = comment.author or github.GHOST
        name = f"{item.id}/{comment.created_at.isoformat()}/{author}"
        same[name] += 1
        yield import_pb2.ImportComment(
            external_id=name if same[name] == 1 else f"{name}/{same[name]}",
            author=author,
            body=_prose(comment.body) if comment.body.strip() else "(empty)",
            create_time=_time(comment.created_at),
            update_time=_time(comment.updated_at),
        )


def _time(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def _line(text: str) -> str:
    return _not_in_line.sub(" ", text).strip()


def _prose(text: str) -> str:
    return _not_in_prose.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n").replace("\r", "\n"))
