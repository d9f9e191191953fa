from __future__ import annotations

from typing import Any

from bulkhead.issues.v1 import workflow_pb2
from bulkhead.rpc.v1.options_pb2 import ROLE_MEMBER
from bulkhead_kit.caller import Role

from tests.issues.support import as_app
from tests.support.client import refused
from tests.support.house import House, Tenant


async def test_the_default_workflow(tenant: Tenant, project: Any) -> None:
    reply = await tenant.member(Role.VIEWER).issues.ListStatuses()
    assert [(one.name, one.category, one.is_default) for one in reply.statuses] == [
        ("Backlog", workflow_pb2.STATUS_CATEGORY_BACKLOG, True),
        ("To do", workflow_pb2.STATUS_CATEGORY_TODO, False),
        ("In progress", workflow_pb2.STATUS_CATEGORY_IN_PROGRESS, False),
        ("In review", workflow_pb2.STATUS_CATEGORY_IN_PROGRESS, False),
        ("Done", workflow_pb2.STATUS_CATEGORY_DONE, False),
        ("Cancelled", workflow_pb2.STATUS_CATEGORY_CANCELLED, False),
    ]
    assert len(reply.transitions) == 17
    assert {one.least_role for one in reply.transitions} == {ROLE_MEMBER}
    names = {one.status_id: one.name for one in reply.statuses}
    moves = {(names[one.from_status_id], names[one.to_status_id]) for one in reply.transitions}
    assert ("In review", "Done") in moves
    assert ("Backlog", "Done") not in moves


async def test_archived_statuses_are_shown_when_asked_for(house: House, tenant: Tenant, project: Any) -> None:
    async with as_app(house, tenant) as connection:
        await connection.execute("update issues.statuses set archived_at = now() where name = 'In review'")
        await connection.commit()
    shown = await tenant.owner.issues.ListStatuses()
    assert "In review" not in [one.name for one in shown.statuses]
    assert len(shown.transitions) == 13
    everything = await tenant.owner.issues.ListStatuses(show_archived=True)
    assert (len(everything.statuses), len(everything.transitions)) == (6, 17)


async def test_each_tenant_has_its_own(tenant: Tenant, stranger: Tenant, project: Any) -> None:
    assert not (await stranger.owner.issues.ListStatuses()).statuses


async def test_nobody_lists_without_a_token(house: House) -> None:
    with refused("UNAUTHENTICATED", "TOKEN_MISSING"):
        await house.nobody().issues.ListStatuses()
