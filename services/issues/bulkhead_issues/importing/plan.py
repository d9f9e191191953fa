"""What has to be done so that an issue is here as its source says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from bulkhead_kit.errors import AlreadyExists, InvalidArgument
from bulkhead_kit.moments import from_us_since_2000

from bulkhead_issues.importing import matching
from bulkhead_issues.importing.matching import CommentHere
from bulkhead_issues.importing.rules import CATEGORY_OF, OPEN, Comment, Issue, Options, Outcome


class IssueHere(NamedTuple):
    """An issue that the source's item may be."""

    issue_id: str
    project_id: str
    number: int
    external_source: str | None
    external_id: str | None
    external_digest: bytes | None
    status_category: int
    resolved_at: int | None
    updated_at: int
    deleted_at: int | None


class Edit(NamedTuple):
    comment_id: str
    seen: bytes | None
    """The digest that the plan was made upon."""
    comment: Comment


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to be done so that one issue is as the source says."""

    item: Issue
    source: str
    """Under which it is here, if it was imported before its repository got another name."""
    here: IssueHere | None = None
    """None: it is not here yet."""
    fields: bool = False
    """Its fields and labels have to be written."""
    moves: bool = False
    """Its status or its time of resolution has to be written."""
    reopened_at: datetime | None = None
    """It was resolved, and is so again: between lies a time in which it was open."""
    new_comments: Sequence[Comment] = ()
    names: Sequence[str] = ()
    """Of comments here, which new ones do not take."""
    edited_comments: Sequence[Edit] = ()
    gone_comments: Sequence[str] = ()
    """Ids of comments here that the source has no more. They stay, and are not taken for others later."""

    @property
    def writes(self) -> bool:
        return self.outcome is not Outcome.UNCHANGED or bool(self.gone_comments)

    @property
    def outcome(self) -> Outcome:
        if self.here is None:
            return Outcome.CREATED
        changed = self.fields or self.new_comments or self.edited_comments
        return Outcome.UPDATED if changed else Outcome.UNCHANGED


def plan(options: Options, item: Issue, found: Sequence[IssueHere], comments: Sequence[CommentHere]) -> Plan:
    """`found`: the issues here with the item's external id or with its number."""
    here = _here(options, item, found)
    named = {comment.external_id for comment in item.comments}
    if any(one.external_id in named and (here is None or one.issue_id != here.issue_id) for one in comments):
        raise AlreadyExists.field("comments.external_id", "a comment was imported into another issue")
    if here is None:
        return Plan(item, options.source, fields=True, moves=item.state != OPEN, new_comments=item.comments)
    source = here.external_source or options.source
    if here.deleted_at is not None:
        # Whoever deleted it here does not want it back by the next import.
        return Plan(item, source, here)
    known = [one for one in comments if one.issue_id == here.issue_id]
    made = _moved(Plan(item, source, here, fields=here.external_digest != item.digest))
    return _with_comments(made, known)


def _here(options: Options, item: Issue, found: Sequence[IssueHere]) -> IssueHere | None:
    same = [one for one in found if one.external_id == item.external_id and one.external_source is not None]
    here = next((one for one in same if one.external_source == options.source), None)
    if here is None and item.global_id:
        here = next((one for one in same if _kind(one) == options.kind), None)
    if here is None:
        taken = next((one for one in found if one.project_id == options.project_id and one.number == item.number), None)
        if taken is not None:
            raise AlreadyExists.field("number", _taken(taken, item))
        return None
    if here.project_id != options.project_id:
        raise AlreadyExists.field("external_id", "the issue was imported into another project")
    if here.number != item.number:
        raise AlreadyExists.field("number", f"the issue is here with number {here.number}, which it keeps")
    return here


def _kind(here: IssueHere) -> str:
    return (here.external_source or "").partition("/")[0]


def _taken(taken: IssueHere, item: Issue) -> str:
    if taken.external_source is None:
        return f"another issue of the project has number {item.number}"
    hint = "; if it is the same, import under that source" if taken.external_id == item.external_id else ""
    return f"number {item.number} is {taken.external_id} of {taken.external_source}{hint}"


def _moved(made: Plan) -> Plan:
    here, item = made.here, made.item
    if here is None or not made.fields:
        return made
    if here.status_category != CATEGORY_OF.get(item.state) and (item.state != OPEN or here.resolved_at is not None):
        return replace(made, moves=True)
    if item.closed_at is None or here.resolved_at is None:
        return made
    before = from_us_since_2000(here.resolved_at)
    if before == item.closed_at:
        return made
    if item.closed_at < before:
        return replace(made, moves=True)
    # It was still resolved when it was last looked at.
    known = max(before, from_us_since_2000(here.updated_at))
    return replace(made, moves=True, reopened_at=min(known, item.closed_at))


def _with_comments(made: Plan, known: Sequence[CommentHere]) -> Plan:
    new: list[Comment] = []
    edited: list[Edit] = []
    found = matching.match(made.item.comments, known)
    for comment, one in zip(made.item.comments, found, strict=True):
        if one is None:
            new.append(comment)
        elif one.deleted_at is not None:
            # Whoever deleted a comment here does not want it back either.
            continue
        elif one.visibility != comment.visibility:
            # A text meant for few must not replace one that everyone reads.
            raise InvalidArgument.field(
                "comments.visibility", f"comment {one.external_id[:100]} is here with another, which never changes"
            )
        elif one.external_digest != comment.digest:
            edited.append(Edit(one.comment_id, one.external_digest, comment))
    return replace(
        made,
        new_comments=new,
        names=[one.external_id for one in known],
        edited_comments=edited,
        gone_comments=matching.gone(known[0].issue_id, found, known) if known else (),
    )
