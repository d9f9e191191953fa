"""SuspendTenant while every member writes, in two services: once it has answered, nothing more is written."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import grpc.aio
import psycopg
import pytest
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.identity.platform.world import administrator
from tests.support.builders import make_issue, make_label, make_project
from tests.support.client import reason_of
from tests.support.house import House, Tenant
from tests.support.parts import PARTS

ROUNDS = 10
MANY = 50
_WRITTEN = """
    select (select count(*) from issues.issues where tenant_id = %(tenant)s)
        + (select count(*) from issues.labels where tenant_id = %(tenant)s)
        + (select count(*) from identity.invitations where tenant_id = %(tenant)s)
"""


@pytest.mark.parametrize("rounds", [ROUNDS, pytest.param(MANY, marks=pytest.mark.soak)])
async def test_no_write_is_late_when_a_tenant_is_suspended(house: House, rounds: int) -> None:
    tenant, (client, _) = await house.tenant("suspend"), await administrator(house)
    tenant.lift_limits()
    tenant_id = str(tenant.tenant_id)
    project = (await make_project(tenant.owner)).project_id
    ended: Counter[str] = Counter()
    written = 0
    for _ in range(rounds):
        before = _written(house, tenant)
        writing = [
            asyncio.create_task(_keep_writing(lambda role=role: make_issue(tenant.member(role), project), ended))
            for role in (Role.OWNER, Role.ADMIN, Role.MANAGER, Role.MEMBER)
        ]
        writing.append(asyncio.create_task(_keep_writing(lambda: make_label(tenant.member(Role.MANAGER)), ended)))
        writing.append(asyncio.create_task(_keep_writing(lambda: _invite(tenant), ended)))
        await asyncio.sleep(0.03)
        await client.identity.SuspendTenant(tenant_id=tenant_id, reason="Unpaid.")
        at_the_answer = _written(house, tenant)
        await asyncio.gather(*writing)
        assert _written(house, tenant) == at_the_answer
        written += at_the_answer - before
        await client.identity.ResumeTenant(tenant_id=tenant_id)
    assert ended == {"TENANT_SUSPENDED": 6 * rounds}
    assert written > rounds
    PARTS.found["Suspended in the middle"] = f"{rounds} times among {written} writes of four members, none late"


async def _keep_writing(write: Any, ended: Counter[str]) -> None:
    while True:
        try:
            await write()
        except grpc.aio.AioRpcError as error:
            ended[reason_of(error)] += 1
            return


async def _invite(tenant: Tenant) -> None:
    await tenant.member(Role.ADMIN).identity.InviteMember(email=f"{new_id()}@example.com", role=Role.VIEWER.value)


def _written(house: House, tenant: Tenant) -> int:
    with psycopg.connect(house.database.admin_dsn) as connection:
        row = connection.execute(_WRITTEN, {"tenant": tenant.tenant_id}).fetchone()
    assert row is not None
    return int(row[0])
