"""The house of the tests is walled like the real one: its services log in as themselves, never as anybody powerful."""

from __future__ import annotations

import psycopg
import pytest
from bulkhead_cli import doctor
from bulkhead_kit import migrations

from tests.isolation.conftest import World
from tests.support.house import House
from tests.support.postgres import LOGINS, ScratchDatabase


async def test_services_log_in_as_themselves(world: World, world_house: House) -> None:
    await world.companies_at(world_house)[0].tenant.owner.issues.ListLabels()
    await (await world_house.platform_admin(await world_house.person())).identity.ListPlans()
    with psycopg.connect(world_house.database.admin_dsn) as admin:
        found = admin.execute(
            "select application_name, usename from pg_stat_activity"
            " where datname = current_database() and application_name like 'bulkhead%'"
        ).fetchall()
    assert dict(found) == {
        f"bulkhead_{name}": f"bulkhead_{name}_app" for name in ("identity", "issues", "audit", "platform")
    }


@pytest.mark.parametrize("role", LOGINS)
def test_no_login_can_take_another_role(role: str, world_database: ScratchDatabase) -> None:
    with psycopg.connect(world_database.dsn(role), autocommit=True) as connection:
        others = [
            *(other for other in LOGINS if other != role),
            *("bulkhead_app_owner", "bulkhead_identity_owner", "bulkhead_issues_owner", "bulkhead_audit_owner"),
            *(
                "bulkhead_identity_definer",
                "bulkhead_issues_definer",
                "bulkhead_issues_search",
                "bulkhead_audit_partition",
                world_database.server.user,
            ),
        ]
        for other in others:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"set role {other}".encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"set session authorization {other}".encode())


@pytest.mark.parametrize("role", [role for role in LOGINS if role != "bulkhead_backup"])
@pytest.mark.parametrize(
    "statement",
    [
        "create temporary table t (id integer)",
        "create table public.t (id integer)",
        "create schema mine",
        "create function pg_temp.f() returns integer language sql return 1",
        "create role mine",
        "alter role bulkhead_issues_app bypassrls",
        "copy (select 1) to program 'true'",
        "select pg_read_file('PG_VERSION')",
        "set session_replication_role = replica",
    ],
)
def test_no_login_can_make_itself_a_way_round(role: str, statement: str, world_database: ScratchDatabase) -> None:
    with (
        psycopg.connect(world_database.dsn(role), autocommit=True) as connection,
        pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidSchemaName)),
    ):
        connection.execute(statement.encode())


@pytest.mark.parametrize("role", [role for role in LOGINS if role != "bulkhead_backup"])
def test_row_security_cannot_be_switched_off(role: str, world_database: ScratchDatabase) -> None:
    """`row_security = off` may be set by anybody; it makes a statement fail that a policy would have filtered."""
    with psycopg.connect(world_database.dsn(role), autocommit=True) as connection:
        connection.execute("set row_security = off")
        for table in ("identity.memberships", "issues.issues", "audit.events"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"select count(*) from {table}".encode())


@pytest.mark.parametrize("role", LOGINS)
@pytest.mark.parametrize(
    "statement",
    [
        "select pg_advisory_lock(1)",
        "select pg_advisory_lock_shared(1, 2)",
        "select pg_advisory_xact_lock(1)",
        "select pg_try_advisory_lock(1)",
        "select pg_try_advisory_xact_lock_shared(1)",
        "select pg_advisory_unlock_all()",
        "select lo_create(0)",
        "select lo_creat(-1)",
        "select lo_from_bytea(0, 'x')",
        "select lo_put(1, 0, 'x')",
        "select lo_get(1)",
        "select lo_open(1, 131072)",
        "select lo_unlink(1)",
        "select lo_import('/etc/passwd')",
        "select lo_export(1, '/tmp/x')",
        "select pg_logical_emit_message(false, 'x', repeat('x', 1000))",
        "select pg_terminate_backend(0)",
        "select pg_cancel_backend(0)",
    ],
)
def test_no_login_can_stop_the_others(role: str, statement: str, world_database: ScratchDatabase) -> None:
    """What PostgreSQL lets every login do, and one that only reads could hold up a tenant, the relay or the disk by."""
    with (
        psycopg.connect(world_database.dsn(role), autocommit=True) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


@pytest.mark.parametrize("service", ["identity", "issues"])
def test_only_the_relay_takes_the_relays_lock(service: str, world_database: ScratchDatabase) -> None:
    for role in LOGINS:
        with psycopg.connect(world_database.dsn(role), autocommit=True) as connection:
            statement = f"select {service}.lead_delivery()".encode()
            if role == f"bulkhead_{service}_relay":
                assert connection.execute(statement).fetchone() == (True,)
                with psycopg.connect(world_database.dsn(role), autocommit=True) as second:
                    assert second.execute(statement).fetchone() == (False,)
            else:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement)


def test_a_migration_closes_what_was_opened_and_doctor_sees_it(world_database: ScratchDatabase) -> None:
    with psycopg.connect(world_database.admin_dsn) as admin:
        admin.execute("grant execute on function pg_catalog.lo_create(oid) to public")
        admin.execute(
            "revoke execute on function pg_catalog.pg_advisory_xact_lock(bigint) from bulkhead_identity_definer"
        )
    assert doctor.open_functions(world_database.admin_dsn).verdict == "note"
    migrations.prepare(world_database.admin_dsn)
    assert doctor.open_functions(world_database.admin_dsn).verdict == "ok"
    with psycopg.connect(world_database.admin_dsn) as admin:
        again = admin.execute(
            "select has_function_privilege("
            "'bulkhead_identity_definer', 'pg_catalog.pg_advisory_xact_lock(bigint)', 'execute')"
        ).fetchone()
    assert again == (True,)
