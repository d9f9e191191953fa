"""The steps of the demo. Each says what it does, does it through RPCs, and checks what the lists say afterwards."""

from __future__ import annotations

import asyncio
import textwrap
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bulkhead.audit.v1 import audit_event_pb2
from bulkhead.issues.v1 import issue_pb2
from bulkhead.rpc.v1.options_pb2 import ROLE_VIEWER
from bulkhead_kit.errors import NotFound
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from bulkhead_cli import database
from bulkhead_cli.demo.company import Company, Lists
from bulkhead_cli.endpoints import Endpoints
from bulkhead_cli.importing.archive import Archive
from bulkhead_cli.importing.sending import Report, send
from bulkhead_cli.output import plain
from bulkhead_cli.person import Person

PASSWORD = "a-harbour-without-7-boats"  # noqa: S105 - of people who live as long as the demo
WORKFLOW = ("To do", "In progress", "In review", "Done")
RELAY_PATIENCE = 120.0


class DemoFailed(Exception):
    """Something in the demo is not as it has to be."""


@dataclass
class Story:
    endpoints: Endpoints
    archive: Archive
    console: Console
    checked: list[tuple[str, Any, Any]] = field(default_factory=list)

    async def tell(self) -> None:
        """Raises DemoFailed when a number is not what it should be."""
        async with AsyncExitStack() as stack:
            ada = await self._person(stack, "Ada Lovelace", "ada")
            grace = await self._person(stack, "Grace Hopper", "grace")
            bob = await self._person(stack, "Bob Viewer", "bob")
            acme, globex = Company(ada, "acme"), Company(grace, "globex")
            await self._found(acme, globex, bob)
            await self._import(acme)
            issue = await self._work(acme, bob)
            await self._quiet()
            await self._ask(acme, globex, issue)
        self._sum_up()

    async def _person(self, stack: AsyncExitStack, name: str, mailbox: str) -> Person:
        return await stack.enter_async_context(Person(self.endpoints, name, f"{mailbox}@example.com", PASSWORD))

    async def _found(self, acme: Company, globex: Company, bob: Person) -> None:
        self._head("Two companies sign up, by mail")
        await acme.found("Acme Boats")
        await globex.found("Globex Ports")
        await acme.start_project("HULL", "Hull sensors")
        await globex.start_project("PORT", "Port cranes")
        await acme.invite(bob, ROLE_VIEWER)
        for number in range(1, 4):
            await globex.create_issue(f"Crane {number} squeaks")
        self._say(f"acme with Ada (owner) and Bob (viewer), project {acme.project.key}")
        self._say(f"globex with Grace (owner), project {globex.project.key} and 3 issues of its own")

    async def _work(self, acme: Company, bob: Person) -> issue_pb2.Issue:
        self._head("Ada moves an issue through its statuses and edits an internal comment")
        ada = Lists(acme.owner)
        names = await ada.statuses()
        ids = {name.casefold(): status_id for status_id, name in names.items()}
        issue = await acme.create_issue("Water in the bilge")
        for name in WORKFLOW:
            await acme.move(issue, ids[name.casefold()])
        comment = await acme.comment(issue, "The pump was never fitted.")
        await acme.edit(comment, "The pump was fitted backwards.")
        spans = await ada.spans(issue.issue_id)
        self._say(f"{issue.key}: " + " -> ".join(names[span.status_id] for span in spans))
        self._check("spans in the status history", len(spans), len(WORKFLOW) + 1)
        self._check("revisions of the internal comment", len(await ada.revisions(comment.comment_id)), 1)
        self._check("internal comments that Ada sees", len(await ada.comments(issue.issue_id)), 1)
        self._check("internal comments that Bob, a viewer, sees", len(await Lists(bob).comments(issue.issue_id)), 0)
        return issue

    async def _import(self, acme: Company) -> None:
        self._head(f"Acme imports {self.archive.name}")
        before = await self._expected(acme)
        report = await send(acme.owner, self.archive, acme.project.project_id, console=self.console)
        self._say(report.line())
        self._check("items the import could not take", report.failed, 0)
        await self._check_imported(acme, before)
        await self._quiet()
        events = len(await Lists(acme.owner).events(""))
        again: Report = await send(acme.owner, self.archive, acme.project.project_id, console=self.console)
        self._say(f"again: {again.line()}")
        self._check("things a second import changed", again.changed, 0)
        await self._quiet()
        self._check("events a second import left", len(await Lists(acme.owner).events("")) - events, 0)

    async def _expected(self, acme: Company) -> Mapping[str, int]:
        lists = Lists(acme.owner)
        return {
            "issues": len(await lists.issues(acme.project.project_id)),
            "labels": len(await lists.labels()),
            "members": len(await lists.members()),
        }

    async def _check_imported(self, acme: Company, before: Mapping[str, int]) -> None:
        lists = Lists(acme.owner)
        project = acme.project.project_id
        issues = await lists.issues(project)
        kinds = Counter(issue.type for issue in issues if issue.external_id)
        self._check("issues imported", sum(kinds.values()), len(self.archive.issues))
        self._check("  of them pull requests", kinds[issue_pb2.ISSUE_TYPE_PULL_REQUEST], self.archive.pull_requests)
        self._check("labels imported", len(await lists.labels()) - before["labels"], len(self.archive.labels))
        self._check("authors now members", len(await lists.members()) - before["members"], len(self.archive.authors))
        counted = 0
        for some in range(0, len(issues), 16):
            pages = await asyncio.gather(*(lists.comments(issue.issue_id) for issue in issues[some : some + 16]))
            counted += sum(1 for page in pages for comment in page if comment.external_id)
        self._check("comments imported", counted, self.archive.comments)

    async def _ask(self, acme: Company, globex: Company, issue: issue_pb2.Issue) -> None:
        self._head("All changes by Ada last week across all projects of acme")
        since = (datetime.now(UTC) - timedelta(days=7)).strftime("%Y-%m-%dT%H:%M:%SZ")
        question = f'actor_id = "{acme.owner.user_id}" AND occur_time >= "{since}"'
        began = time.perf_counter()
        events = await Lists(acme.owner).events(question)
        took = time.perf_counter() - began
        self._table(events)
        self._say(f"{len(events)} events in {took * 1000:.0f} ms; globex asks the same, with acme's ids")
        self._check("changes by Ada of the moved issue", self._moves(events, issue), len(WORKFLOW))
        stranger = Lists(globex.owner)
        self._check("events globex gets for Ada", len(await stranger.events(question)), 0)
        for_project = f'project_id = "{acme.project.project_id}"'
        self._check("events globex gets for acme's project", len(await stranger.events(for_project)), 0)
        self._check(
            "acme's issue, asked for by globex", await self._answer(stranger.issue(issue.issue_id)), "NOT_FOUND"
        )
        self._check(
            "acme's project, listed by globex",
            await self._answer(stranger.issues(acme.project.project_id)),
            "NOT_FOUND",
        )
        self._check("globex's own issues", len(await stranger.issues(globex.project.project_id)), 3)

    def _moves(self, events: list[audit_event_pb2.AuditEvent], issue: issue_pb2.Issue) -> int:
        moved = [event for event in events if event.entity_id == issue.issue_id and "status_id" in event.fields]
        return len([event for event in moved if event.action == "issue.updated"])

    async def _answer(self, asked: Any) -> str:
        try:
            return f"{len(await asked)} rows"
        except NotFound as error:
            return error.code.name
        except TypeError:
            return "found"

    async def _quiet(self) -> None:
        """Until nothing is on its way to audit any more: two looks in a row see the same."""
        ends = time.monotonic() + RELAY_PATIENCE
        seen = -1
        while time.monotonic() < ends:
            waiting = await asyncio.to_thread(self._undelivered)
            if waiting == 0 and seen == 0:
                return
            seen = waiting
            await asyncio.sleep(0.2)
        raise DemoFailed(f"changes were still on their way to audit after {RELAY_PATIENCE:.0f} s")

    def _undelivered(self) -> int:
        """The one look behind the RPCs, at how far the log is."""
        roles = self.endpoints.database_roles
        return sum(
            database.undelivered(roles[f"bulkhead_{service}_relay"], service) for service in ("identity", "issues")
        )

    def _table(self, events: list[audit_event_pb2.AuditEvent]) -> None:
        table = Table("when", "what", "fields", "request ends", title="the newest ten")
        for event in events[:10]:
            when = event.occur_time.ToDatetime(UTC).strftime("%H:%M:%S.%f")[:-3]
            fields = textwrap.shorten(", ".join(event.fields), 40, placeholder=" …")
            table.add_row(when, plain(event.action), plain(fields), event.request_id[-12:])
        self.console.print(table)
        actions = Counter(event.action for event in events)
        self._say(", ".join(f"{number} {action}" for action, number in actions.most_common()))

    def _head(self, text: str) -> None:
        self.console.print(f"\n[bold]{plain(text)}[/]")

    def _say(self, text: str) -> None:
        self.console.print(Padding(plain(text), (0, 0, 0, 2)), highlight=False)

    def _check(self, what: str, found: Any, wanted: Any) -> None:
        self.checked.append((what, found, wanted))

    def _sum_up(self) -> None:
        table = Table("read back through the lists", "found", "should be", "", title="\nWhat was checked")
        for what, found, wanted in self.checked:
            right = found == wanted
            table.add_row(plain(what), plain(found), plain(wanted), "[green]ok[/]" if right else "[red]WRONG[/]")
        self.console.print(table)
        wrong = [what for what, found, wanted in self.checked if found != wanted]
        if wrong:
            raise DemoFailed(f"not as it should be: {', '.join(wrong)}")
