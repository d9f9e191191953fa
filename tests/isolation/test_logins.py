"""The house of the tests is walled like the real one: its services log in as themselves, never as anybody powerful."""

from __future__ import annotations

import psycopg
import pytest

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
    assert dict(found) == {f"bulkhead_{name}": f"{name}_app" for name in ("identity", "issues", "audit", "platform")}


@pytest.mark.parametrize("role", LOGINS)
def test_no_login_can_take_another_role(role: str, world_database: ScratchDatabase) -> None:
    with psycopg.connect(world_database.dsn(role), autocommit=True) as connection:
        others = [
            *(other for other in LOGINS if other != role),
            *("app_owner", "identity_owner", "issues_owner", "audit_owner"),
            *("identity_definer", "issues_definer", "issues_search", "audit_partition", world_database.server.user),
        ]
        for other in others:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"set role {other}".encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"set session authorization {other}".encode())


@pytest.mark.parametrize("role", [role for role in LOGINS if role != "backup"])
@pytest.mark.parametrize(
    "statement",
    [
        "create temporary table t (id integer)",
        "create table public.t (id integer)",
        "create schema mine",
        "create function pg_temp.f() returns integer language sql return 1",
        "create role mine",
        "alter role issues_app bypassrls",
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


@pytest.mark.parametrize("role", [role for role in LOGINS if role != "backup"])
def test_row_security_cannot_be_switched_off(role: str, world_database: ScratchDatabase) -> None:
    """`row_security = off` may be set by anybody; it makes a statement fail that a policy would have filtered."""
    with psycopg.connect(world_database.dsn(role), autocommit=True) as connection:
        connection.execute("set row_security = off")
        for table in ("identity.memberships", "issues.issues", "audit.events"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"select count(*) from {table}".encode())
