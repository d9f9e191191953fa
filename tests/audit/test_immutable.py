"""The log never changes: no login may change it, none can become its owner, and triggers stop who could."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from bulkhead_kit.ids import new_id
from psycopg import errors

from tests.support.postgres import LOGINS, ScratchDatabase

TABLES = ("events", "event_values", "logs")
TENANT = new_id()
CHANGES = {
    "update": {
        "events": "update audit.events set action = 'issue.forged'",
        "event_values": "update audit.event_values set changes = '{}'",
        "logs": "update audit.logs set size = 0",
    },
    "delete": {table: f"delete from audit.{table}" for table in TABLES},
    "truncate": {table: f"truncate audit.{table}" for table in TABLES},
}


@pytest.fixture(scope="module")
def log(database: ScratchDatabase) -> ScratchDatabase:
    """With one event, written as the service writes it."""
    with psycopg.connect(database.dsn("bulkhead_audit_app")) as connection:
        connection.execute("select audit.make_months('2026-11-01', '2026-11-01')")
        as_service(connection)
        connection.execute("insert into audit.logs (tenant_id) values (%s)", (TENANT,))
        insert_event(connection)
    return database


def as_service(connection: psycopg.Connection, level: int = 6) -> None:
    connection.execute(
        "select set_config('app.tenant_id', %s, true), set_config('app.role', %s, true),"
        " set_config('app.writing', 'true', true)",
        (str(TENANT), str(level)),
    )


def insert_event(connection: psycopg.Connection) -> None:
    event_id = new_id()
    connection.execute(
        "insert into audit.events (tenant_id, seq, event_id, occurred_at, recorded_at, actor_type, action, entity_type,"
        " entity_id, visibility, outcome, fields, encoding, values_digest, leaf_hash) values"
        " (%s, 1, %s, '2026-11-20', now(), 'system', 'a.b', 'a', %s, 1, 'ok', '{}', 1, %s, %s)",
        (TENANT, event_id, new_id(), bytes(32), bytes(32)),
    )
    connection.execute(
        "insert into audit.event_values (tenant_id, event_id, occurred_at, salt, changes)"
        " values (%s, %s, '2026-11-20', %s, '{}')",
        (TENANT, event_id, bytes(32)),
    )


def counts(database: ScratchDatabase) -> dict[str, int]:
    with psycopg.connect(database.admin_dsn) as connection:
        found = connection.execute(
            "select (select count(*) from audit.events), (select count(*) from audit.event_values),"
            " (select count(*) from audit.logs)"
        ).fetchall()
        return dict(zip(TABLES, found[0], strict=True))


@pytest.fixture
def unchanged(log: ScratchDatabase) -> Iterator[None]:
    before = counts(log)
    assert before == dict.fromkeys(TABLES, 1)
    yield
    assert counts(log) == before


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("role", LOGINS)
def test_no_login_changes_the_log(log: ScratchDatabase, role: str) -> None:
    with psycopg.connect(log.dsn(role)) as connection:
        for verb, statements in CHANGES.items():
            for table, statement in statements.items():
                as_service(connection)
                # The service may take a log's head, and no more.
                moves = (role, verb, table) == ("bulkhead_audit_app", "update", "logs")
                with pytest.raises(errors.CheckViolation if moves else errors.InsufficientPrivilege):
                    connection.execute(statement)
                connection.rollback()


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("verb", CHANGES)
@pytest.mark.parametrize("who", ["superuser", "bulkhead_audit_owner", "bulkhead_audit_partition"])
def test_triggers_stop_even_those_with_every_right(log: ScratchDatabase, who: str, verb: str) -> None:
    for table in (*TABLES, "events_2026_11", "event_values_2026_11"):
        parent = table.removesuffix("_2026_11")
        statement = CHANGES[verb][parent].replace(f"audit.{parent}", f"audit.{table}")
        with psycopg.connect(log.admin_dsn) as connection:
            if who != "superuser":
                connection.execute(f"set role {who}")
            expected = errors.CheckViolation if (verb, table) == ("update", "logs") else errors.InsufficientPrivilege
            with pytest.raises(expected):
                connection.execute(statement)


def test_no_login_can_become_the_owner(log: ScratchDatabase) -> None:
    with psycopg.connect(log.admin_dsn) as connection:
        can = connection.execute(
            "select r.rolname, o.rolname from pg_roles as r cross join pg_roles as o"
            " where r.rolcanlogin and not r.rolsuper"
            " and o.rolname in ('bulkhead_audit_owner', 'bulkhead_audit_partition')"
            " and pg_has_role(r.oid, o.oid, 'MEMBER')"
        ).fetchall()
        logins = connection.execute("select rolname from pg_roles where rolcanlogin and not rolsuper").fetchall()
    assert {name for (name,) in logins} >= set(LOGINS)
    assert can == []
    for role in LOGINS:
        for owner in ("bulkhead_audit_owner", "bulkhead_audit_partition"):
            with psycopg.connect(log.dsn(role)) as connection, pytest.raises(errors.InsufficientPrivilege):
                connection.execute(f"set role {owner}")


@pytest.mark.parametrize("level", range(6))
def test_only_a_service_appends(log: ScratchDatabase, level: int) -> None:
    with psycopg.connect(log.dsn("bulkhead_audit_app")) as connection:
        as_service(connection, level)
        with pytest.raises(errors.InsufficientPrivilege, match="row-level security"):
            insert_event(connection)


def test_a_service_appends_to_its_tenant_only(log: ScratchDatabase) -> None:
    with psycopg.connect(log.dsn("bulkhead_audit_app")) as connection:
        as_service(connection)
        connection.execute("select set_config('app.tenant_id', %s, true)", (str(new_id()),))
        with pytest.raises(errors.InsufficientPrivilege, match="row-level security"):
            insert_event(connection)


@pytest.mark.parametrize("role", [role for role in LOGINS if role != "bulkhead_backup"])
def test_a_partition_is_closed_to_every_login_but_the_one_that_dumps(log: ScratchDatabase, role: str) -> None:
    for table in ("events_2026_11", "event_values_2026_11"):
        with psycopg.connect(log.dsn(role)) as connection:
            as_service(connection)
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(f"select tenant_id from audit.{table}")
