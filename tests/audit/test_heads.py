"""A log's head is where its last event is: the service's role neither moves it nor chooses a number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

import psycopg
import pytest
from bulkhead_kit.ids import new_id
from psycopg import errors

from tests.audit.builders import make_event
from tests.support.house import House
from tests.support.postgres import Databases, ScratchDatabase

LARGEST = 2**63 - 1
SIZE = 3
SIZES = (0, SIZE - 1, SIZE, SIZE + 1, LARGEST)
NUMBERS: dict[str, Sequence[int]] = {
    "one that is taken": [SIZE],
    "the first again": [1],
    "one too far": [SIZE + 2],
    "the largest": [LARGEST],
    "a gap within": [SIZE + 1, SIZE + 3],
    "one twice": [SIZE + 1, SIZE + 1],
    "one twice, to the right end": [SIZE + 1, SIZE + 1, SIZE + 3],
    "one too late": [SIZE + 2, SIZE + 3],
}
INSERT = """
insert into audit.events (tenant_id, seq, event_id, occurred_at, recorded_at, actor_type, action, entity_type,
    entity_id, visibility, outcome, fields, encoding, values_digest, leaf_hash)
select %s, n, gen_random_uuid(), '2026-11-20', now(), 'system', 'a.b', 'a', gen_random_uuid(), 1, 'ok', '{}', 1,
    sha256(''), sha256('')
from unnest(%s::bigint[]) as n
"""
FREE = "drop trigger move_head on audit.events"
MUTANTS = {
    "the head moves by hand": (
        "create or replace function audit.only_grow() returns trigger language plpgsql set search_path = pg_catalog"
        " as $$ begin if new.size < old.size then raise exception 'no' using errcode = 'check_violation'; end if;"
        " return new; end $$",
        "sizes",
    ),
    "the head stays": (FREE, "numbers"),
}


@pytest.fixture(scope="module")
def tenant() -> UUID:
    return new_id()


@pytest.fixture(scope="module")
def log(database: ScratchDatabase, tenant: UUID) -> ScratchDatabase:
    """With three events, appended by two statements."""
    with as_service(database, tenant) as connection:
        connection.execute("insert into audit.logs (tenant_id) values (%s)", (tenant,))
        for numbers in ([1], [2, 3]):
            connection.execute(INSERT, (tenant, numbers))
    return database


def as_service(database: ScratchDatabase, tenant: UUID) -> psycopg.Connection:
    connection = psycopg.connect(database.dsn("bulkhead_audit_app"))
    connection.execute("select audit.make_months('2026-11-01', '2026-11-01')")
    connection.execute(
        "select set_config('app.tenant_id', %s, true), set_config('app.role', '6', true)"
        ", set_config('app.writing', 'true', true)",
        (str(tenant),),
    )
    return connection


def refused_sizes(tenant: UUID, connect: Callable[[], psycopg.Connection]) -> Iterator[bool]:
    for size in SIZES:
        with connect() as connection:
            yield _refused(connection, "update audit.logs set size = %s where tenant_id = %s", (size, tenant))


def refused_numbers(tenant: UUID, connect: Callable[[], psycopg.Connection]) -> Iterator[bool]:
    for numbers in NUMBERS.values():
        with connect() as connection:
            yield _refused(connection, INSERT, (tenant, numbers))


PROBES = {"sizes": refused_sizes, "numbers": refused_numbers}


def _refused(connection: psycopg.Connection, statement: str, values: Sequence[object]) -> bool:
    try:
        connection.execute(statement.encode(), values)
    except errors.CheckViolation:
        return True
    finally:
        connection.rollback()
    return False


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("who", ["service", "superuser"])
def test_nobody_moves_the_head_or_chooses_a_number(log: ScratchDatabase, tenant: UUID, who: str, probe: str) -> None:
    def connect() -> psycopg.Connection:
        return as_service(log, tenant) if who == "service" else psycopg.connect(log.admin_dsn)

    assert all(PROBES[probe](tenant, connect))


def test_the_next_numbers_are_taken(log: ScratchDatabase, tenant: UUID) -> None:
    with as_service(log, tenant) as connection:
        connection.execute(INSERT, (tenant, [SIZE + 2, SIZE + 1]))
        assert connection.execute("select size from audit.logs").fetchall() == [(SIZE + 2,)]
        connection.rollback()


def test_without_a_head_nothing_is_appended(database: ScratchDatabase) -> None:
    tenant = new_id()
    with as_service(database, tenant) as connection, pytest.raises(errors.CheckViolation):
        connection.execute(INSERT, (tenant, [1]))


@pytest.mark.parametrize("name", MUTANTS)
def test_a_trigger_that_is_loosened_is_noticed(
    log: ScratchDatabase, tenant: UUID, databases: Databases, name: str
) -> None:
    sql, probe = MUTANTS[name]
    clone = databases.clone(log.name)
    with clone.server.admin(clone.name) as admin:
        admin.execute(sql.encode())
    assert not all(PROBES[probe](tenant, lambda: as_service(clone, tenant)))
    databases.drop(clone)


async def test_the_log_goes_on_after_all_that(house: House) -> None:
    """What stopped a tenant's log for ever: its head at the largest number."""
    acme = await house.tenant("acme")
    await acme.service("issues").audit.AppendEvents(events=[make_event()])
    with as_service(house.database, acme.tenant_id) as connection:
        assert _refused(connection, "update audit.logs set size = %s", (LARGEST,))
    reply = await acme.service("issues").audit.AppendEvents(events=[make_event(), make_event()])
    assert (reply.appended_count, reply.log_size) == (2, 3)
