"""How migrations run: several at once, against readers, over rows of every tenant."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import psycopg
import pytest
from bulkhead_kit import migrations
from bulkhead_kit.migrations import Target
from sqlalchemy.exc import IntegrityError, OperationalError

from tests.support.postgres import Databases, ScratchDatabase

SAMPLE = Target("audit", "tests.migrations.sample")
MIGRATE = "import sys; from bulkhead_kit import migrations as m; m.prepare(sys.argv[1]); m.upgrade_all(sys.argv[1])"


@pytest.fixture
def sample(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScratchDatabase]:
    """Schema `app` and the sample's table with four rows: three of them without a note, of two tenants."""
    database = databases.empty()
    migrations.upgrade(database.admin_dsn, "app")
    monkeypatch.setattr(migrations, "TARGETS", (*migrations.TARGETS[:1], SAMPLE))
    migrations.upgrade(database.admin_dsn, "audit", "0001")
    acme, globex = uuid4(), uuid4()
    with psycopg.connect(database.dsn("bulkhead_audit_app")) as connection:
        for tenant, note in ((acme, None), (acme, None), (globex, None), (globex, "filled")):
            insert_thing(connection, tenant, note)
    yield database
    databases.drop(database)


def insert_thing(connection: psycopg.Connection, tenant: UUID, note: str | None) -> None:
    with connection.transaction():
        connection.execute("select set_config('app.tenant_id', %s, true)", (str(tenant),))
        connection.execute("select set_config('app.role', '2', true), set_config('app.writing', 'true', true)")
        connection.execute(
            "insert into audit.things (tenant_id, thing_id, note) values (%s, %s, %s)", (tenant, uuid4(), note)
        )


def notes(database: ScratchDatabase) -> list[str | None]:
    with database.server.admin(database.name) as connection:
        return [row[0] for row in connection.execute("select note from audit.things order by note").fetchall()]


def drop_owner_right(database: ScratchDatabase) -> None:
    with database.server.admin(database.name) as connection:
        connection.execute("drop policy owner_right on audit.things")


@contextmanager
def reader(database: ScratchDatabase, seconds: float) -> Iterator[None]:
    """Holds the table for reading, as a long report would."""
    with psycopg.connect(database.dsn("bulkhead_audit_app")) as connection:
        connection.execute("select tenant_id from audit.things")
        closing = threading.Timer(seconds, connection.rollback)
        closing.start()
        yield
        closing.join()


def test_several_instances_migrate_at_once(databases: Databases) -> None:
    database = databases.empty()
    command = [sys.executable, "-c", MIGRATE, database.admin_dsn]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in running:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    for target in migrations.TARGETS:
        assert migrations.current(database.admin_dsn, target.schema) == migrations.head(target.schema)
    databases.drop(database)


def test_a_backfill_touches_the_rows_of_every_tenant(sample: ScratchDatabase) -> None:
    migrations.upgrade(sample.admin_dsn, "audit", "0002")
    assert notes(sample) == ["filled"] * 4


def test_without_the_owners_right_the_backfill_would_touch_nothing(sample: ScratchDatabase) -> None:
    drop_owner_right(sample)
    migrations.upgrade(sample.admin_dsn, "audit", "0002")
    assert notes(sample) == ["filled", None, None, None]


def test_a_constraint_is_validated_over_the_rows_of_every_tenant(sample: ScratchDatabase) -> None:
    migrations.upgrade(sample.admin_dsn, "audit", "0002")
    with psycopg.connect(sample.dsn("bulkhead_audit_app")) as connection:
        insert_thing(connection, uuid4(), "otherwise")
    with pytest.raises(IntegrityError, match="things_note_check"):
        migrations.upgrade(sample.admin_dsn, "audit", "0003")
    assert migrations.current(sample.admin_dsn, "audit") == "0002"


def test_without_the_owners_right_a_broken_row_would_pass_validation(sample: ScratchDatabase) -> None:
    drop_owner_right(sample)
    migrations.upgrade(sample.admin_dsn, "audit", "0003")
    assert None in notes(sample)


def test_a_long_reader_makes_a_migration_wait_not_fail(
    sample: ScratchDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    migrations.upgrade(sample.admin_dsn, "audit", "0002")
    caplog.set_level(logging.WARNING, logger="bulkhead_kit.migrations")
    began = time.monotonic()
    with reader(sample, seconds=2.0):
        migrations.upgrade(sample.admin_dsn, "audit", "0003")
    assert time.monotonic() - began >= 2.0
    assert [r.message for r in caplog.records if r.name == "bulkhead_kit.migrations"].count(
        "migration waits for a lock"
    ) >= 1
    assert migrations.current(sample.admin_dsn, "audit") == "0003"


def test_a_migration_that_never_gets_its_lock_leaves_nothing_half_done(
    sample: ScratchDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_TRIES", 2)
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT_MS", 100)
    migrations.upgrade(sample.admin_dsn, "audit", "0002")
    with reader(sample, seconds=2.0), pytest.raises(OperationalError, match="lock timeout"):
        migrations.upgrade(sample.admin_dsn, "audit", "0003")
    assert migrations.current(sample.admin_dsn, "audit") == "0002"
    migrations.upgrade(sample.admin_dsn, "audit", "0003")


def test_an_older_release_leaves_the_schema_of_a_newer_one(sample: ScratchDatabase) -> None:
    """As when a release is taken back: its code suits the newer schema, and knows no way down."""
    with psycopg.connect(sample.admin_dsn) as connection:
        connection.execute("update audit.alembic_version set version_num = '0009'")
    migrations.upgrade(sample.admin_dsn, "audit")
    assert migrations.current(sample.admin_dsn, "audit") == "0009"
