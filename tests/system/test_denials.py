"""A refused call is an event of the tenant's log, whichever service refused it."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
from bulkhead.audit.v1 import audit_event_pb2
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.isolation.world import Company, new_event
from tests.support.client import refused
from tests.support.house import House

Event = tuple[str, str, str, str, dict[str, Any]]


def in_outbox(admin: psycopg.Connection, schema: str, company: Company) -> list[Event]:
    """Actor, rpc, entity, outcome and changes of the refused calls."""
    table = psycopg.sql.Identifier(schema, "outbox")
    query = psycopg.sql.SQL(
        "select actor_id::text, rpc, entity_id::text, outcome, changes from {} "
        "where action = 'call.denied' and tenant_id = %s order by outbox_id"
    )
    return admin.execute(query.format(table), (company.tenant.tenant_id,)).fetchall()


async def test_identity_and_issues_write_them_to_their_outboxes(
    house: House, ours: Company, admin: psycopg.Connection
) -> None:
    viewer, user_id = ours.client(Role.VIEWER), str(ours.tenant.people[Role.VIEWER].user_id)
    for _ in range(3):
        with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
            await viewer.identity.DisableMember(user_id=str(new_id()))
    with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
        await viewer.issues.CreateLabel(label={"name": "mine"})
    # A rule of the slice refuses like the policy does.
    with refused("PERMISSION_DENIED", "ROLE_ABOVE_OWN"):
        await ours.client(Role.ADMIN).identity.InviteMember(email="a@example.com", role=Role.OWNER.value)
    await settled()
    assert in_outbox(admin, "identity", ours) == [
        (
            user_id,
            "bulkhead.identity.v1.MembershipService/DisableMember",
            user_id,
            "denied",
            {"reason": [None, "ROLE_TOO_LOW"], "calls": [None, 3]},
        ),
        (
            str(ours.tenant.people[Role.ADMIN].user_id),
            "bulkhead.identity.v1.MembershipService/InviteMember",
            str(ours.tenant.people[Role.ADMIN].user_id),
            "denied",
            {"reason": [None, "ROLE_ABOVE_OWN"], "calls": [None, 1]},
        ),
    ]
    ((actor, rpc, _, outcome, changes),) = in_outbox(admin, "issues", ours)
    assert (actor, rpc, outcome) == (user_id, "bulkhead.issues.v1.LabelService/CreateLabel", "denied")
    assert changes == {"reason": [None, "ROLE_TOO_LOW"], "calls": [None, 1]}


async def test_audit_writes_them_into_its_own_log(ours: Company, theirs: Company) -> None:
    viewer = ours.client(Role.VIEWER)
    # Every role reads the log; nobody but services writes it.
    with refused("PERMISSION_DENIED", "CALLER_NOT_ALLOWED"):
        await viewer.audit.AppendEvents(events=[new_event(ours)])
    await settled()
    query = 'action = "call.denied"'
    (event,) = (await ours.client(Role.OWNER).audit.ListEvents(filter=query)).events
    assert event.actor_id == str(ours.tenant.people[Role.VIEWER].user_id)
    assert event.rpc == "bulkhead.audit.v1.AuditWriterService/AppendEvents"
    assert event.outcome == audit_event_pb2.OUTCOME_DENIED
    assert not (await theirs.client(Role.OWNER).audit.ListEvents(filter=query)).events


async def test_who_has_been_disabled_is_written_down_too(
    house: House, ours: Company, admin: psycopg.Connection
) -> None:
    """Her token lasts for minutes after her membership has ended."""
    gone = ours.tenant.people[Role.MEMBER]
    await ours.client(Role.OWNER).identity.DisableMember(user_id=str(gone.user_id))
    with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
        await ours.client(Role.MEMBER).issues.CreateLabel(label={"name": "mine"})
    await settled()
    assert str(gone.user_id) in {event[0] for event in in_outbox(admin, "issues", ours)}


async def settled() -> None:
    """Refusals are written a moment after their answers."""
    await asyncio.sleep(1.5)
