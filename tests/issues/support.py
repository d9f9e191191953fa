"""What several tests of the issues service need besides the builders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
from bulkhead_kit.caller import Role
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support import people
from tests.support.house import House, Tenant

RANDOM_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
"""Of nothing."""


def stamp(text: str) -> Timestamp:
    """2025-03-01T12:00:00Z as a message."""
    found = Timestamp()
    found.FromJsonString(text)
    return found


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@asynccontextmanager
async def as_app(
    house: House, tenant: Tenant, role: Role = Role.OWNER, *, importing: bool = False
) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """A transaction as the service's own login, with the context the kit would set; rolled back at the end."""
    connection = await psycopg.AsyncConnection.connect(
        house.database.dsn("bulkhead_issues_app"), prepare_threshold=None
    )
    try:
        await people.set_context(
            connection,
            tenant_id=tenant.tenant_id,
            user_id=tenant.people[role].user_id,
            role=role.value,
            actor_type="person",
            importing="on" if importing else "",
        )
        yield connection
    finally:
        await connection.rollback()
        await connection.close()


async def outbox(house: House, tenant: Tenant) -> list[tuple[str, str]]:
    """What the tenant's changes have left for audit: action and entity id, in the order of their making."""
    async with await psycopg.AsyncConnection.connect(house.database.dsn("bulkhead_issues_relay")) as connection:
        cursor = await connection.execute(
            "select action, entity_id::text from issues.outbox where tenant_id = %s order by outbox_id",
            (tenant.tenant_id,),
        )
        return list(await cursor.fetchall())
