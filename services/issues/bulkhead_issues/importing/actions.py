"""Takes the items of an import one by one: looks what is here, plans, and writes only what differs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final
from uuid import UUID

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database, Reader, Transaction
from bulkhead_kit.errors import Aborted, AlreadyExists, DomainError, FailedPrecondition, InvalidArgument, NotFound
from bulkhead_kit.ids import new_id
from bulkhead_kit.texts import fold

from bulkhead_issues.importing import matching, rules, store
from bulkhead_issues.importing.plan import Plan, plan
from bulkhead_issues.importing.rules import OPEN, Issue, Label, Options, Outcome, Report
from bulkhead_issues.label import store as labels
from bulkhead_issues.label.rules import DEFAULT_COLOR, NewLabel
from bulkhead_issues.project import store as projects
from bulkhead_issues.refusals import archived
from bulkhead_issues.workflow import store as workflow

MAX_AUTHORS: Final = 500
"""That identity takes in one call."""

ENTRY_BYTES: Final = 250
"""What a name or an id that is remembered takes besides its letters, in this process's tables."""

MAX_TRIES: Final = 4
"""Of an item that another import of the same source writes at the same time."""

MakePeople = Callable[[str, Sequence[str]], Awaitable[Mapping[str, str]]]
"""Of a source and the names there: the members' ids."""


class Import:
    """One stream. What it has learned on the way (people, labels) it does not ask again."""

    def __init__(self, database: Database, caller: Caller, options: Options, make_people: MakePeople) -> None:
        self.report = Report(options.dry_run)
        self._database = database
        self._caller = caller
        self._options = options
        self._make_people = make_people
        self._people: dict[str, str] = {}
        self._label_ids: dict[str, str] = {}
        self._promised_labels: set[str] = set()
        self._seen: set[str | int] = set()
        self._letters = 0
        self._status_ids: dict[int, str] = {}

    @property
    def remembered(self) -> int:
        """About how many bytes are kept until the end of the stream: one may be long, and its sender not kind."""
        entries = len(self._seen) + len(self._people) + len(self._label_ids) + len(self._promised_labels)
        return self._letters + ENTRY_BYTES * (entries + len(self.report.people))

    @property
    def _reader(self) -> Reader:
        return self._database.read(self._caller)

    async def begin(self) -> None:
        project = await projects.load(self._reader, self._options.project_id)
        if project is None:
            raise NotFound("project")
        if project.archived_at is not None:
            raise archived("project")
        statuses, _ = await workflow.list_workflow(self._reader)
        for status in statuses:
            if status.is_default:
                self._status_ids[OPEN] = status.status_id
            for state, category in rules.CATEGORY_OF.items():
                if status.category == category and status.archived_at is None:
                    self._status_ids.setdefault(state, status.status_id)

    async def take_label(self, position: int, label: Label) -> None:
        try:
            outcome = await self._label(label)
        except DomainError as error:
            self._fail(position, label.name, error)
        else:
            self.report.labels.add(outcome)

    async def take_issue(self, position: int, item: Issue) -> None:
        try:
            done = await self._issue(item)
        except DomainError as error:
            self._fail(position, item.external_id, error)
        else:
            new, edited = len(done.new_comments), len(done.edited_comments)
            self.report.add_issue(done.outcome, item, new=new, edited=edited)

    def fail(self, position: int, item: str, error: DomainError) -> None:
        """An item that could not even be read."""
        self._fail(position, item, error)

    def _fail(self, position: int, item: str, error: DomainError) -> None:
        if not rules.is_of_item(error):
            raise error
        self.report.add_failure(position, item, error)

    async def _label(self, label: Label) -> Outcome:
        if not await self._find_labels([label.name]) or fold(label.name) in self._promised_labels:
            return Outcome.UNCHANGED
        if self._options.dry_run:
            self._promised_labels.add(fold(label.name))
            return Outcome.CREATED
        new = NewLabel(label.name, label.description, label.color or DEFAULT_COLOR)
        try:
            async with self._database.transaction(self._caller) as tx:
                made = await labels.add(tx, new_id(), new)
        except AlreadyExists:
            # Another import was first.
            if await self._find_labels([label.name]):
                raise
            return Outcome.UNCHANGED
        self._label_ids[label.name] = made.label_id
        return Outcome.CREATED

    async def _issue(self, item: Issue) -> Plan:
        for known in (item.external_id, item.number):
            if known in self._seen:
                raise AlreadyExists.field("external_id", f"{known} was sent before in this import")
        if item.state not in self._status_ids:
            raise FailedPrecondition(
                ErrorReason.STATE_NOT_ALLOWED,
                "the workflow has no status for the item's state",
                metadata={"state": "no_status"},
            )
        done = await self._settle(item)
        # Only now: an item that failed may come again in a better form.
        self._seen |= {item.external_id, item.number}
        self._letters += len(item.external_id)
        return done

    async def _settle(self, item: Issue) -> Plan:
        """Looks, plans, writes. Another import may write the same item meanwhile: what it did is found then."""
        await self._demand_labels(item)
        for left in range(MAX_TRIES - 1, -1, -1):
            found, comments = await store.find(self._reader, self._options, item)
            made = plan(self._options, item, found, comments)
            if self._options.dry_run or not made.writes:
                break
            await self._demand_people(item)
            try:
                async with self._database.transaction(self._caller, importing=True) as tx:
                    self._apply(tx, made)
            except (Aborted, AlreadyExists):
                if not left:
                    raise
            else:
                break
        return made

    def _apply(self, tx: Transaction, made: Plan) -> None:
        item, here = made.item, made.here
        issue_id = new_id() if here is None else UUID(here.issue_id)
        if here is None:
            store.add_issue(
                tx,
                issue_id,
                item,
                project_id=self._options.project_id,
                source=made.source,
                people=self._people,
            )
        elif made.fields:
            store.write_fields(tx, issue_id, item, self._people, seen=here.external_digest)
        if made.reopened_at is not None:
            store.move(tx, issue_id, self._status_ids[OPEN], None, made.reopened_at)
        if made.moves:
            store.move(tx, issue_id, self._status_ids[item.state], item.closed_at, item.updated_at)
        if made.fields:
            self._apply_labels(tx, made, issue_id)
        if made.new_comments:
            names = matching.named(str(issue_id), made.new_comments, made.names)
            new = [(new_id(), name, comment) for name, comment in zip(names, made.new_comments, strict=True)]
            store.add_comments(tx, issue_id, new, source=made.source, people=self._people)
        for edit in made.edited_comments:
            store.edit_comment(tx, edit, self._people)
        if made.gone_comments:
            store.mark_gone(tx, made.gone_comments)

    def _apply_labels(self, tx: Transaction, made: Plan, issue_id: UUID) -> None:
        label_ids = sorted({self._label_ids[name] for name in made.item.label_names})
        if made.here is None:
            if label_ids:
                store.put_labels(tx, issue_id, label_ids, made.item.created_at)
            return
        store.take_other_labels(tx, issue_id, label_ids, made.item.updated_at)
        store.put_labels(tx, issue_id, label_ids, made.item.updated_at)

    async def _demand_labels(self, item: Issue) -> None:
        missing = await self._find_labels(item.label_names)
        unknown = sorted(name for name in missing if fold(name) not in self._promised_labels)
        if unknown:
            raise InvalidArgument.reference("label_names", f"label as {', '.join(map(repr, unknown))}"[:200])

    async def _find_labels(self, names: Sequence[str]) -> set[str]:
        """Makes sure of the ids of these labels; those that are not here."""
        unknown = [name for name in names if name not in self._label_ids]
        if unknown:
            self._label_ids |= await store.find_labels(self._reader, unknown)
        return set(names) - self._label_ids.keys()

    async def _demand_people(self, item: Issue) -> None:
        """Before the transaction, as they are made by another service in one of its own."""
        unknown = sorted(item.people - self._people.keys())
        for start in range(0, len(unknown), MAX_AUTHORS):
            some = unknown[start : start + MAX_AUTHORS]
            self._people |= await self._make_people(self._options.author_source, some)
