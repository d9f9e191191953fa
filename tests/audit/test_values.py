"""Values come with their event: what was erased, or never was, is not written in later."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest
from bulkhead_kit.ids import new_id
from psycopg import errors

from tests.audit.test_heads import as_service
from tests.support.postgres import Databases, ScratchDatabase

EVENT = """
insert into audit.events (tenant_id, seq, event_id, occurred_at, recorded_at, actor_type, action, entity_type,
    entity_id, visibility, outcome, fields, encoding, values_digest, leaf_hash)
values (%s, %s, %s, '2026-11-20', now(), 'system', 'a.b', 'a', gen_random_uuid(), 1, 'ok', '{}', 1, sha256(''),
    sha256(''))
"""
VALUES = """
insert into audit.event_values (tenant_id, event_id, occurred_at, salt, changes)
select %s, e, %s, sha256(''), '{"forged": [null, true]}' from unnest(%s::uuid[]) as e
"""
WHEN = "2026-11-20"


@pytest.fixture(scope="module")
def tenant() -> UUID:
    return new_id()


@pytest.fixture(scope="module")
def erased(database: ScratchDatabase, tenant: UUID) -> UUID:
    """An event whose values are gone."""
    event = new_id()
    with as_service(database, tenant) as connection:
        connection.execute("insert into audit.logs (tenant_id) values (%s)", (tenant,))
        connection.execute(EVENT, (tenant, 1, event))
    return event


def refusals(database: ScratchDatabase, tenant: UUID, erased: UUID) -> Iterator[bool]:
    """Late values, those of no event, of an event of this transaction at another time, and late ones beside right."""
    new = new_id()
    for events, when in (([erased], WHEN), ([new_id()], WHEN), ([new], "2026-11-21"), ([new, erased], WHEN)):
        with as_service(database, tenant) as connection:
            if new in events:
                connection.execute(EVENT, (tenant, 2, new))
            yield _refused(connection, tenant, events, when)


def _refused(connection: psycopg.Connection, tenant: UUID, events: list[UUID], when: str) -> bool:
    try:
        connection.execute(VALUES, (tenant, when, events))
    except errors.CheckViolation:
        return True
    finally:
        connection.rollback()
    return False


def test_values_come_in_the_transaction_of_their_event(database: ScratchDatabase, tenant: UUID, erased: UUID) -> None:
    assert all(refusals(database, tenant, erased))
    with as_service(database, tenant) as connection:
        event = new_id()
        connection.execute(EVENT, (tenant, 2, event))
        assert not _refused(connection, tenant, [event], WHEN)


def test_without_the_trigger_it_would_be_noticed(
    database: ScratchDatabase, tenant: UUID, erased: UUID, databases: Databases
) -> None:
    clone = databases.clone(database.name)
    with clone.server.admin(clone.name) as admin:
        admin.execute("drop trigger with_event on audit.event_values")
    assert not any(refusals(clone, tenant, erased))
    databases.drop(clone)
