"""Labels, issues and comments as the service takes them, each from what the archive says of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

from bulkhead.issues.v1 import import_pb2, issue_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from bulkhead_cli.importing import github, nodes, texts
from bulkhead_cli.importing.repairs import Repairs

ADDED = "labels added that only items have"
SAME = "labels that read the same, taken as one"
COLOR = "colors that are none, left to the default"
STATE = "states nobody knows, told by the times"
TIMES = "times missing or before the beginning, moved"

_color = re.compile("#?([0-9A-Fa-f]{6})").fullmatch


class Reading:
    """Of one archive. Labels first: items refer to them."""

    def __init__(self, repairs: Repairs) -> None:
        self.labels: dict[str, import_pb2.ImportLabel] = {}
        """By what a reader takes for the same."""
        self._repairs = repairs

    def take_labels(self, labels: list[github.Label]) -> None:
        for position, label in enumerate(labels):
            place = f"labels[{position}]"
            name = texts.label(label.name, self._repairs, place)
            if texts.key(name) in self.labels:
                self._repairs.note(SAME, f"{place}: {name}")
                continue
            color = _color(label.color or "")
            if color is None:
                self._repairs.note(COLOR, place)
            self.labels[texts.key(name)] = import_pb2.ImportLabel(
                name=name,
                description=texts.prose(label.description, self._repairs, place, most=1000),
                color=f"#{color[1].lower()}" if color else "",
            )

    def issue(self, item: github.Item) -> import_pb2.ImportIssue:
        place, is_pull = f"#{item.number}", isinstance(item, github.PullRequest)
        created_at = self._first(place, item.created_at, item.updated_at)
        state = self._state(item, place, is_pull=is_pull)
        updated_at = self._later(place, created_at, item.updated_at)
        closed_at = None
        if state != import_pb2.IMPORT_STATE_OPEN:
            closed_at = self._first(place, item.merged_at or item.closed_at, updated_at)
            closed_at = self._later(place, created_at, closed_at)
        external_id = _id(item, is_pull=is_pull)
        assignees = [name for name in item.assignees if name and texts.shows(name)]
        return import_pb2.ImportIssue(
            external_id=external_id,
            global_id=nodes.is_node_id(external_id),
            number=item.number,
            type=issue_pb2.ISSUE_TYPE_PULL_REQUEST if is_pull else issue_pb2.ISSUE_TYPE_TASK,
            title=texts.line(item.title, self._repairs, f"{place} title", most=500, otherwise="(without title)"),
            description=texts.prose(item.body, self._repairs, f"{place} body"),
            state=state,
            author=self._person(item.author, place),
            # GitHub has several; Bulkhead has one who answers for it.
            assignee=self._person(assignees[0], place) if assignees else "",
            label_names=self._label_names(item, place),
            create_time=_stamp(created_at),
            update_time=_stamp(updated_at),
            close_time=None if closed_at is None else _stamp(closed_at),
            comments=self._comments(item, created_at),
        )

    def _label_names(self, item: github.Item, place: str) -> list[str]:
        """As the labels are called that the archive lists; those it has no more are added."""
        found: dict[str, str] = {}
        for given in item.labels:
            name = texts.label(given, self._repairs, f"{place} label")
            key = texts.key(name)
            if key not in self.labels:
                self._repairs.note(ADDED, name)
                self.labels[key] = import_pb2.ImportLabel(name=name)
            found[key] = self.labels[key].name
        return list(found.values())

    def _state(self, item: github.Item, place: str, *, is_pull: bool) -> import_pb2.ImportState.ValueType:
        said = (item.state or "").upper()
        if said not in {"OPEN", "CLOSED", "MERGED"}:
            said = "MERGED" if item.merged_at else "CLOSED" if item.closed_at else "OPEN"
            self._repairs.note(STATE, f"{place}: {said}")
        if said == "OPEN":
            return import_pb2.IMPORT_STATE_OPEN
        if said == "MERGED" or item.merged_at or not is_pull:
            return import_pb2.IMPORT_STATE_DONE
        return import_pb2.IMPORT_STATE_CANCELLED

    def _comments(self, item: github.Item, made_at: datetime) -> Iterator[import_pb2.ImportComment]:
        """The format gives them no ids; the service knows them again by time and text."""
        for position, comment in enumerate(item.comments, start=1):
            place = f"#{item.number} comment {position}"
            created_at = self._first(place, comment.created_at, comment.updated_at, made_at)
            yield import_pb2.ImportComment(
                author=self._person(comment.author, place),
                body=texts.prose(comment.body, self._repairs, place, otherwise="(empty)"),
                create_time=_stamp(created_at),
                update_time=_stamp(self._later(place, created_at, comment.updated_at)),
            )

    def _person(self, name: str | None, place: str) -> str:
        if name is None or not texts.shows(name):
            return github.GHOST
        return texts.line(name, self._repairs, f"{place} author", most=100, otherwise="")

    def _first(self, place: str, *moments: datetime | None) -> datetime:
        """The first that there is; there is one."""
        if moments[0] is None:
            self._repairs.note(TIMES, place)
        return next(moment for moment in moments if moment is not None)

    def _later(self, place: str, created_at: datetime, moment: datetime | None) -> datetime:
        """Not before something was made."""
        if moment is None or moment < created_at:
            self._repairs.note(TIMES, place)
            return created_at
        return moment


def _id(item: github.Item, *, is_pull: bool) -> str:
    given = nodes.canonical(texts.mended_line(item.id or ""))[:500]
    return given or f"{'pull' if is_pull else 'issue'}/{item.number}"


def _stamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
