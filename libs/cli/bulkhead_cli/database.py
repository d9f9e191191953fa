"""The database of an installation: the server given or embedded, roles with passwords, migrations."""

import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from bulkhead_kit import migrations
from bulkhead_kit.poolers import NotDirectError
from bulkhead_kit.roles import LOGINS, RoleFault, RolesRefusedError
from psycopg import sql
from psycopg.conninfo import make_conninfo

from bulkhead_cli.errors import MendableError

NAME = "bulkhead"
OLDEST = 150_000
URL_MEND = "correct --database-url or BULKHEAD_DATABASE_URL."
PASSWORDS = "database-passwords.json"


def create(admin: str) -> str:
    """Makes the database of an embedded server; returns its DSN."""
    with psycopg.connect(admin, autocommit=True) as connection:
        known = connection.execute("select from pg_catalog.pg_database where datname = %s", (NAME,)).fetchone()
        if known is None:
            connection.execute(sql.SQL("create database {} template template0").format(sql.Identifier(NAME)))
    parts = urlsplit(admin)
    return urlunsplit(parts._replace(path=f"/{NAME}"))


def migrate(admin: str, passwords: Mapping[str, str], say: Callable[[str], None], *, adopt_roles: bool = False) -> None:
    """Roles, then every schema in order. Safe to repeat, and while another instance does the same."""
    check_server(admin)
    _require_own_schemas(admin)
    try:
        migrations.prepare(admin, passwords=dict(passwords), adopt=adopt_roles)
    except RolesRefusedError as error:
        raise MendableError(f"Nothing was changed: {error}.", mend_roles(error.faults)) from None
    except NotDirectError as error:
        raise MendableError(f"Nothing was changed: {error}.", URL_MEND) from None
    except psycopg.errors.InsufficientPrivilege as error:
        raise MendableError(
            f"This login may not make the roles: {error.diag.message_primary}.",
            "use a superuser's, or that of the role with CREATEROLE that made them.",
        ) from error
    for target in migrations.TARGETS:
        before = migrations.current(admin, target.schema)
        migrations.upgrade(admin, target.schema)
        after = migrations.current(admin, target.schema)
        if migrations.is_newer(after, target.schema):
            say(f"{target.schema}: {after} stays, this release needs {migrations.head(target.schema)}")
            continue
        say(f"{target.schema}: {after}" if before == after else f"{target.schema}: {before or 'nothing'} -> {after}")


def _require_own_schemas(admin: str) -> None:
    """Raises MendableError for a schema of our name that is somebody else's, or made before roles had a prefix."""
    names = {target.schema: f"bulkhead_{target.schema}_owner" for target in migrations.TARGETS}
    with psycopg.connect(admin) as connection:
        owners = connection.execute(
            "select nspname, pg_catalog.pg_get_userbyid(nspowner) from pg_catalog.pg_namespace where nspname = any(%s)",
            (list(names),),
        ).fetchall()
    if foreign := [f"{schema} belongs to {owner}" for schema, owner in owners if owner != names[schema]]:
        raise MendableError(
            f"Nothing was changed: this database has schemas that Bulkhead did not make: {', '.join(sorted(foreign))}.",
            "use an empty database. If they are of a version of Bulkhead before 0.1 on your own machine: make clean.",
        )


def mend_roles(faults: Sequence[RoleFault]) -> str:
    """What to do about roles that are not trusted."""
    parts = []
    if statements := [f"{fault.mend};" for fault in faults if fault.mend]:
        parts.append(f"as a superuser, once you know who did that: {' '.join(statements)}")
    if names := ", ".join(dict.fromkeys(fault.role for fault in faults if not fault.mend)):
        parts.append(
            f"if another program uses {names}, take another server or rename its roles; if they were made for Bulkhead,"
            " take all powers from them, then bulkhead migrate --adopt-roles, which takes their old passwords away."
        )
    return "\n".join(parts)


def read_passwords(file: Path) -> dict[str, str]:
    try:
        words = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MendableError(
            f"{file} cannot be read: {error}", 'write it as {"bulkhead_identity_app": "...", ...}.'
        ) from None
    if not isinstance(words, dict) or not all(isinstance(word, str) and word for word in words.values()):
        raise MendableError(
            f"{file} has no password for each login.", 'write it as {"bulkhead_identity_app": "...", ...}.'
        )
    if strange := words.keys() - set(LOGINS):
        raise MendableError(
            f"{file} names what is no login: {', '.join(sorted(strange))}.", f"name some of {', '.join(LOGINS)}."
        )
    return words


def check_server(admin: str) -> int:
    try:
        with psycopg.connect(admin, connect_timeout=10) as connection:
            version = connection.info.server_version
    except psycopg.OperationalError as error:
        raise MendableError(f"The database cannot be reached: {error}", URL_MEND) from error
    except psycopg.ProgrammingError:
        # Its text repeats the URL, with a password perhaps.
        raise MendableError("The database's address is no PostgreSQL URL.", URL_MEND) from None
    if version < OLDEST:
        raise MendableError(f"The server is PostgreSQL {version // 10_000}.", "use PostgreSQL 15 or newer.")
    return version


def passwords_in(state: Path) -> dict[str, str]:
    """One for each login, made once and kept where only this user can read."""
    file = state / PASSWORDS
    known: dict[str, str] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    wanted = {role: known.get(role) or secrets.token_urlsafe(24) for role in LOGINS}
    if wanted != known:
        draft = state / f".{PASSWORDS}.{os.getpid()}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
            json.dump(wanted, out, indent=2)
        draft.replace(file)
    return wanted


def dsn_as(admin: str, role: str, password: str) -> str:
    """The same place under another login."""
    if not admin.startswith(("postgresql://", "postgres://")):
        return make_conninfo(admin, user=role, password=password)
    parts = urlsplit(admin)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}:{quote(password, safe='')}@{place}"))


def undelivered(relay: str, service: str) -> int:
    """Changes of a service that audit has not acknowledged, as its relay sees them."""
    with psycopg.connect(relay) as connection:
        query = sql.SQL("select count(*) from {}").format(sql.Identifier(service, "outbox"))
        row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
