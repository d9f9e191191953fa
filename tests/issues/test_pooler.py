"""The services and the worker behind a PgBouncer in transaction mode with two connections of the server.

BULKHEAD_TEST_POOLER=1 takes all tests of a slice through one.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Iterator
from typing import Any

import psycopg
import pytest
from bulkhead_issues.expiry import actions
from bulkhead_kit.db import Database, PoolSettings
from bulkhead_kit.ids import new_id

from tests.audit.delivery import deliver, listed
from tests.support.builders import make_comment, make_issue, make_label, make_project
from tests.support.callers import worker_caller
from tests.support.client import Client, refused
from tests.support.house import House
from tests.support.pgbouncer import PgBouncer, needs_pgbouncer
from tests.support.postgres import Databases, ScratchDatabase

pytestmark = needs_pgbouncer

CALLS = 200
TENANTS = 4


@pytest.fixture(scope="module")
def database(databases: Databases) -> Iterator[ScratchDatabase]:
    made = databases.clone()
    with PgBouncer(databases.server, size=2) as pooler:
        yield pooler.through(made)
    databases.drop(made)


def mixed(client: Client, tenant_id: str, project: Any, issue: Any) -> list[Awaitable[Any]]:
    """One call of each kind."""
    return [
        client.issues.GetIssue(issue_id=issue.issue_id),
        make_issue(client, project.project_id),
        client.issues.ListIssues(page_size=20),
        make_label(client),
        make_comment(client, issue.issue_id),
        client.issues.ListComments(issue_id=issue.issue_id),
        client.issues.GetProject(project_id=project.project_id),
        client.identity.GetTenant(tenant_id=tenant_id),
        client.identity.ListMembers(),
        client.audit.ListEvents(page_size=10),
    ]


async def test_calls_of_all_kinds_and_tenants_at_once_all_end_well(house: House) -> None:
    tenants = [await house.tenant(f"t{number}") for number in range(TENANTS)]
    calls: list[Awaitable[Any]] = []
    for tenant in tenants:
        project = await make_project(tenant.owner)
        issue = await make_issue(tenant.owner, project.project_id)
        for _ in range(CALLS // TENANTS // 10):
            calls += mixed(tenant.owner, str(tenant.tenant_id), project, issue)
    assert len(calls) == CALLS
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert [one for one in found if isinstance(one, BaseException)] == []
    numbers = CALLS // TENANTS // 10
    for tenant in tenants:
        # Of its own and of nobody else's: the first one and those that were made at once.
        listed_issues = (await tenant.owner.issues.ListIssues(page_size=100)).issues
        assert len(listed_issues) == numbers + 1
    for one, other in itertools.pairwise(tenants):
        (issue, *_) = (await one.owner.issues.ListIssues(page_size=1)).issues
        with refused("NOT_FOUND"):
            await other.owner.issues.GetIssue(issue_id=issue.issue_id)
    with psycopg.connect(house.database.admin_dsn) as admin:
        counted = admin.execute(
            "select usename, count(*) from pg_stat_activity where datname = %s and usename like %s group by usename",
            (house.database.name, "%_app"),
        ).fetchall()
    assert max(dict(counted).values()) <= 2


async def test_what_was_done_through_the_pooler_reaches_the_log(house: House) -> None:
    tenant = await house.tenant("acme")
    project = await make_project(tenant.owner)
    made = [await make_issue(tenant.owner, project.project_id) for _ in range(3)]
    await deliver(house, tenant)
    told = {event.entity_id for event in await listed(tenant.owner) if event.action == "issue.created"}
    assert told == {issue.issue_id for issue in made}


async def test_the_worker_works_through_the_pooler(house: House) -> None:
    tenant = await house.tenant("acme")
    request_id = str(new_id())
    await tenant.owner.issues.CreateLabel(label={"name": "old"}, request_id=request_id)
    with psycopg.connect(house.database.admin_dsn) as admin:
        admin.execute(
            "update issues.request_ids set created_at = now() - interval '25 hours' where request_id = %s",
            (request_id,),
        )
    worker = Database(
        house.database.dsn("bulkhead_issues_worker"),
        PoolSettings(login="bulkhead_issues_worker", pooler=house.database.pool_mode),
    )
    await worker.open()
    removed = [await actions.expire(worker, worker_caller("issues"), batch=1) for _ in range(2)]
    await worker.close()
    assert removed == [1, 0]
