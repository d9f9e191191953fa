"""Two companies with something in every table, and all their ids by kind: what the probes reach for."""

from __future__ import annotations

import datetime
import itertools
import secrets
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import grpc.aio
import psycopg
from bulkhead.audit.v1 import audit_event_pb2, audit_writer_service_pb2
from bulkhead.issues.v1 import comment_pb2, import_pb2, import_service_pb2, issue_pb2
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from google.protobuf.timestamp_pb2 import Timestamp
from psycopg import sql

from tests.support.builders import make_comment, make_issue, make_label, make_project, make_workspace, statuses
from tests.support.client import Client, refused
from tests.support.house import House, Tenant

_numbers = itertools.count(1)


@dataclass
class Company:
    """A tenant and what is in it. `canary` is in every text of hers: it must never be read by anybody else."""

    tenant: Tenant
    canary: str
    things: dict[str, list[str]] = field(default_factory=dict)
    """Ids by kind, the kind as (bulkhead.rpc.v1.refers_to) says it."""
    statuses: dict[int, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    """API keys of an account that is an admin: a live one and a revoked one."""

    def one(self, kind: str) -> str:
        return self.things[kind][0]

    def client(self, role: Role) -> Client:
        return self.tenant.member(role)

    def at(self, house: House) -> Company:
        """The same company, called in another house."""
        tenant = Tenant(house, self.tenant.tenant_id, self.tenant.slug, self.tenant.people)
        return replace(self, tenant=tenant)

    def text(self) -> str:
        return f"{self.canary} {next(_numbers)}"

    def keep(self, kind: str, *ids: str) -> None:
        self.things.setdefault(kind, []).extend(ids)


async def make_company(house: House, slug: str) -> Company:
    canary = f"canary-{secrets.token_hex(6)}"
    tenant = await house.tenant(slug, names=f"{canary}-")
    tenant.lift_limits()
    company = Company(tenant, canary)
    company.keep("tenant", str(tenant.tenant_id))
    for kind in ("user", "member"):
        company.keep(kind, *(str(person.user_id) for person in tenant.people.values()))
    await _make_work(company)
    await _make_people(house, company)
    await _make_keys(company)
    await _let_support_in(house, company)
    _make_status(house, company)
    await _import(company)
    await append_events(company)
    _park(house, company)
    _spread(house, company)
    return company


async def _make_work(company: Company) -> None:
    owner = company.client(Role.OWNER)
    workspace = await make_workspace(owner, name=company.text(), description=company.text())
    project = await make_project(
        owner, workspace_id=workspace.workspace_id, name=company.text(), lead_id=company.one("user")
    )
    label = await make_label(owner, name=company.text(), description=company.text())
    archived = await make_label(owner, name=company.text())
    await owner.issues.ArchiveLabel(label_id=archived.label_id)
    company.statuses = await statuses(owner)
    issue = await make_issue(
        owner,
        project.project_id,
        title=company.text(),
        description=company.text(),
        label_ids=[label.label_id],
        assignee_id=company.one("user"),
    )
    child = await make_issue(owner, project.project_id, title=company.text(), parent_id=issue.issue_id)
    deleted = await make_issue(owner, project.project_id, title=company.text())
    await owner.issues.DeleteIssue(issue_id=deleted.issue_id, request_id=str(new_id()))
    comment = await make_comment(owner, issue.issue_id, body=company.text())
    internal = await make_comment(
        owner, issue.issue_id, body=company.text(), visibility=comment_pb2.VISIBILITY_INTERNAL
    )
    for edited in (comment, internal):
        await owner.issues.UpdateComment(comment={"comment_id": edited.comment_id, "body": company.text()})
    company.keep("issue key", issue.key)
    company.keep("project key", project.key)
    # Without the canary: a probe asks for it by its name, which then is in our own rows.
    company.keep("label name", (await make_label(owner, name=f"sign {secrets.token_hex(6)}")).name)
    company.keep("workspace", workspace.workspace_id)
    company.keep("project", project.project_id)
    company.keep("label", label.label_id, archived.label_id)
    company.keep("status", *company.statuses.values())
    company.keep("issue", issue.issue_id, child.issue_id, deleted.issue_id)
    company.keep("comment", comment.comment_id, internal.comment_id)


async def _make_people(house: House, company: Company) -> None:
    owner = company.tenant.people[Role.OWNER]
    client = company.client(Role.OWNER).identity
    teams = [await client.CreateTeam(team={"name": company.text(), "description": company.text()}) for _ in range(2)]
    for team in teams:
        for role in (Role.OWNER, Role.ADMIN):
            await client.AddTeamMember(team_id=team.team_id, user_id=str(company.tenant.people[role].user_id))
    await client.ArchiveTeam(team_id=teams[1].team_id)
    company.keep("team", *(team.team_id for team in teams))
    # Asked for and tried in vain, as anybody may.
    await house.nobody().identity.RequestPasswordReset(email=owner.email)
    with refused("UNAUTHENTICATED"):
        await house.nobody().identity.Login(email=owner.email, password="wrong")
    # Every probe and every bent request of CreateTenant is this person's.
    house.let_make_tenants(owner.user_id)
    signed_in = await house.signed_in(owner)
    await signed_in.identity.UpdateMe(user={"bio": company.text()})
    slug = f"other-{company.canary}"
    await signed_in.identity.CreateTenant(tenant={"slug": slug, "name": slug}, request_id=str(new_id()))
    # Two answered calls in each service, of two members.
    for role in (Role.OWNER, Role.ADMIN):
        invitation = await company.client(role).identity.InviteMember(
            email=f"{company.canary}-{role.name}@example.com", role=Role.MEMBER.value, request_id=str(new_id())
        )
        company.keep("invitation", invitation.invitation_id)
        await company.client(role).issues.CreateLabel(label={"name": company.text()}, request_id=str(new_id()))


async def _make_keys(company: Company) -> None:
    """A service account with a live key and a revoked one; before them a key that any role's own would do for."""
    owner = company.client(Role.OWNER).identity
    low = await owner.CreateApiKey(display_name=company.text(), role=Role.VIEWER.value)
    company.keep("service account", low.api_key.user_id)
    company.keep("api_key", low.api_key.api_key_id)
    live = await owner.CreateApiKey(display_name=company.text(), role=Role.ADMIN.value)
    account = live.api_key.user_id
    ended = await owner.CreateApiKey(display_name=company.text(), user_id=account)
    await owner.RevokeApiKey(api_key_id=ended.api_key.api_key_id)
    company.keep("service account", account)
    company.keep("api_key", live.api_key.api_key_id, ended.api_key.api_key_id)
    company.keys = {"live": live.key, "revoked": ended.key}


async def close_support(company: Company) -> None:
    with suppress(grpc.aio.AioRpcError):
        await company.client(Role.OWNER).identity.RevokeSupportAccess()


async def open_support(company: Company) -> str:
    """In place of the grant that may be open."""
    await close_support(company)
    grant = await company.client(Role.OWNER).identity.GrantSupportAccess(
        role=Role.VIEWER.value, duration={"seconds": 600}, reason=company.text()
    )
    return str(grant.grant_id)


async def _let_support_in(house: House, company: Company) -> None:
    """Somebody came and helped; the door is closed again, so that a probe can open one."""
    company.keep("support_grant", await open_support(company))
    helper = await house.platform_admin(await house.person("Helper"))
    await helper.identity.EnterSupportAccess(tenant_id=company.one("tenant"))
    await close_support(company)


def _make_status(house: House, company: Company) -> None:
    """A status no other company has, as issues' own role: there is no RPC for it yet."""
    with psycopg.connect(house.database.dsn("bulkhead_issues_app")) as connection:
        connection.execute(
            "select set_config('app.tenant_id', %s, true), set_config('app.role', '5', true),"
            " set_config('app.writing', 'true', true)",
            (str(company.tenant.tenant_id),),
        )
        connection.execute(
            "insert into issues.statuses (tenant_id, status_id, name, category, position) values (%s, %s, %s, 3, 99)",
            (company.tenant.tenant_id, new_id(), company.text()),
        )


def import_of(company: Company, source: str, label: str) -> list[dict[str, Any]]:
    """The parts of an import. External ids are the same in all of them: only tenant and source tell them apart."""
    when = {"seconds": 1_700_000_000}
    comment = {
        "external_id": "comment 1",
        "author": "somebody",
        "body": company.text(),
        "visibility": comment_pb2.VISIBILITY_EVERYONE,
        "create_time": when,
        "update_time": when,
    }
    issue = {
        "external_id": "issue 1",
        "number": 100_000 + next(_numbers),
        "type": issue_pb2.ISSUE_TYPE_TASK,
        "title": company.text(),
        "state": import_pb2.IMPORT_STATE_OPEN,
        "author": "somebody",
        "label_names": [label],
        "create_time": when,
        "update_time": when,
        "comments": [comment],
    }
    return [
        {"options": {"project_id": company.one("project"), "source": source}},
        {"label": {"name": label, "description": "made elsewhere"}},
        {"issue": issue},
    ]


async def _import(company: Company) -> None:
    source = f"elsewhere:{secrets.token_hex(6)}"
    parts = import_of(company, source, company.text())
    sent = [import_service_pb2.ImportItemsRequest(**part) for part in parts]
    await company.client(Role.OWNER).issues.ImportItems(iter(sent))
    company.keep("import source", source)


def _park(house: House, company: Company) -> None:
    """As the relays do when audit refuses a tenant's events."""
    for service in ("identity", "issues"):
        with psycopg.connect(house.database.dsn(f"bulkhead_{service}_relay")) as connection:
            connection.execute(
                sql.SQL("insert into {} (tenant_id, retry_at, last_error) values (%s, now(), 'sample')").format(
                    sql.Identifier(service, "outbox_parked")
                ),
                (company.tenant.tenant_id,),
            )


def _spread(house: House, company: Company) -> None:
    """A name that every tenant shows by now: one that is slow to is of a person with more tenants than this has."""
    with psycopg.connect(house.database.admin_dsn) as connection:
        connection.execute(
            "insert into identity.face_changes (user_id, done_at) values (%s, now())",
            (company.tenant.people[Role.OWNER].user_id,),
        )


def new_event(company: Company, **fields: Any) -> audit_writer_service_pb2.NewEvent:
    when = Timestamp()
    when.FromDatetime(datetime.datetime(2026, 11, 1, 12, 0, 0, next(_numbers), datetime.UTC))
    fields = {
        "event_id": str(new_id()),
        "occur_time": when,
        "actor_type": audit_event_pb2.ACTOR_TYPE_PERSON,
        "actor_id": company.one("user"),
        "action": "issue.created",
        "entity_type": "issue",
        "entity_id": company.one("issue"),
        "project_id": company.one("project"),
        "visibility": audit_event_pb2.VISIBILITY_EVERYONE,
        "outcome": audit_event_pb2.OUTCOME_OK,
        "changes_json": f'{{"title": [null, "{company.text()}"]}}',
        **fields,
    }
    return audit_writer_service_pb2.NewEvent(**fields)


async def append_events(company: Company) -> None:
    # One by each role, as everybody sees their own.
    events = [new_event(company, actor_id=str(person.user_id)) for person in company.tenant.people.values()]
    await company.tenant.service("issues").audit.AppendEvents(events=events)
    company.keep("audit_event", *(event.event_id for event in events))
