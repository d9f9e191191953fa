"""Clients that change issues through the RPCs, keep their own account of it, and compare that with the log.

Every call has a request_id and is repeated until it is answered, so that what is in the account happened exactly once.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import grpc
import grpc.aio
import psycopg
from bulkhead.issues.v1 import (
    comment_pb2,
    comment_service_pb2,
    comment_service_pb2_grpc,
    issue_pb2,
    issue_service_pb2,
    issue_service_pb2_grpc,
    project_pb2,
    project_service_pb2,
    project_service_pb2_grpc,
    workspace_pb2,
    workspace_service_pb2,
    workspace_service_pb2_grpc,
)
from bulkhead_kit import clock
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from google.protobuf.field_mask_pb2 import FieldMask

from tests.support import people
from tests.system.site import Site

# A call that met a killed process ends with one of these; anything else is a fault of ours.
PASSING: Final = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


@dataclass
class Account:
    """What one tenant's clients know to have happened."""

    tenant_id: UUID
    project_id: str
    titles: dict[str, int] = field(default_factory=dict)
    """By issue: how often it was named. The first title is "0", the next "1"."""
    comments: dict[str, str] = field(default_factory=dict)
    """By comment: its text."""

    @property
    def changes(self) -> int:
        return sum(self.titles.values()) + len(self.comments)


class Clients:
    def __init__(self, site: Site, rng: random.Random) -> None:
        self.site = site
        self.rng = rng
        self.accounts: list[Account] = []
        self.in_flight = 0
        self.repeats: Counter[str] = Counter()
        self._tokens: dict[UUID, tuple[float, str]] = {}
        self._users: dict[UUID, UUID] = {}
        self._channel = grpc.aio.insecure_channel(
            site.addresses["issues"],
            [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 300)],
        )
        self._issues = issue_service_pb2_grpc.IssueServiceStub(self._channel)
        self._comments = comment_service_pb2_grpc.CommentServiceStub(self._channel)

    @property
    def changes(self) -> int:
        return sum(account.changes for account in self.accounts)

    async def close(self) -> None:
        await self._channel.close()

    async def open_accounts(self, count: int) -> None:
        """Each a company with an owner, a workspace and a project."""
        workspaces = workspace_service_pb2_grpc.WorkspaceServiceStub(self._channel)
        projects = project_service_pb2_grpc.ProjectServiceStub(self._channel)
        connection = await psycopg.AsyncConnection.connect(
            self.site.database.dsn("bulkhead_identity_app"), autocommit=True
        )
        try:
            for number in range(count):
                owner = await people.make_person(connection)
                tenant_id = await people.make_tenant(connection, owner, slug=f"ledger-{number}")
                self._users[tenant_id] = owner.user_id
                workspace = await self._call(
                    workspaces.CreateWorkspace,
                    workspace_service_pb2.CreateWorkspaceRequest(workspace=workspace_pb2.Workspace(name="All")),
                    tenant_id,
                )
                project = await self._call(
                    projects.CreateProject,
                    project_service_pb2.CreateProjectRequest(
                        project=project_pb2.Project(workspace_id=workspace.workspace_id, key="LED", name="Ledger")
                    ),
                    tenant_id,
                )
                self.accounts.append(Account(tenant_id, project.project_id))
        finally:
            await connection.close()

    async def work(self, changes: int, *, clients: int, pause: float, done: asyncio.Event) -> None:
        """Until so many changes are in the accounts and `done` is set."""
        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                account = self.accounts[number % len(self.accounts)]
                group.create_task(self._client(account, changes, pause, done))

    async def _client(self, account: Account, changes: int, pause: float, done: asyncio.Event) -> None:
        """Changes its own issues one after the other, so that the order of its calls is the order of its account."""
        own = [await self._create(account)]
        while self.changes < changes or not done.is_set():
            what = self.rng.random()
            if what < 0.15:
                own.append(await self._create(account))
            elif what < 0.8:
                await self._rename(account, self.rng.choice(own))
            else:
                await self._comment(account, self.rng.choice(own))
            await asyncio.sleep(pause * self.rng.random() * 2)

    async def _create(self, account: Account) -> str:
        issue = issue_pb2.Issue(project_id=account.project_id, title="0", type=issue_pb2.ISSUE_TYPE_TASK)
        request = issue_service_pb2.CreateIssueRequest(issue=issue)
        made = await self._call(self._issues.CreateIssue, request, account.tenant_id)
        account.titles[made.issue_id] = 1
        return str(made.issue_id)

    async def _rename(self, account: Account, issue_id: str) -> None:
        issue = issue_pb2.Issue(issue_id=issue_id, title=str(account.titles[issue_id]))
        request = issue_service_pb2.UpdateIssueRequest(issue=issue, update_mask=FieldMask(paths=["title"]))
        await self._call(self._issues.UpdateIssue, request, account.tenant_id)
        account.titles[issue_id] += 1

    async def _comment(self, account: Account, issue_id: str) -> None:
        body = f"comment {self.rng.getrandbits(64):x}"
        comment = comment_pb2.Comment(issue_id=issue_id, body=body, visibility=comment_pb2.VISIBILITY_INTERNAL)
        request = comment_service_pb2.CreateCommentRequest(comment=comment)
        made = await self._call(self._comments.CreateComment, request, account.tenant_id)
        account.comments[made.comment_id] = body

    async def _call(self, method: Any, request: Any, tenant_id: UUID) -> Any:
        request.request_id = str(new_id())
        while True:
            self.in_flight += 1
            try:
                return await method(request, timeout=5.0, metadata=self._metadata(tenant_id))
            except grpc.aio.AioRpcError as error:
                if error.code() not in PASSING:
                    raise
                self.repeats[error.code().name] += 1
                self.site.demand_alive()
            finally:
                self.in_flight -= 1
            await asyncio.sleep(0.05)

    def _metadata(self, tenant_id: UUID) -> tuple[tuple[str, str], ...]:
        until, token = self._tokens.get(tenant_id, (0.0, ""))
        if clock.monotonic() > until:
            user = self._users[tenant_id]
            token = self.site.mint.person(user, tenant_id=tenant_id, role=Role.OWNER)
            self._tokens[tenant_id] = (clock.monotonic() + 60, token)
        return (("authorization", f"Bearer {token}"), ("x-tenant-id", str(tenant_id)))


@dataclass(frozen=True)
class Logged:
    """An event as it stands in the log."""

    seq: int
    event_id: UUID
    entity: tuple[str, str, str]
    action: str
    changes: dict[str, list[Any]]


def read_log(connection: psycopg.Connection, tenant_id: UUID) -> tuple[int, list[Logged]]:
    """The log's size and what of it the issues service recorded. By the administrator, from whom nothing is hidden."""
    rows = connection.execute(
        "select e.seq, e.event_id, e.entity_type, e.entity_id, e.sub_id, e.action, v.changes::text"
        " from audit.events as e join audit.event_values as v using (tenant_id, occurred_at, event_id)"
        " where e.tenant_id = %s order by e.seq",
        (tenant_id,),
    ).fetchall()
    sizes = connection.execute("select size from audit.logs where tenant_id = %s", (tenant_id,)).fetchall()
    events = [
        Logged(seq, event_id, (kind, str(entity_id), str(sub_id)), action, json.loads(text))
        for seq, event_id, kind, entity_id, sub_id, action, text in rows
    ]
    return sizes[0][0], events


def compare(size: int, events: Sequence[Logged], account: Account) -> None:
    """The log against the account: nothing lost, nothing twice, nothing else, each entity's changes in their order."""
    assert [event.seq for event in events] == list(range(1, size + 1)), "a number is missing or given twice"
    assert len({event.event_id for event in events}) == len(events), "an event is there twice"
    known: dict[tuple[Any, ...], Any] = {}
    titles: Counter[str] = Counter()
    comments: dict[str, str] = {}
    for event in events:
        for name, (old, new) in event.changes.items():
            key = (*event.entity, name)
            assert old == known.get(key), f"{key} was {known.get(key)!r}, and the next event says {old!r}"
            known[key] = new
        kind, entity_id, _ = event.entity
        if kind == "issue" and "title" in event.changes:
            assert event.changes["title"][1] == str(titles[entity_id])
            titles[entity_id] += 1
        elif event.action == "comment.created":
            assert entity_id not in comments, "a comment was created twice"
            comments[entity_id] = event.changes["body"][1]
    assert titles == account.titles, "the log has other changes of issues than the clients made"
    assert comments == account.comments, "the log has other comments than the clients made"
