"""Who is no admin reads her own acts, and of their values what a call would show her now: compared with the calls."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import psycopg
import pytest
import pytest_asyncio
from bulkhead.audit.v1 import audit_event_pb2 as event_pb
from bulkhead_kit.caller import Role
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from tests.audit.delivery import deliver, listed
from tests.isolation.world import Company, make_company
from tests.support import people
from tests.support.captured import captured
from tests.support.client import Client, contracts, message_class, refused
from tests.support.house import House
from tests.support.people import set_context
from tests.support.postgres import ScratchDatabase

BELOW_ADMIN = (Role.MANAGER, Role.MEMBER, Role.VIEWER)


@dataclass(frozen=True)
class Shown:
    """How the calls show a kind of entity to every role; nothing means that no call does below admin."""

    message: str = ""
    more: frozenset[str] = frozenset()
    """Fields of events that are no columns."""
    read: Callable[[Client, event_pb.AuditEvent], Awaitable[Message | None]] | None = None

    def fields(self, captured: set[str]) -> set[str]:
        if not self.message:
            return set(self.more)
        contracts()  # loads them
        known = message_class(self.message).DESCRIPTOR.fields_by_name
        return {one for one in captured if one in known} | self.more


async def _status(client: Client, event: event_pb.AuditEvent) -> Message | None:
    found: Message | None = None
    for one in (await client.issues.ListStatuses()).statuses:
        if one.status_id == event.entity_id:
            found = one
    return found


async def _team_member(client: Client, event: event_pb.AuditEvent) -> Message | None:
    found: Message | None = None
    for one in (await client.identity.ListTeamMembers(team_id=event.entity_id)).members:
        if one.user_id == event.sub_id:
            found = one
    return found


KINDS = {
    "comment": Shown("bulkhead.issues.v1.Comment", read=lambda c, e: c.issues.GetComment(comment_id=e.entity_id)),
    "issue": Shown("bulkhead.issues.v1.Issue", read=lambda c, e: c.issues.GetIssue(issue_id=e.entity_id)),
    "issue_label": Shown("bulkhead.issues.v1.Issue", read=lambda c, e: c.issues.GetIssue(issue_id=e.entity_id)),
    "label": Shown("bulkhead.issues.v1.Label", read=lambda c, e: c.issues.GetLabel(label_id=e.entity_id)),
    "project": Shown("bulkhead.issues.v1.Project", read=lambda c, e: c.issues.GetProject(project_id=e.entity_id)),
    "status": Shown("bulkhead.issues.v1.Status", read=_status),
    "status_transition": Shown("bulkhead.issues.v1.Transition"),
    "workspace": Shown(
        "bulkhead.issues.v1.Workspace", read=lambda c, e: c.issues.GetWorkspace(workspace_id=e.entity_id)
    ),
    "member": Shown(
        "bulkhead.identity.v1.Member",
        read=lambda c, e: c.identity.GetMember(user_id=e.entity_id),
    ),
    "team": Shown("bulkhead.identity.v1.Team", read=lambda c, e: c.identity.GetTeam(team_id=e.entity_id)),
    "team_member": Shown("bulkhead.identity.v1.TeamMember", read=_team_member),
    "tenant": Shown(
        "bulkhead.identity.v1.Tenant",
        read=lambda c, e: c.identity.GetTenant(tenant_id=e.entity_id),
    ),
    # What the answer of a refused call said.
    "user": Shown(more=frozenset({"reason", "calls"})),
    # Listed to admins only, or to nobody.
    **dict.fromkeys(("api_key", "invitation", "support_entry", "support_grant"), Shown()),
    # Of no tenant: in the platform's log, which nobody reads.
    **dict.fromkeys(
        (
            *("credential", "mail_ask", "one_time_token", "plan", "refresh_token", "session", "tenant_allowance"),
            "user_profile",
        ),
        Shown(),
    ),
}


@dataclass
class Ground:
    house: House
    company: Company
    whole: dict[str, event_pb.AuditEvent]
    """The log as an owner reads it."""

    async def as_a(self, role: Role) -> Client:
        """The person who did nearly everything, with another role since."""
        tenant, connection = self.company.tenant, await self.house.connection()
        person = tenant.people[Role.OWNER].user_id
        now, version = await people.membership(connection, tenant.tenant_id, person)
        if now != role:
            await self.other_owner.identity.ChangeRole(user_id=str(person), role=role.value)
            _, version = await people.membership(connection, tenant.tenant_id, person)
        return self.house.member(person, tenant.tenant_id, role, version)

    @property
    def other_owner(self) -> Client:
        tenant = self.company.tenant
        return self.house.member(tenant.people[Role.ADMIN].user_id, tenant.tenant_id, Role.OWNER, 2)


@pytest_asyncio.fixture(scope="module")
async def ground(house: House) -> AsyncIterator[Ground]:
    company = await make_company(house, "acme")
    owner = company.client(Role.OWNER)
    await owner.identity.UpdateTenant(
        tenant={"tenant_id": company.one("tenant"), "description": company.text(), "settings": {"x": company.text()}}
    )
    await company.client(Role.MEMBER).issues.CreateIssue(
        issue={"project_id": company.one("project"), "title": company.text()}
    )
    await owner.identity.ChangeRole(user_id=str(company.tenant.people[Role.ADMIN].user_id), role=Role.OWNER.value)
    await deliver(house, company.tenant)
    made = Ground(house, company, {})
    made.whole = {event.event_id: event for event in await listed(made.other_owner)}
    yield made


def test_what_is_shown_of_each_kind_is_what_its_messages_have(database: ScratchDatabase) -> None:
    fields = {one.kind: one.names for one in captured(database)}
    assert fields.keys() == KINDS.keys(), "a new kind needs a line here and in audit.shown_fields"
    with psycopg.connect(database.admin_dsn) as connection:
        said = connection.execute("select k, audit.shown_fields(k) from unnest(%s::text[]) as k", ([*KINDS],))
        shown = {kind: set(fields) for kind, fields in said.fetchall()}
    assert shown == {kind: KINDS[kind].fields(found) for kind, found in fields.items()}
    assert sum(map(len, fields.values())) > 130


@pytest.mark.parametrize("role", BELOW_ADMIN)
async def test_an_event_shows_what_the_calls_show_that_role_now(ground: Ground, role: Role) -> None:
    client = await ground.as_a(role)
    mine = str(ground.company.tenant.people[Role.OWNER].user_id)
    # What a viewer does not know of is gone with all its events.
    expected = {
        event.event_id
        for event in ground.whole.values()
        if event.actor_id == mine and (event.visibility == event_pb.VISIBILITY_EVERYONE or role >= Role.MEMBER)
    }
    events = {event.event_id: event for event in await listed(client, size=7)}
    assert events.keys() == expected
    compared: dict[str, int] = defaultdict(int)
    for event in events.values():
        compared[event.entity_type] += await _compare(ground, client, event)
    hidden = {"invitation", "api_key", "support_grant"}
    assert hidden <= compared.keys()
    assert {kind for kind, number in compared.items() if number} >= {
        *("comment", "issue", "label", "project", "team", "team_member", "workspace", "tenant", "member")
    }


async def _compare(ground: Ground, client: Client, event: event_pb.AuditEvent) -> int:
    """How many values were found to be what a call shows."""
    full, kind = ground.whole[event.event_id], KINDS[event.entity_type]
    message = None if kind.read is None else await kind.read(client, event)
    known = kind.fields(set(full.fields))
    if kind.read is not None and message is None:
        known = set()  # no call shows it any more
    assert list(event.fields) == [one for one in full.fields if one in known], event
    assert {change.field for change in event.changes} == known
    assert [one for one in full.changes if one.field in known] == list(event.changes)
    bare = event_pb.AuditEvent()
    bare.CopyFrom(event)
    for one in ("seq", "record_time", "encoding", "values_digest", "leaf_hash", "salt", "ip", "user_agent", "erased"):
        bare.ClearField(one)
    assert bare == event
    for one in ("occur_time", "action", "entity_id", "sub_id", "project_id", "rpc", "request_id", "outcome"):
        assert getattr(event, one) == getattr(full, one)
    assert await client.audit.GetEvent(event_id=event.event_id) == event
    if message is None:
        return 0
    return sum(_same(one.field, json.loads(one.new_json), message) for one in event.changes)


def _same(field: str, value: object, message: Message) -> bool:
    """Whether the event has it in the form that the contract's JSON has."""
    shown = MessageToDict(message, preserving_proto_field_name=True).get(field)
    return value in shown if field == "label_ids" and isinstance(shown, list) else bool(value == shown)


async def test_others_acts_are_not_there_whatever_is_asked(ground: Ground) -> None:
    client = await ground.as_a(Role.MANAGER)
    mine = str(ground.company.tenant.people[Role.OWNER].user_id)
    others = [event for event in ground.whole.values() if event.actor_id != mine]
    assert len({event.actor_id for event in others}) > 2
    for event in others:
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
            await client.audit.GetEvent(event_id=event.event_id)
    asked = {f'entity_id = "{event.entity_id}"' for event in others} | {f'NOT actor_id = "{mine}"'}
    asked |= {f'actor_id = "{event.actor_id}"' for event in others if event.actor_id}
    for filter in asked:
        assert {one.actor_id for one in await listed(client, filter)} <= {mine}


async def test_a_token_of_more_is_no_token_of_less(ground: Ground) -> None:
    owner, manager = ground.other_owner, await ground.as_a(Role.MANAGER)
    token = (await owner.audit.ListEvents(page_size=1)).next_page_token
    with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
        await manager.audit.ListEvents(page_size=1, page_token=token)
    token = (await manager.audit.ListEvents(page_size=1)).next_page_token
    assert (await manager.audit.ListEvents(page_size=1, page_token=token)).events


COLUMNS = "select count(*) from audit.{}"
PROBES = {
    # What is to be 0 for the person, below admin; and for a viewer besides.
    "rows of the log": ("select count(*) from audit.events", Role.MANAGER),
    "rows of values": ("select count(*) from audit.event_values", Role.MANAGER),
    "others' acts": ("select count(*) from audit.own_events where actor_id <> app.current_user_id()", Role.MANAGER),
    "others' values": (
        "select count(*) from audit.own_event_values as v where not exists"
        " (select from audit.own_events as e where e.event_id = v.event_id)",
        Role.MANAGER,
    ),
    "names of hidden fields": (
        "select count(*) from audit.own_events where entity_type = 'invitation' and cardinality(fields) > 0",
        Role.MANAGER,
    ),
    "hidden values": (
        "select count(*) from audit.own_event_values where changes ?| '{email,prefix,ip_ranges,reason,expire_time}'"
        " and not changes ? 'calls'",
        Role.MANAGER,
    ),
    "internal acts": ("select count(*) from audit.own_events where visibility = 2", Role.VIEWER),
}
SHOWN = "create or replace function audit.shown_fields(p_kind text) returns text [] language sql immutable return {}"
LOOSENED = {
    "the log's right": ("alter policy read_right on audit.events using (app.role_level() >= 1)", "rows of the log"),
    "the values' right": (
        "alter policy read_right on audit.event_values using (app.role_level() >= 1)",
        "rows of values",
    ),
    "whose acts": (
        "alter policy own_acts on audit.events using (tenant_id = app.current_tenant_id() and"
        " (visibility = 1 or app.role_level() >= 2))",
        "others' acts",
    ),
    "internal ones": (
        "alter policy own_acts on audit.events using (tenant_id = app.current_tenant_id() and"
        " actor_id = app.current_user_id())",
        "internal acts",
    ),
    "names": (SHOWN.format("'{email,role}'::text[]"), "names of hidden fields"),
    "values": (SHOWN.format("'{email,role}'::text[]"), "hidden values"),
    "a barrier of the values": (
        "grant select on audit.event_values to bulkhead_audit_definer; create policy loose on audit.events for select"
        " to bulkhead_audit_definer using (tenant_id = app.current_tenant_id())",
        "others' acts",
    ),
}


async def told(ground: Ground, database: ScratchDatabase, probe: str) -> tuple[int, ...]:
    statement, highest = PROBES[probe]
    tenant = ground.company.tenant
    async with await psycopg.AsyncConnection.connect(database.dsn("bulkhead_audit_app")) as app:
        found = []
        for role in (one for one in BELOW_ADMIN if one <= highest):
            await set_context(
                app,
                tenant_id=tenant.tenant_id,
                user_id=tenant.people[Role.OWNER].user_id,
                role=role.value,
            )
            found += await (await app.execute(statement.encode())).fetchall()
            await app.rollback()
    return tuple(number for (number,) in found)


@pytest.mark.parametrize("probe", PROBES)
async def test_sql_shows_no_more(ground: Ground, probe: str) -> None:
    numbers = await told(ground, ground.house.database, probe)
    assert numbers
    assert not any(numbers)


@pytest.mark.parametrize("name", LOOSENED)
async def test_what_is_loosened_is_noticed(ground: Ground, name: str) -> None:
    sql, probe = LOOSENED[name]
    database = ground.house.database
    with database.server.admin(database.name) as admin, admin.transaction(force_rollback=True):
        admin.execute(sql.encode())
        assert any(_as_superuser(admin, ground, probe))


def _as_superuser(admin: psycopg.Connection, ground: Ground, probe: str) -> list[int]:
    """Within the transaction that loosened it."""
    statement, highest = PROBES[probe]
    tenant = ground.company.tenant
    found = []
    admin.execute("set local role bulkhead_audit_app")
    for role in (one for one in BELOW_ADMIN if one <= highest):
        admin.execute(
            "select set_config('app.tenant_id', %s, true), set_config('app.user_id', %s, true),"
            " set_config('app.role', %s, true)",
            (str(tenant.tenant_id), str(tenant.people[Role.OWNER].user_id), str(role.value)),
        )
        found += [number for (number,) in admin.execute(statement.encode()).fetchall()]
    return found
