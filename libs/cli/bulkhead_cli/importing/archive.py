"""An archive in the service's own terms: what will be sent, and what was counted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from bulkhead.issues.v1 import import_pb2, issue_pb2

from bulkhead_cli.errors import MendableError
from bulkhead_cli.importing import github, texts
from bulkhead_cli.importing.items import Reading
from bulkhead_cli.importing.repairs import Repairs

TWICE = "items that are there twice, the later taken"


@dataclass(frozen=True)
class Archive:
    name: str
    """Of the repository."""
    source: str
    """What the service knows the items by, with their ids."""
    labels: tuple[import_pb2.ImportLabel, ...]
    """Those of the list, and those that only items have."""
    issues: tuple[import_pb2.ImportIssue, ...]
    """Pull requests too, in the order of their numbers."""
    pull_requests: int
    comments: int
    authors: frozenset[str]
    """Of issues, pull requests and comments."""
    reviews: int
    """Of pull requests; not taken."""
    repairs: Repairs = field(default_factory=Repairs)

    def line(self) -> str:
        issues = len(self.issues) - self.pull_requests
        return (
            f"{self.name}: {issues} issues, {self.pull_requests} pull requests, {len(self.labels)} labels, "
            f"{self.comments} comments, {len(self.authors)} authors"
        )

    def under(self, source: str) -> Archive:
        """The same, with a source that somebody names."""
        return replace(self, source=source)


def read(path: Path) -> Archive:
    """Raises MendableError when the file is not a whole and sound archive."""
    repairs = Repairs()
    try:
        content = json.loads(_decoded(path.read_bytes(), repairs))
    except OSError as error:
        raise MendableError(f"{path} cannot be read: {error.strerror}.", "name a file that is there.") from None
    except (ValueError, RecursionError) as error:
        raise MendableError(
            f"{path} is not whole JSON: {error}. Nothing was imported.", "fetch the archive again."
        ) from None
    try:
        return parse(content, repairs)
    except github.FormatError as error:
        raise MendableError(
            f"{path} is not a GitHub archive as it should be. Nothing was imported.\n{error}",
            "correct these places, or fetch the archive again.",
        ) from None


def _decoded(data: bytes, repairs: Repairs) -> str:
    encoding = json.detect_encoding(data)
    try:
        text = data.decode(encoding, "surrogatepass")
    except UnicodeDecodeError as error:
        repairs.note(texts.SURROGATE, f"byte {error.start} of the file")
        text = data.decode(encoding, "replace")
    return text


def parse(content: object, repairs: Repairs | None = None) -> Archive:
    """Raises github.FormatError."""
    repairs = Repairs() if repairs is None else repairs
    checked = github.check(texts.whole(content, repairs))
    reading = Reading(repairs)
    reading.take_labels(checked.labels)
    items = sorted([*(checked.issues or ()), *(checked.pulls or ())], key=lambda item: item.number)
    issues = _once([reading.issue(item) for item in items], repairs)
    return Archive(
        name=checked.repo,
        source=f"github/{checked.repo}",
        labels=tuple(reading.labels.values()),
        issues=issues,
        pull_requests=sum(issue.type == issue_pb2.ISSUE_TYPE_PULL_REQUEST for issue in issues),
        comments=sum(len(issue.comments) for issue in issues),
        authors=frozenset(_authors(issues)),
        reviews=sum(len(pull.reviews) for pull in checked.pulls or ()),
        repairs=repairs,
    )


def _once(issues: Iterable[import_pb2.ImportIssue], repairs: Repairs) -> tuple[import_pb2.ImportIssue, ...]:
    """Of an item that is there twice, the one that was changed last."""
    found: dict[tuple[int, str], import_pb2.ImportIssue] = {}
    for issue in issues:
        name = (issue.number, issue.external_id)
        other = found.get(name)
        if other is not None:
            repairs.note(TWICE, f"#{issue.number}")
        if other is None or other.update_time.ToNanoseconds() <= issue.update_time.ToNanoseconds():
            found[name] = issue
    return tuple(found.values())


def _authors(issues: Iterable[import_pb2.ImportIssue]) -> Iterator[str]:
    for issue in issues:
        yield issue.author
        if issue.assignee:
            yield issue.assignee
        yield from (comment.author for comment in issue.comments)
