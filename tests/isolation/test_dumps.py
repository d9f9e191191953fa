"""The login `bulkhead_backup` misses no row, so that a dump is whole; it changes none."""

from __future__ import annotations

import psycopg
import pytest
from bulkhead_cli import doctor
from bulkhead_kit import migrations
from psycopg import sql

from tests.support.postgres import ScratchDatabase

TABLES = """
select n.nspname, c.relname from pg_catalog.pg_class as c
inner join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname in ('app', 'identity', 'issues', 'audit') order by 1, 2
"""


def _counts(dsn: str) -> dict[str, int]:
    found = {}
    with psycopg.connect(dsn) as connection:
        # As pg_dump does: what a policy would hide is an error, and every table is locked first.
        connection.execute("set row_security = off")
        for schema, table in connection.execute(TABLES).fetchall():
            name = sql.Identifier(schema, table)
            connection.execute(sql.SQL("lock table {} in access share mode").format(name))
            row = connection.execute(sql.SQL("select count(*) from {}").format(name)).fetchone()
            assert row is not None
            found[f"{schema}.{table}"] = row[0]
    return found


def test_a_dump_misses_no_row(world_database: ScratchDatabase) -> None:
    found = _counts(world_database.dsn("bulkhead_backup"))
    assert found == _counts(world_database.admin_dsn)
    assert all(found[table] for table in ("identity.memberships", "issues.issues", "audit.events"))


def test_months_made_later_are_in_it_too(world_database: ScratchDatabase) -> None:
    with psycopg.connect(world_database.admin_dsn) as admin:
        admin.execute("select audit.make_months('2025-01-01', '2025-02-01')")
    assert "audit.events_2025_01" in _counts(world_database.dsn("bulkhead_backup"))


@pytest.mark.parametrize(
    "statement",
    [
        "update issues.issues set title = 'x'",
        "delete from issues.outbox",
        "insert into identity.plans select * from identity.plans",
        "truncate issues.issues",
    ],
)
def test_it_changes_nothing(statement: str, world_database: ScratchDatabase) -> None:
    with (
        psycopg.connect(world_database.dsn("bulkhead_backup")) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


def test_doctor_sees_that_dumps_would_fail_and_a_migration_mends_it(world_database: ScratchDatabase) -> None:
    with psycopg.connect(world_database.admin_dsn) as admin:
        admin.execute("revoke pg_read_all_data from bulkhead_backup")
    assert doctor.dumps(world_database.admin_dsn).verdict == "note"
    migrations.prepare(world_database.admin_dsn)
    assert doctor.dumps(world_database.admin_dsn).verdict == "ok"
