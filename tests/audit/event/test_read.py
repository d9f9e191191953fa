"""Reading the log: filters, pages, who sees what, and an answer that can be checked."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from bulkhead.audit.v1 import audit_event_pb2 as event_pb
from bulkhead.audit.v1 import audit_writer_service_pb2 as writer_pb
from bulkhead_audit.event import encoding, store
from bulkhead_audit.event.rules import EventRow, NewEvent
from bulkhead_kit import moments, wire
from bulkhead_kit.caller import Role
from bulkhead_kit.db import PLATFORM_LOG
from bulkhead_kit.ids import new_id

from tests.audit.builders import make_event
from tests.support.client import Client, refused
from tests.support.house import House, Tenant

NOW = datetime(2026, 11, 15, 12, tzinfo=UTC)


async def append(house: House, tenant: UUID, *events: writer_pb.NewEvent, by: str = "issues") -> None:
    for start in range(0, len(events), 500):
        await house.service(by, tenant).audit.AppendEvents(events=events[start : start + 500])


async def every(client: Client, filter: str = "", page_size: int = 0) -> list[event_pb.AuditEvent]:
    """All pages."""
    events: list[event_pb.AuditEvent] = []
    token = ""
    while True:
        reply = await client.audit.ListEvents(filter=filter, page_size=page_size, page_token=token)
        events += reply.events
        token = reply.next_page_token
        if not token:
            return events
        assert reply.events


@pytest.fixture
async def acme(house: House) -> Tenant:
    return await house.tenant("acme")


async def test_all_changes_by_one_user_last_week_across_all_projects(house: House, acme: Tenant) -> None:
    ada, bob = str(new_id()), str(new_id())
    events = [
        make_event(actor_id=who, project_id=str(new_id()), occur_time=NOW - timedelta(days=days))
        for days in range(14)
        for who in (ada, bob)
    ]
    await append(house, acme.tenant_id, *events)
    asked = f'actor_id = "{ada}" AND occur_time >= "2026-11-08T12:00:00Z"'
    got = await every(acme.member(Role.ADMIN), asked)
    assert [event.event_id for event in got] == [event.event_id for event in events[0:16:2]]
    assert len({event.project_id for event in got}) == 8


async def test_each_filter_finds_just_what_it_names(house: House, acme: Tenant, rng: random.Random) -> None:
    ids = [str(new_id()) for _ in range(3)]
    events = [
        make_event(
            occur_time=NOW - timedelta(seconds=i),
            actor_id=rng.choice(["", *ids]),
            actor_type=rng.randint(1, 6),
            on_behalf_of=rng.choice(["", *ids]),
            entity_type=rng.choice(("issue", "comment")),
            entity_id=rng.choice(ids),
            sub_id=rng.choice(["", *ids]),
            project_id=rng.choice(["", *ids]),
            action=rng.choice(("issue.created", "issue.updated", "comment.deleted")),
            request_id=rng.choice(("", "r1", "r2")),
            service=rng.choice(("", "issues")),
            rpc=rng.choice(("", "a/B", "a/C")),
            visibility=rng.randint(1, 2),
            outcome=rng.randint(1, 3),
        )
        for i in range(120)
    ]
    await append(house, acme.tenant_id, *events)
    asked: list[tuple[str, Any]] = [
        (f'actor_id = "{ids[0]}"', lambda e: e.actor_id == ids[0]),
        (f'actor_id != "{ids[0]}"', lambda e: e.actor_id != ids[0]),
        (f'on_behalf_of = "{ids[1]}"', lambda e: e.on_behalf_of == ids[1]),
        ("actor_type = ACTOR_TYPE_SERVICE", lambda e: e.actor_type == event_pb.ACTOR_TYPE_SERVICE),
        (
            f'entity_type = issue AND entity_id = "{ids[2]}"',
            lambda e: (e.entity_type, e.entity_id) == ("issue", ids[2]),
        ),
        (f'sub_id = "{ids[0]}"', lambda e: e.sub_id == ids[0]),
        (f'project_id = "{ids[1]}"', lambda e: e.project_id == ids[1]),
        ('action = "issue.created"', lambda e: e.action == "issue.created"),
        ('action : "issue.*"', lambda e: e.action.startswith("issue.")),
        ('action = "issue.created" OR action = "comment.deleted"', lambda e: e.action != "issue.updated"),
        ("request_id = r1", lambda e: e.request_id == "r1"),
        ("service = issues", lambda e: e.service == "issues"),
        ('rpc = "a/B"', lambda e: e.rpc == "a/B"),
        ("visibility = VISIBILITY_INTERNAL", lambda e: e.visibility == 2),
        ("NOT outcome = OUTCOME_OK", lambda e: e.outcome != 1),
        ('occur_time < "2026-11-15T11:59:00Z"', lambda e: e.occur_time.seconds < NOW.timestamp() - 60),
        (
            f'project_id = "{ids[1]}" AND outcome = OUTCOME_OK AND (request_id = r1 OR actor_id = "{ids[0]}")',
            lambda e: e.project_id == ids[1] and e.outcome == 1 and (e.request_id == "r1" or e.actor_id == ids[0]),
        ),
    ]
    client = acme.member(Role.ADMIN)
    for text, holds in asked:
        expected = [event.event_id for event in events if holds(event)]
        assert 0 < len(expected) < 120, text
        got = await every(client, f'{text} AND occur_time > "2026-11-15T11:00:00Z"', page_size=7)
        assert [event.event_id for event in got] == expected, text


async def test_me_is_the_caller(house: House, acme: Tenant) -> None:
    client = acme.member(Role.ADMIN)
    mine = make_event(actor_id=str(acme.people[Role.ADMIN].user_id))
    await append(house, acme.tenant_id, mine, make_event())
    assert [event.event_id for event in await every(client, "actor_id = me")] == [mine.event_id]


@pytest.mark.parametrize("size", [1, 7, 50, 200])
async def test_pages_are_full_and_hold_every_event_once(house: House, acme: Tenant, size: int) -> None:
    # Many within one microsecond, over the turn of a month, and not in order.
    moments = [NOW.replace(month=12 if i % 2 else 11, day=1) - timedelta(microseconds=i // 10) for i in range(230)]
    events = [make_event(occur_time=moment) for moment in moments]
    await append(house, acme.tenant_id, *events)
    client = acme.member(Role.ADMIN)
    seen: list[event_pb.AuditEvent] = []
    token = ""
    while True:
        reply = await client.audit.ListEvents(page_size=size, page_token=token)
        seen += reply.events
        token = reply.next_page_token
        if not token:
            break
        assert len(reply.events) == size
    assert len(seen) == len(events)
    keys = [(event.occur_time.seconds, event.occur_time.nanos, event.seq) for event in seen]
    assert keys == sorted(keys, reverse=True)
    assert {event.event_id for event in seen} == {event.event_id for event in events}


async def test_an_event_that_arrives_between_pages_disturbs_none(house: House, acme: Tenant) -> None:
    events = [make_event(occur_time=NOW - timedelta(minutes=i)) for i in range(6)]
    await append(house, acme.tenant_id, *events)
    client = acme.member(Role.ADMIN)
    first = await client.audit.ListEvents(page_size=3)
    late = make_event(occur_time=NOW - timedelta(days=3))
    await append(house, acme.tenant_id, make_event(occur_time=NOW + timedelta(minutes=1)), late)
    second = await client.audit.ListEvents(page_size=10, page_token=first.next_page_token)
    assert [event.event_id for event in (*first.events, *second.events)] == [
        event.event_id for event in (*events, late)
    ]


async def test_large_events_make_a_page_shorter_not_a_failure(
    house: House, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    list_events = store.list_events

    async def counted(*arguments: Any) -> list[EventRow]:
        rows = await list_events(*arguments)
        read.append(len(rows))
        return rows

    monkeypatch.setattr(store, "list_events", counted)
    large = json.dumps({"body": [None, "x" * 250_000]})
    events = [make_event(changes_json=large, occur_time=NOW - timedelta(minutes=i)) for i in range(8)]
    for event in events:
        await append(house, acme.tenant_id, event)
    reply = await acme.owner.audit.ListEvents(page_size=8)
    assert len(reply.events) == 3
    # The fourth says that there are more; the others stay in the database.
    assert read == [4]
    assert [event.event_id for event in await every(acme.owner)] == [event.event_id for event in events]


async def test_a_page_token_is_good_for_its_own_question_only(house: House, acme: Tenant) -> None:
    await append(house, acme.tenant_id, *[make_event() for _ in range(3)])
    client = acme.member(Role.ADMIN)
    token = (await client.audit.ListEvents(page_size=1)).next_page_token
    with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
        await client.audit.ListEvents(page_size=1, page_token=token, filter="actor_id = me")
    with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
        await client.audit.ListEvents(page_token=token[:-1])
    other = await house.tenant("globex")
    with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
        await other.owner.audit.ListEvents(page_token=token)


@pytest.mark.parametrize(
    ("filter", "position"),
    [
        ("title = x", "0"),
        ("actor_id = 7", "11"),
        ("actor_type = person", "13"),
        ("occur_time > soon", "13"),
        ("(", "1"),
    ],
)
async def test_a_bad_filter_names_its_place(house: House, acme: Tenant, filter: str, position: str) -> None:
    with refused("INVALID_ARGUMENT", "INVALID_FILTER") as refusal:
        await acme.owner.audit.ListEvents(filter=filter)
    assert refusal.metadata["position"] == position


@pytest.mark.parametrize("role", [Role.VIEWER, Role.MEMBER, Role.MANAGER])
async def test_below_admin_everybody_reads_their_own_acts(house: House, acme: Tenant, role: Role) -> None:
    mine = make_event(actor_id=str(acme.people[role].user_id))
    for_me = make_event(on_behalf_of=str(acme.people[role].user_id))
    await append(house, acme.tenant_id, make_event(), mine, for_me)
    client = acme.member(role)
    assert [event.event_id for event in await every(client)] == [mine.event_id]
    assert (await client.audit.GetEvent(event_id=mine.event_id)).event_id == mine.event_id
    with refused("NOT_FOUND", "RESOURCE_NOT_FOUND"):
        await client.audit.GetEvent(event_id=for_me.event_id)


async def test_pages_of_own_acts_hold_every_one_once(house: House, acme: Tenant) -> None:
    me = str(acme.people[Role.MEMBER].user_id)
    # Many within one microsecond, over the turn of a month, others' between them.
    moments = [NOW.replace(month=12 if i % 2 else 11, day=1) - timedelta(microseconds=i // 10) for i in range(60)]
    mine = [make_event(occur_time=moment, actor_id=me) for moment in moments]
    await append(house, acme.tenant_id, *[one for own in mine for one in (own, make_event(occur_time=own.occur_time))])
    got = await every(acme.member(Role.MEMBER), page_size=7)
    assert len(got) == len(mine)
    assert {event.event_id for event in got} == {event.event_id for event in mine}


async def test_another_tenant_sees_nothing(house: House, acme: Tenant) -> None:
    globex = await house.tenant("globex")
    event, own = make_event(), make_event()
    await append(house, acme.tenant_id, event)
    await append(house, globex.tenant_id, own)
    assert [one.event_id for one in await every(globex.owner)] == [own.event_id]
    assert await every(globex.owner, f'entity_id = "{event.entity_id}"') == []
    with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as theirs:
        await globex.owner.audit.GetEvent(event_id=event.event_id)
    with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as nobodys:
        await globex.owner.audit.GetEvent(event_id=str(new_id()))
    assert theirs.status == nobodys.status
    assert (await acme.owner.audit.GetEvent(event_id=event.event_id)).event_id == event.event_id


async def test_the_platform_log_is_read_by_nobody(house: House, acme: Tenant) -> None:
    event = make_event(action="session.login_failed", entity_type="session", outcome=3)
    await append(house, PLATFORM_LOG, event, by="identity")
    owner = acme.people[Role.OWNER].user_id
    for role in (Role.MANAGER, Role.ADMIN, Role.OWNER):
        with refused("UNAUTHENTICATED", "MEMBERSHIP_CHANGED"):
            await house.member(owner, PLATFORM_LOG, role).audit.GetEvent(event_id=event.event_id)
    with psycopg.connect(house.database.dsn("bulkhead_audit_app")) as connection:
        for level in range(1, 6):
            with connection.transaction():
                connection.execute("select set_config('app.tenant_id', %s, true)", (str(PLATFORM_LOG),))
                connection.execute("select set_config('app.role', %s, true)", (str(level),))
                for table in ("events", "event_values", "logs"):
                    counted = connection.execute(f"select count(*) from audit.{table}").fetchone()
                    assert counted == (0,), (level, table)


async def test_only_listed_services_append(house: House, acme: Tenant) -> None:
    for role in Role:
        with refused("PERMISSION_DENIED", "CALLER_NOT_ALLOWED"):
            await acme.member(role).audit.AppendEvents(events=[make_event()])
    with refused("PERMISSION_DENIED", "CALLER_NOT_ALLOWED"):
        await house.service("audit", acme.tenant_id).audit.AppendEvents(events=[make_event()])
    with refused("UNAUTHENTICATED", "TOKEN_MISSING"):
        await house.nobody().audit.AppendEvents(events=[make_event()])
    with refused("INVALID_ARGUMENT", "INVALID_METADATA"):
        await house.service("issues").audit.AppendEvents(events=[make_event()])
    assert await every(acme.owner) == []


async def test_a_wrong_event_is_named_and_nothing_is_appended(house: House, acme: Tenant) -> None:
    good = make_event()
    for field, over in (
        ("events[1].event_id", {"event_id": "no"}),
        ("events[1].action", {"action": "Issue Updated"}),
        ("events[1].actor_type", {"actor_type": 99}),
        ("events[1].occur_time", {"occur_time": None}),
        ("events[1].changes_json", {"changes_json": '{"title": ["old"]}'}),
        ("events[1].user_agent", {"user_agent": "x" * 513}),
    ):
        with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
            await acme.service("issues").audit.AppendEvents(events=[good, make_event(**over)])
        assert refusal.fields == [field]
    for events in ([], [make_event() for _ in range(501)]):
        with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
            await acme.service("issues").audit.AppendEvents(events=events)
    assert await every(acme.owner) == []


async def test_an_answer_can_be_checked_against_its_hashes(house: House, acme: Tenant) -> None:
    cut = '{"new":{"bytes":9,"sha256":"' + "0" * 64 + '"}}'
    sent = make_event(
        changes_json='{"estimate": [1.50, null], "body": ["a", "b", ' + cut + "]}",
        project_id=str(new_id()),
        visibility=2,
    )
    await append(house, acme.tenant_id, make_event(), sent)
    got = await acme.owner.audit.GetEvent(event_id=sent.event_id)
    assert [(one.field, one.old_json, one.new_json) for one in got.changes] == [
        ("body", '"a"', '"b"'),
        ("estimate", "1.5", "null"),
    ]
    assert got.changes[0].new_cut == event_pb.CutValue(size_bytes=9, sha256="0" * 64)
    assert not got.changes[0].HasField("old_cut")
    text = '{"body":["a","b",' + cut + '],"estimate":[1.5,null]}'
    assert encoding.values_digest(got.salt, text, got.ip, got.user_agent) == got.values_digest
    event = NewEvent(
        event_id=got.event_id,
        occurred_at=moments.us_since_2000(wire.to_datetime(got.occur_time)),
        actor_type="person",
        actor_id=got.actor_id,
        on_behalf_of=None,
        request_id=got.request_id,
        service=None,
        rpc=got.rpc,
        action=got.action,
        entity_type=got.entity_type,
        entity_id=got.entity_id,
        sub_id=None,
        project_id=got.project_id,
        visibility=2,
        outcome="ok",
        changes=encoding.parse_changes(text, ""),
        ip=None,
        user_agent=None,
    )
    recorded_at = moments.us_since_2000(wire.to_datetime(got.record_time))
    line = encoding.envelope(str(acme.tenant_id), event, seq=2, recorded_at=recorded_at, digest=got.values_digest)
    assert encoding.leaf_hash(line) == got.leaf_hash
    assert (got.seq, got.encoding, list(got.fields)) == (2, 1, ["body", "estimate"])


async def test_addresses_are_for_admins_and_salts_for_single_events(house: House, acme: Tenant) -> None:
    """To a manager no salt either, of her own acts: with it and the digest one would only have to try all addresses."""
    event = make_event(actor_id=str(acme.people[Role.MANAGER].user_id))
    await append(house, acme.tenant_id, event)
    for role, shown, salt in ((Role.MANAGER, ("", ""), 0), (Role.ADMIN, (event.ip, event.user_agent), 32)):
        (listed,) = await every(acme.member(role))
        got = await acme.member(role).audit.GetEvent(event_id=event.event_id)
        assert (listed.ip, listed.user_agent) == (got.ip, got.user_agent) == shown
        assert listed.salt == b""
        assert len(got.salt) == salt
        assert not got.erased


async def test_after_an_erasure_the_event_stays_without_its_values(house: House, acme: Tenant) -> None:
    event = make_event()
    await append(house, acme.tenant_id, event)
    before = await acme.owner.audit.GetEvent(event_id=event.event_id)
    with psycopg.connect(house.database.admin_dsn, autocommit=True) as connection:
        # No login may yet: the trigger is kept from firing.
        connection.execute("set session_replication_role = replica")
        erased = connection.execute(
            "delete from audit.event_values where tenant_id = %s and event_id = %s", (acme.tenant_id, event.event_id)
        )
        assert erased.rowcount == 1
    after = await acme.owner.audit.GetEvent(event_id=event.event_id)
    assert after.erased
    assert not before.erased
    assert (list(after.changes), after.ip, after.user_agent, after.salt) == ([], "", "", b"")
    assert (after.leaf_hash, after.values_digest, after.fields) == (
        before.leaf_hash,
        before.values_digest,
        before.fields,
    )
    (listed,) = await every(acme.owner)
    assert listed.erased


@pytest.mark.parametrize("status", ["suspended", "deleted"])
async def test_the_end_of_a_tenant_is_logged_too(house: House, acme: Tenant, status: str) -> None:
    with psycopg.connect(house.database.admin_dsn, autocommit=True) as connection:
        gone = "deleted_at = now(), purge_after = now() + interval '30 days'" if status == "deleted" else "slug = slug"
        connection.execute(
            f"update identity.tenants set status = %s, {gone} where tenant_id = %s", (status, acme.tenant_id)
        )
    reply = await acme.service("identity").audit.AppendEvents(
        events=[make_event(action="tenant.updated", entity_type="tenant")]
    )
    assert (reply.appended_count, reply.log_size) == (1, 1)
