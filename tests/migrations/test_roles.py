"""Roles that were on the server before, or that somebody gave themselves: refused, and left as they are."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import psycopg
import pytest
import structlog
from bulkhead_cli import database, doctor
from bulkhead_cli.errors import MendableError
from bulkhead_cli.postgres import EmbeddedPostgres, Server
from bulkhead_identity.settings import IdentitySettings
from bulkhead_kit import migrations, roles
from bulkhead_kit.db import Database
from bulkhead_kit.outbox.process import keep_delivering
from bulkhead_kit.outbox.relay import Tuning
from bulkhead_kit.readiness import Readiness
from bulkhead_kit.roles import MARK, RolesRefusedError
from bulkhead_kit.telemetry import RelayMetrics
from bulkhead_kit.worker import wait_for_roles
from psycopg import sql


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One of its own: roles belong to a whole server, and other tests need theirs in order."""
    with tempfile.TemporaryDirectory(prefix="bh-") as folder:
        Path(folder).chmod(0o755)
        with EmbeddedPostgres(Path(folder) / "pg", durable=False) as made:
            run(made.dsn, "create role stranger login createrole password 'stranger'")
            yield made


@pytest.fixture
def url(server: Server) -> Iterator[str]:
    """An empty database; the roles that a test has left are gone after it."""
    run(server.dsn, "create database bulkhead template template0")
    yield server.dsn_for("bulkhead")
    run(server.dsn, "drop database bulkhead with (force)")
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        for name in (*roles.LOGINS, *roles.DEFINERS, *roles.OWNERS, "deployer", "somebody"):
            admin.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(name)))


def run(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def as_stranger(server: Server, *statements: str) -> None:
    run(server.dsn_for("postgres", "stranger", "stranger"), *statements)


def what_is_there(url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "select r.rolname, r.rolsuper, r.rolbypassrls, r.rolcanlogin, a.rolpassword is null, r.rolconfig::text"
            " from pg_roles as r inner join pg_authid as a on a.oid = r.oid"
            " union all select nspname, null, null, null, null, null from pg_namespace order by 1, 2, 3, 4, 5"
        ).fetchall()


def migrate(url: str, *, adopt_roles: bool = False) -> None:
    database.migrate(url, {}, lambda _: None, adopt_roles=adopt_roles)


def test_every_role_is_looked_at() -> None:
    """The query, the names and what makes the roles are three texts."""
    names = {*roles.OWNERS, *roles.DEFINERS, *roles.LOGINS}
    made = resources.files("bulkhead_postgres").joinpath("roles.sql").read_text(encoding="utf-8")
    assert set(re.findall(r"^ +\('(\w+)', '(?:no)?login'\)", made, re.MULTILINE)) == names
    mighty, looked_at = roles.FAULTS.split("from pg_catalog.pg_roles as r", 2)[:2]
    assert set(re.findall(r"'(\w+)'", looked_at.partition(")")[0])) == names
    assert set(re.findall(r"'(\w+)'", mighty.partition(")")[0])) == set(roles.LOGINS)
    assert f"'{MARK}'" in made
    assert f"'{MARK}'" in roles.FAULTS


def of_roles(url: str) -> str:
    return next(found.verdict for found in doctor.roles_of(url) if found.what == "roles")


def test_an_owner_that_a_stranger_made_is_refused_and_cannot_be_adopted(server: Server, url: str) -> None:
    """They kept their membership, and with it could switch every trigger off."""
    as_stranger(server, "create role bulkhead_identity_owner", "grant bulkhead_identity_owner to stranger")
    before = what_is_there(url)
    for adopt in (False, True):
        with pytest.raises(MendableError) as refused:
            migrate(url, adopt_roles=adopt)
        assert "bulkhead_identity_owner can be taken by stranger" in refused.value.what
        assert "revoke bulkhead_identity_owner from stranger granted by " in refused.value.mend
        assert what_is_there(url) == before


def test_the_mark_alone_convinces_nobody(server: Server, url: str) -> None:
    as_stranger(
        server,
        "create role bulkhead_identity_app login password 'known'",
        "grant bulkhead_identity_app to stranger",
        f"comment on role bulkhead_identity_app is '{MARK}'",
    )
    with pytest.raises(MendableError, match="bulkhead_identity_app can be taken by stranger"):
        migrate(url)


@pytest.mark.parametrize(
    ("name", "power"),
    [("bulkhead_ops", "login superuser"), ("bulkhead_backup", "login replication"), ("bulkhead_issues_owner", "login")],
)
def test_another_programs_role_keeps_its_powers_and_gets_none(server: Server, url: str, name: str, power: str) -> None:
    run(server.dsn, f"create role {name} {power} password 'theirs'")
    before = what_is_there(url)
    for adopt in (False, True):
        with pytest.raises(MendableError, match=f"{name} has a power of the server that it was not given"):
            migrate(url, adopt_roles=adopt)
    assert what_is_there(url) == before


def test_every_role_carries_the_prefix() -> None:
    """`ops` and `backup` of another program on the same server are none of ours."""
    assert [name for name in (*roles.OWNERS, *roles.DEFINERS, *roles.LOGINS) if not name.startswith("bulkhead_")] == []


@pytest.mark.parametrize("schema", ["app", "identity", "issues", "audit"])
def test_a_schema_of_somebody_else_is_neither_changed_nor_taken(server: Server, url: str, schema: str) -> None:
    """As before roles had a prefix, when `identity` belonged to `identity_owner`."""
    run(server.dsn, "create role somebody")
    run(url, f"create schema {schema} authorization somebody")
    before = what_is_there(url)
    with pytest.raises(MendableError) as refused:
        migrate(url)
    assert f"{schema} belongs to somebody" in refused.value.what
    assert "make clean" in refused.value.mend
    assert what_is_there(url) == before


def test_a_role_that_is_in_something_else_is_refused(server: Server, url: str) -> None:
    run(
        server.dsn,
        "create role bulkhead_ops login noinherit",
        "grant pg_monitor to bulkhead_ops",
        f"comment on role bulkhead_ops is '{MARK}'",
    )
    with pytest.raises(MendableError, match="bulkhead_ops is a member of pg_monitor"):
        migrate(url)


def test_a_role_of_the_same_name_is_adopted_by_will_only_and_without_its_password(server: Server, url: str) -> None:
    run(server.dsn, "create role bulkhead_backup login password 'theirs'", "create database theirs")
    run(server.dsn_for("theirs"), "create table t (n integer)", "alter table t owner to bulkhead_backup")
    before = what_is_there(url)
    with pytest.raises(
        MendableError, match="bulkhead_backup was not made by bulkhead migrate and is used in theirs"
    ) as refused:
        migrate(url)
    assert "--adopt-roles" in refused.value.mend
    assert what_is_there(url) == before
    run(server.dsn, "drop database theirs")
    migrate(url, adopt_roles=True)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        run(server.dsn_for("bulkhead", "bulkhead_backup", "theirs"), "select")
    migrate(url)


def test_what_a_deployer_makes_is_his(server: Server, url: str) -> None:
    """No superuser, but the owner of the database; a second database of the server shares the roles."""
    run(
        server.dsn,
        "create role deployer login createrole password 'deployer'",
        "alter database bulkhead owner to deployer",
        "create database second owner deployer template template0",
    )
    for name in ("bulkhead", "second"):
        dsn = server.dsn_for(name, "deployer", "deployer")
        migrate(dsn)
        migrate(dsn)
        assert of_roles(dsn) == "ok"
    run(server.dsn, "alter database second owner to postgres")
    with pytest.raises(MendableError, match="can be taken by deployer"):
        migrate(server.dsn_for("second"))
    run(server.dsn, "drop database second with (force)")


def test_a_membership_given_later_stops_what_starts(server: Server, url: str) -> None:
    words = {"bulkhead_identity_app": "app", "bulkhead_identity_relay": "relay", "bulkhead_identity_worker": "worker"}
    database.migrate(url, words, lambda _: None)
    run(server.dsn, "grant bulkhead_identity_owner to stranger")
    with pytest.raises(RolesRefusedError, match="bulkhead_identity_owner can be taken by stranger"):
        migrations.upgrade(url, "identity")
    assert of_roles(url) == "broken"
    app, relay, worker = (server.dsn_for("bulkhead", role, word) for role, word in words.items())
    metrics = RelayMetrics()
    assert asyncio.run(_starts(relay, worker, metrics)) == (False, False)
    assert "bulkhead_identity_owner can be taken by stranger" in str(asyncio.run(_unready(app)))
    with psycopg.connect(url) as connection:
        (fault,) = roles.look(connection)
    run(server.dsn, fault.mend)
    assert asyncio.run(_starts(relay, worker, metrics)) == (True, True)
    assert asyncio.run(_unready(app)) is None
    assert of_roles(url) == "ok"
    migrate(url)


async def _unready(app: str) -> str | None:
    """What health says of a service that has just started."""
    database = Database(app)
    try:
        async with asyncio.timeout(60):
            ready = Readiness(IdentitySettings.model_construct(), database)
            while (said := await ready()) == "the database cannot be reached":  # noqa: ASYNC110 - as a load balancer asks
                await asyncio.sleep(0.1)
            return said
    finally:
        await database.close()


async def _starts(relay: str, worker: str, metrics: RelayMetrics) -> tuple[bool, bool]:
    """Whether each goes past its look at the roles."""
    stop = asyncio.Event()
    with structlog.testing.capture_logs() as lines:
        delivering = asyncio.create_task(
            keep_delivering(relay, "identity", _append, metrics, stop, Tuning())  # type: ignore[arg-type]  # never called
        )
        async with asyncio.timeout(60):
            while not {line["event"] for line in lines} & {"roles_refused", "relay_active"}:  # noqa: ASYNC110 - a log tells nobody
                await asyncio.sleep(0.02)
        stop.set()
        await delivering
    works = Database(worker)
    await works.open()
    with structlog.testing.capture_logs() as said:
        waiting = asyncio.create_task(wait_for_roles("identity", works))
        async with asyncio.timeout(60):
            while not waiting.done() and not said:  # noqa: ASYNC110 - a log tells nobody
                await asyncio.sleep(0.02)
        passed = waiting.done()
        waiting.cancel()
    await works.close()
    return any(line["event"] == "relay_active" for line in lines), passed


async def _append(*_: object) -> None:
    raise AssertionError("there is nothing to deliver")
