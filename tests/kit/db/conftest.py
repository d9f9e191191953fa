"""A member of a tenant, and the pool of the issues service's own role."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from bulkhead_kit.caller import Caller, Role
from bulkhead_kit.db import Database, PoolSettings

from tests.support.postgres import ScratchDatabase

Make = Callable[..., Caller]


def make_tenant(database: ScratchDatabase) -> tuple[UUID, UUID]:
    """A tenant and its owner, as identity's own functions would leave them."""
    tenant, user = uuid4(), uuid4()
    with psycopg.connect(database.admin_dsn) as connection:
        connection.execute("set role bulkhead_identity_owner")
        connection.execute(
            "insert into identity.users (user_id, kind, email, full_name) values (%s, 'person', %s, 'Ada')",
            (user, f"{user}@example.com"),
        )
        connection.execute(
            "insert into identity.tenants (tenant_id, slug, name) values (%s, %s, 'Acme')",
            (tenant, f"t{tenant.hex[:12]}"),
        )
        connection.execute(
            "insert into identity.tenant_usage (tenant_id) values (%s) on conflict do nothing", (tenant,)
        )
        connection.execute(
            "insert into identity.memberships (tenant_id, user_id, kind, role, display_name)"
            " values (%s, %s, 'person', 5, 'Ada')",
            (tenant, user),
        )
    return tenant, user


@pytest.fixture
async def issues(database: ScratchDatabase) -> AsyncIterator[Database]:
    made = Database(database.dsn("bulkhead_issues_app"), PoolSettings(min_size=1, max_size=8))
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def owner(database: ScratchDatabase) -> Make:
    return make_owner(database)


def make_owner(database: ScratchDatabase) -> Make:
    """Makes callers who are the owner of one tenant; keywords change what the test is about."""
    tenant, user = make_tenant(database)

    def make(**over: Any) -> Caller:
        facts: dict[str, Any] = {
            "actor_type": "person",
            "rpc": "test/Method",
            "request_id": "test",
            "deadline": time.monotonic() + 5,
            "tenant_id": tenant,
            "user_id": user,
            "role": Role.OWNER,
            "membership_version": 1,
        }
        return Caller(**{**facts, **over})

    return make
