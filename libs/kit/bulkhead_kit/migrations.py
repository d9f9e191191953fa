"""Runs the Alembic environments: one a schema, `app` first, safe when several instances start at once.

The administrator's login takes the owner's place for each step (SET ROLE), so no service login owns anything.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import psycopg
import psycopg.sql
from alembic import command, context, op
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, pool, text
from sqlalchemy.exc import OperationalError

from bulkhead_kit import roles
from bulkhead_kit.poolers import demand_direct

log = logging.getLogger(__name__)

ADMINISTRATORS_URL = "MIGRATION_DATABASE_URL or --database-url"
WHY_DIRECT = "migrations hold a lock and a role as long as their connection"
LOCK_TIMEOUT_MS = 1_000
LOCK_TRIES = 10
# Any fixed number will do, as long as nothing else on the server uses it.
ADVISORY_KEY = 7_214_590_411
VERIFIER = re.compile(r"SCRAM-SHA-256\$[0-9]+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=")


@dataclass(frozen=True, slots=True)
class Target:
    """One schema with its own history of migrations."""

    schema: str
    package: str

    @property
    def owner(self) -> str:
        return f"bulkhead_{self.schema}_owner"

    @property
    def scripts(self) -> Path:
        return Path(str(resources.files(self.package))) / "migrations"


TARGETS = (
    Target("app", "bulkhead_postgres"),
    Target("identity", "bulkhead_identity"),
    Target("issues", "bulkhead_issues"),
    Target("audit", "bulkhead_audit"),
)


def target(schema: str) -> Target:
    return next(t for t in TARGETS if t.schema == schema)


def run_sql(sql: str) -> None:
    """One or more statements as they stand; colons and percent signs mean nothing here."""
    op.execute(text(sql.replace(":", r"\:")))


def run_environment(schema: str) -> None:
    """The whole of an env.py."""
    which = target(schema)
    if context.is_offline_mode():
        context.configure(dialect_name="postgresql", as_sql=True, literal_binds=True, version_table_schema=which.schema)
        with context.begin_transaction():
            context.run_migrations()
        return
    connection: Connection = context.config.attributes["connection"]
    context.configure(connection=connection, version_table_schema=which.schema, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


def _config(which: Target) -> Config:
    config = Config()
    config.set_main_option("script_location", str(which.scripts))
    config.set_main_option("path_separator", "os")
    return config


def head(schema: str) -> str | None:
    """The revision this code was written for."""
    return ScriptDirectory.from_config(_config(target(schema))).get_current_head()


def offline_sql(schema: str, revision: str = "head") -> None:
    """Prints the migrations' SQL, for linters and for people who run migrations by hand."""
    command.upgrade(_config(target(schema)), revision, sql=True)


def prepare(url: str, *, passwords: dict[str, str] | None = None, adopt: bool = False) -> None:
    """Creates roles and schemas; gives each named login its password. Safe to repeat.

    Raises RolesRefusedError, and changes nothing, where roles of ours are there that were not made here; `adopt` takes
    them, without the passwords they had.
    """
    sql = resources.files("bulkhead_postgres").joinpath("roles.sql").read_text()
    with psycopg.connect(url, autocommit=True) as connection:
        # What an administrator who is no superuser has to leave to one.
        connection.add_notice_handler(_say_warning)
        demand_direct(connection, ADMINISTRATORS_URL, WHY_DIRECT)
        connection.execute("select pg_advisory_lock(%s)", (ADVISORY_KEY,))
        connection.execute("set search_path = pg_catalog")
        roles.demand_ours(connection, adopt=adopt)
        if adopt:
            _adopt(connection)
        connection.execute(sql.encode())
        for role, password in (passwords or {}).items():
            connection.execute(
                psycopg.sql.SQL("alter role {} password {}").format(
                    psycopg.sql.Identifier(role), psycopg.sql.Literal(_verifier(connection, role, password))
                )
            )
        # A role that somebody made in the meantime was not made by roles.sql, and has no mark.
        roles.demand_ours(connection)


def _adopt(connection: psycopg.Connection) -> None:
    for fault in roles.look(connection):
        name = psycopg.sql.Identifier(fault.role)
        with connection.transaction():
            connection.execute(psycopg.sql.SQL("alter role {} password null").format(name))
            mark = psycopg.sql.SQL("comment on role {} is {}")
            connection.execute(mark.format(name, psycopg.sql.Literal(roles.MARK)))
        log.warning("adopted the role %s", fault.role)


def _verifier(connection: psycopg.Connection, role: str, password: str) -> str:
    """What the server keeps of a password. The password itself would stand in its log, and in statistics of statements.

    A verifier that somebody made elsewhere is taken as it is, as the server does.
    """
    if VERIFIER.fullmatch(password):
        return password
    return connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()


def _say_warning(notice: psycopg.errors.Diagnostic) -> None:
    if notice.severity_nonlocalized == "WARNING":
        log.warning("%s", notice.message_primary)


def upgrade(url: str, schema: str, revision: str = "head") -> None:
    """To what this code was written for; what a newer release has done stays. Raises RolesRefusedError."""
    if revision == "head" and is_newer(current(url, schema), schema):
        return
    _run(url, target(schema), lambda config: command.upgrade(config, revision))


def is_newer(revision: str | None, schema: str) -> bool:
    """Such a schema suits this code too: releases whose migrations it could not live with are one release apart."""
    return revision is not None and revision > (head(schema) or "")


def downgrade(url: str, schema: str, revision: str) -> None:
    _run(url, target(schema), lambda config: command.downgrade(config, revision))


def upgrade_all(url: str) -> None:
    for which in TARGETS:
        upgrade(url, which.schema)


def current(url: str, schema: str) -> str | None:
    """The revision the database is at, or None before the first."""
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            found = MigrationContext.configure(connection, opts={"version_table_schema": schema}).get_current_revision()
            return str(found) if found else None
    finally:
        engine.dispose()


def _engine(url: str) -> Engine:
    # psycopg opens the connection, so that a URL in libpq's own form with several hosts works too.
    return create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=pool.NullPool)


def _run(url: str, which: Target, step: Callable[[Config], None]) -> None:
    """Raises the last error when a lock could not be had in ten tries; what was done before it stays done."""
    with psycopg.connect(url) as looking:
        demand_direct(looking, ADMINISTRATORS_URL, WHY_DIRECT)
        looking.execute("set search_path = pg_catalog")
        roles.demand_ours(looking)
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            connection.execute(text("select pg_advisory_lock(:key)"), {"key": ADVISORY_KEY})
            connection.execute(text("set search_path = pg_catalog"))
            connection.execute(text(f"set lock_timeout = {LOCK_TIMEOUT_MS}"))
            connection.execute(text("select set_config('role', :owner, false)"), {"owner": which.owner})
            connection.commit()
            config = _config(which)
            config.attributes["connection"] = connection
            _with_retries(lambda: step(config), connection)
            _publish_version(connection, which)
    finally:
        engine.dispose()


def _with_retries(step: Callable[[], None], connection: Connection) -> None:
    for attempt in range(1, LOCK_TRIES + 1):
        try:
            step()
            connection.commit()
            return
        except OperationalError as error:
            connection.rollback()
            if not isinstance(error.orig, psycopg.errors.LockNotAvailable) or attempt == LOCK_TRIES:
                raise
            # A long reader holds the table: step back so that those queued behind us can go on.
            pause = min(8.0, 0.25 * 2**attempt) * random.uniform(0.5, 1.0)  # noqa: S311  # jitter, not a secret
            log.warning("migration waits for a lock", extra={"attempt": attempt, "pause_s": round(pause, 2)})
            time.sleep(pause)


def _publish_version(connection: Connection, which: Target) -> None:
    """A service's health tells whether the schema is the one its code was written for."""
    if (
        which.schema == "app"
        or MigrationContext.configure(connection, opts={"version_table_schema": which.schema}).get_current_revision()
        is None
    ):
        return
    grant = psycopg.sql.SQL("grant select on {} to {}; grant usage on schema {} to {}").format(
        psycopg.sql.Identifier(which.schema, "alembic_version"),
        psycopg.sql.Identifier(f"bulkhead_{which.schema}_app"),
        psycopg.sql.Identifier(which.schema),
        psycopg.sql.Identifier(f"bulkhead_{which.schema}_app"),
    )
    connection.exec_driver_sql(grant.as_string())
    connection.commit()
