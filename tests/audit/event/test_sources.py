"""A service speaks of its own things only: whoever has the key of one writes no events in another's name."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from bulkhead.audit.v1 import audit_writer_service_pb2 as writer_pb
from bulkhead_audit.event import rules
from bulkhead_kit.db import PLATFORM_LOG
from bulkhead_kit.ids import new_id

from tests.audit.builders import make_event
from tests.support.client import refused
from tests.support.house import House
from tests.support.postgres import ScratchDatabase

CHANGE_ROLE = "bulkhead.identity.v1.MembershipService/ChangeRole"
FORGED: dict[str, tuple[dict[str, Any], str]] = {
    "another's entity": ({"action": "member.updated", "entity_type": "member", "rpc": CHANGE_ROLE}, "entity_type"),
    "another's action": ({"action": "session.login_failed", "entity_type": "dream"}, "action"),
    "a call refused elsewhere": ({"action": "call.denied", "entity_type": "user", "rpc": CHANGE_ROLE}, "rpc"),
    "a call refused nowhere": ({"action": "call.denied", "entity_type": "user", "rpc": ""}, "rpc"),
}


@pytest.mark.parametrize("name", FORGED)
async def test_nothing_is_said_in_anothers_name(house: House, name: str) -> None:
    over, field = FORGED[name]
    acme = await house.tenant("acme")
    for tenant in (acme.tenant_id, PLATFORM_LOG):
        with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
            await house.service("issues", tenant).audit.AppendEvents(events=[make_event(), make_event(**over)])
        assert refusal.fields == [f"events[1].{field}"]
    assert not (await acme.owner.audit.ListEvents()).events


async def test_what_is_its_own_or_new_is_taken(house: House) -> None:
    acme = await house.tenant("acme")
    denied = make_event(action="call.denied", entity_type="user", rpc="bulkhead.issues.v1.IssueService/CreateIssue")
    new = make_event(action="dream.dreamt", entity_type="dream")
    await acme.service("issues").audit.AppendEvents(events=[make_event(), denied, new])
    own = make_event(action="member.updated", entity_type="member", rpc=CHANGE_ROLE)
    another = make_event(action="dream.dreamt", entity_type="dream")
    assert (await acme.service("identity").audit.AppendEvents(events=[own, another])).log_size == 5


INSERT = (
    "insert into audit.events (tenant_id, seq, event_id, occurred_at, recorded_at, actor_type, rpc, action,"
    " entity_type, entity_id, visibility, outcome, fields, encoding, values_digest, leaf_hash) values"
    " (%s, 1, %s, '2026-11-20', now(), 'person', %s, %s, %s, %s, 1, 'ok', '{}', 1, %s, %s)"
)


@pytest.mark.parametrize("name", [*FORGED, "its own"])
def test_the_database_says_so_too(database: ScratchDatabase, name: str) -> None:
    over, _ = FORGED.get(name, ({}, ""))
    event: writer_pb.NewEvent = make_event(**over)
    tenant = new_id()
    values = (tenant, new_id(), event.rpc, event.action, event.entity_type, new_id(), bytes(32), bytes(32))
    with psycopg.connect(database.dsn("bulkhead_audit_app")) as connection:
        connection.execute("select audit.make_months('2026-11-01', '2026-11-01')")
        connection.execute(
            "select set_config('app.tenant_id', %s, true), set_config('app.role', '6', true),"
            " set_config('app.service', 'issues', true), set_config('app.writing', 'true', true)",
            (str(tenant),),
        )
        connection.execute("insert into audit.logs (tenant_id) values (%s)", (tenant,))
        if name == "its own":
            connection.execute(INSERT, values)
        else:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(INSERT, values)
        connection.rollback()


def test_every_kind_that_is_captured_has_its_owner(database: ScratchDatabase) -> None:
    """A new one goes into audit.kind_owner and rules.OWNERS."""
    with psycopg.connect(database.admin_dsn) as connection:
        captured = connection.execute(
            r"""
            select c.service, c.kind, audit.kind_owner(c.kind) from (
                select n.nspname as service, substring(p.prosrc from $$v_verb, '([a-z_]+)'$$) as kind
                from pg_proc as p inner join pg_namespace as n on n.oid = p.pronamespace
                where p.proname like 'capture\_%' and n.nspname <> 'app'
            ) as c
            """
        ).fetchall()
        said = connection.execute("select k, audit.kind_owner(k) from unnest(%s::text[]) as k", ([*rules.OWNERS],))
        assert dict(said.fetchall()) == rules.OWNERS
    assert [(service, kind, owner) for service, kind, owner in captured if owner != service] == []
    assert {kind for _, kind, _ in captured} == rules.OWNERS.keys()
