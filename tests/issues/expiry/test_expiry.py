from __future__ import annotations

import psycopg
from bulkhead.issues.v1 import workspace_pb2
from bulkhead_issues.expiry import actions
from bulkhead_kit.db import Database, PoolSettings
from bulkhead_kit.ids import new_id

from tests.support.callers import worker_caller
from tests.support.client import refused
from tests.support.house import House, Tenant


async def test_answered_calls_are_kept_for_a_day_and_then_removed(house: House, tenant: Tenant) -> None:
    ids = [str(new_id()) for _ in range(3)]
    for number, request_id in enumerate(ids):
        await tenant.owner.issues.CreateWorkspace(
            workspace=workspace_pb2.Workspace(name=f"W{number}"), request_id=request_id
        )
    async with await psycopg.AsyncConnection.connect(house.database.admin_dsn) as connection:
        await connection.execute(
            "update issues.request_ids set created_at = now() - interval '25 hours' where request_id = any(%s)",
            ([ids[0], ids[1]],),
        )
    worker = Database(house.database.dsn("bulkhead_issues_worker"), PoolSettings(pooler=house.database.pool_mode))
    await worker.open()
    removed = [await actions.expire(worker, worker_caller("issues"), batch=1) for _ in range(3)]
    assert removed == [1, 1, 0]
    await worker.close()
    same = await tenant.owner.issues.CreateWorkspace(workspace=workspace_pb2.Workspace(name="W2"), request_id=ids[2])
    assert same.name == "W2"
    with refused("ALREADY_EXISTS", "ALREADY_TAKEN"):
        await tenant.owner.issues.CreateWorkspace(workspace=workspace_pb2.Workspace(name="W0"), request_id=ids[0])
