"""What the services themselves record arrives: audit refuses none of it, and the owner reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import psycopg
from bulkhead.audit.v1 import audit_event_pb2 as event_pb
from bulkhead.issues.v1 import comment_pb2, issue_pb2
from bulkhead_kit import clock
from bulkhead_kit.caller import Role
from bulkhead_kit.db import PLATFORM_LOG
from bulkhead_kit.outbox.calls import AuditClient
from bulkhead_kit.outbox.process import keep_delivering
from bulkhead_kit.outbox.relay import Tuning
from bulkhead_kit.telemetry import RelayMetrics
from google.protobuf.field_mask_pb2 import FieldMask
from prometheus_client import CollectorRegistry

from tests.support import builders
from tests.support.client import Client
from tests.support.house import House

SERVICES = ("identity", "issues")


@asynccontextmanager
async def relay(house: House, service: str) -> AsyncIterator[None]:
    stop = asyncio.Event()
    client = AuditClient(house.running["audit"].address, house.mint.services[service])
    metrics = RelayMetrics(CollectorRegistry())
    url = house.database.dsn(f"bulkhead_{service}_relay")
    task = asyncio.create_task(keep_delivering(url, service, client, metrics, stop, Tuning()))
    try:
        yield
    finally:
        stop.set()
        await task
        await client.close()


async def deliver_all(house: House) -> None:
    ends = clock.monotonic() + 20
    async with AsyncExitStack() as stack:
        for service in SERVICES:
            await stack.enter_async_context(relay(house, service))
        with psycopg.connect(house.database.admin_dsn, autocommit=True) as connection:
            for service in SERVICES:
                left = (
                    f"select (select count(*) from {service}.outbox),"
                    f" (select min(last_error) from {service}.outbox_parked)"
                )
                while (found := connection.execute(left).fetchone()) != (0, None):
                    assert found is not None
                    assert found[1] is None, found[1]
                    assert clock.monotonic() < ends, f"{found[0]} rows of {service} are not delivered"
                    await asyncio.sleep(0.05)


async def every(client: Client, filter: str = "") -> list[event_pb.AuditEvent]:
    events: list[event_pb.AuditEvent] = []
    token = ""
    while True:
        reply = await client.audit.ListEvents(filter=filter, page_size=200, page_token=token)
        events += reply.events
        token = reply.next_page_token
        if not token:
            return events


async def test_a_tenants_life_is_read_back_by_its_owner(house: House) -> None:
    acme, globex = await house.tenant("acme"), await house.tenant("globex")
    member, owner = acme.member(Role.MEMBER), acme.owner
    project = await builders.make_project(acme.member(Role.MANAGER))
    label = await builders.make_label(acme.member(Role.MANAGER))
    issue = await builders.make_issue(member, project.project_id, title="Leak", label_ids=[label.label_id])
    renamed = issue_pb2.Issue(issue_id=issue.issue_id, title="Flood")
    await member.issues.UpdateIssue(issue=renamed, update_mask=FieldMask(paths=["title"]))
    assignee = str(acme.people[Role.OWNER].user_id)
    await acme.member(Role.MANAGER).issues.AssignIssue(issue_id=issue.issue_id, assignee_id=assignee)
    internal = await builders.make_comment(member, issue.issue_id, visibility=comment_pb2.VISIBILITY_INTERNAL)
    await builders.make_issue(globex.member(Role.MEMBER), (await builders.make_project(globex.owner)).project_id)

    await deliver_all(house)

    of_issue = await every(owner, f'entity_type = issue AND entity_id = "{issue.issue_id}"')
    assert [event.action for event in reversed(of_issue)][:2] == ["issue.created", "issue.updated"]
    (title,) = [change for event in of_issue[:-1] for change in event.changes if change.field == "title"]
    assert (title.old_json, title.new_json) == ('"Leak"', '"Flood"')
    person = str(acme.people[Role.MEMBER].user_id)
    assert {event.actor_id for event in of_issue} == {person, str(acme.people[Role.MANAGER].user_id)}
    created = of_issue[-1]
    assert (created.rpc, created.project_id) == ("bulkhead.issues.v1.IssueService/CreateIssue", project.project_id)
    assert created.actor_type == event_pb.ACTOR_TYPE_PERSON
    assert created.request_id
    assert created.ip == "127.0.0.1"

    (commented,) = await every(owner, f'entity_id = "{internal.comment_id}"')
    assert commented.visibility == event_pb.VISIBILITY_INTERNAL
    everything = await every(owner)
    assert {event.entity_type for event in everything} >= {
        "tenant",
        "member",
        "project",
        "issue",
        "comment",
        "label",
    }
    assert {event.event_id for event in everything}.isdisjoint(event.event_id for event in await every(globex.owner))


async def test_what_happens_outside_tenants_is_in_the_platform_log(house: House) -> None:
    person = await house.person()
    await deliver_all(house)
    with psycopg.connect(house.database.admin_dsn) as connection:
        actions = connection.execute(
            "select action from audit.events where tenant_id = %s and entity_id = %s", (PLATFORM_LOG, person.user_id)
        ).fetchall()
    assert ("user.created",) in actions
