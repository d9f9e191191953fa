"""Which comment of the source is which comment here.

Some sources give comments no ids. A login is none either: it is renamed, and goes when its account does. What stays is
the issue and the time; among the comments of one time the text tells them apart, and where that changed, the order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from bulkhead_kit.moments import us_since_2000

from bulkhead_issues.importing.rules import Comment


class CommentHere(NamedTuple):
    comment_id: str
    issue_id: str
    external_id: str
    external_digest: bytes | None
    """None: the source had it no more when it was last imported."""
    body_digest: bytes
    """Of the text as last imported."""
    visibility: int
    created_at: int
    deleted_at: int | None

    @property
    def is_there(self) -> bool:
        return self.external_digest is not None


def match(comments: Sequence[Comment], here: Iterable[CommentHere]) -> list[CommentHere | None]:
    """For each of the source's comments the one here, or None. Each of them is taken once."""
    # Ids here are made in the order of the source.
    left = sorted(here, key=lambda one: one.comment_id)
    found = _named(comments, left)
    taken = {one.comment_id for one in found if one is not None}
    by_time: dict[int, list[CommentHere]] = defaultdict(list)
    for one in left:
        if one.comment_id not in taken:
            by_time[one.created_at].append(one)
    places: dict[int, list[int]] = defaultdict(list)
    for place, comment in enumerate(comments):
        if not comment.external_id:
            places[us_since_2000(comment.created_at)].append(place)
    for at, some in places.items():
        _of_one_time(comments, some, by_time.get(at, []), found)
    return found


def _named(comments: Sequence[Comment], here: Sequence[CommentHere]) -> list[CommentHere | None]:
    known = {one.external_id: one for one in here}
    return [known.get(comment.external_id) if comment.external_id else None for comment in comments]


def _of_one_time(
    comments: Sequence[Comment], places: list[int], here: list[CommentHere], found: list[CommentHere | None]
) -> None:
    """Those that are the same in everything first, then in their text, then in their order; before those that the
    source had no more, those that it had."""
    for alike in _RULES:
        for place in places:
            if found[place] is None and (one := next((one for one in here if alike(comments[place], one)), None)):
                found[place] = one
                here.remove(one)


_RULES: Sequence[Callable[[Comment, CommentHere], Any]] = (
    lambda comment, one: comment.digest == one.external_digest,
    lambda comment, one: comment.body_digest == one.body_digest and one.is_there,
    lambda comment, one: comment.body_digest == one.body_digest,
    lambda comment, one: one.is_there,
    lambda comment, one: True,
)


def gone(issue_id: str, found: Iterable[CommentHere | None], here: Iterable[CommentHere]) -> list[str]:
    """The ids of those that the source has no more. Only of those without names: others may be sent in parts."""
    taken = {one.comment_id for one in found if one is not None}
    return [
        one.comment_id
        for one in here
        if one.comment_id not in taken and one.is_there and one.external_id.startswith(f"{issue_id}/")
    ]


def named(issue_id: str, comments: Sequence[Comment], taken: Iterable[str]) -> list[str]:
    """Names for new comments that the source gives none: the issue, the time, and a place among those of that time."""
    used = set(taken)
    names: list[str] = []
    for comment in comments:
        name = comment.external_id or _free(issue_id, comment.created_at, used)
        used.add(name)
        names.append(name)
    return names


def _free(issue_id: str, created_at: datetime, used: set[str]) -> str:
    start, place = f"{issue_id}/{created_at.isoformat()}", 1
    while f"{start}/{place}" in used:
        place += 1
    return f"{start}/{place}"
