"""One PostgreSQL for a test run, a migrated template in it, a clone of that for each test module.

BULKHEAD_TEST_POSTGRES chooses the server: `url` (BULKHEAD_TEST_DATABASE_URL names it; its roles get test
passwords, so give a server for tests only), `docker`, `embedded`, or `auto`, which takes the first of these
that is there.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from bulkhead_cli.postgres import EmbeddedPostgres
from bulkhead_kit import migrations
from bulkhead_kit.poolers import Pooler
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from tests.support.parts import PARTS, docker_engine

CHOICE = os.environ.get("BULKHEAD_TEST_POSTGRES", "auto")
GIVEN_URL = os.environ.get("BULKHEAD_TEST_DATABASE_URL", "")
TEMPLATE = os.environ.get("BULKHEAD_TEST_TEMPLATE", "")
"""A database that was migrated before: a run within a run, by a mutant of the schema."""
IMAGE = os.environ.get("BULKHEAD_TEST_POSTGRES_IMAGE", "postgres:18")
LOGINS = (
    "bulkhead_identity_app",
    "bulkhead_issues_app",
    "bulkhead_audit_app",
    "bulkhead_platform_app",
    "bulkhead_identity_relay",
    "bulkhead_issues_relay",
    "bulkhead_identity_worker",
    "bulkhead_issues_worker",
    "bulkhead_audit_worker",
    "bulkhead_ops",
    "bulkhead_eraser",
    "bulkhead_backup",
)


@dataclass(frozen=True)
class PostgresServer:
    kind: str
    user: str
    password: str
    host: str
    port: int

    def url(self, database: str, user: str, password: str) -> str:
        login = quote(user, safe="") + (":" + quote(password, safe="") if password else "")
        if self.host.startswith("/"):
            return f"postgresql://{login}@/{database}?host={quote(self.host, safe='')}&port={self.port}"
        return f"postgresql://{login}@{self.host}:{self.port}/{database}"

    def admin_url(self, database: str = "postgres") -> str:
        return self.url(database, self.user, self.password)

    def admin(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(self.admin_url(database), autocommit=True)


@dataclass(frozen=True)
class ScratchDatabase:
    """One database of the run. Tests connect as a login role; `admin_dsn` is for preparing what they test."""

    server: PostgresServer
    name: str
    pooler: PostgresServer | None = None
    """What logins come through; administrators and relays never do."""

    def dsn(self, role: str) -> str:
        if role not in LOGINS:
            raise LookupError(f"{role} is no login role")
        # Relays go past a pooler.
        server = self.server if role.endswith("_relay") else self.pooler or self.server
        return server.url(self.name, role, password_of(role))

    @property
    def pool_mode(self) -> Pooler:
        """The setting that a service here needs."""
        return "transaction" if self.pooler else "none"

    @property
    def admin_dsn(self) -> str:
        return self.server.admin_url(self.name)


def password_of(role: str) -> str:
    return f"test-{role}"


class Databases:
    """Makes and removes the databases of one run."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self._prefix = f"bulkhead_test_{secrets.token_hex(4)}"
        self._count = 0
        self._template: str | None = None

    def template(self) -> str:
        """Migrated when first asked for: a run of unit tests does not pay for it."""
        if self._template is None and TEMPLATE:
            self._template = TEMPLATE
        elif self._template is None:
            made = self.empty()
            migrations.upgrade_all(made.admin_dsn)
            self._template = made.name
        return self._template

    def empty(self) -> ScratchDatabase:
        """With roles and schemas, without any migration."""
        name = self._next_name()
        self._run(sql.SQL("create database {} template template0").format(sql.Identifier(name)))
        made = ScratchDatabase(self.server, name)
        migrations.prepare(made.admin_dsn, passwords={role: password_of(role) for role in LOGINS})
        return made

    def clone(self, source: str | None = None) -> ScratchDatabase:
        """Of the migrated template, unless another database is named; nobody may be connected to that."""
        source = source or self.template()
        name = self._next_name()
        # Files are copied with a third of the processor time that their blocks take by way of the WAL.
        copied = sql.SQL("create database {} template {} strategy file_copy")
        self._run(copied.format(sql.Identifier(name), sql.Identifier(source)))
        self._copy_rights(source, name)
        return ScratchDatabase(self.server, name)

    def drop(self, database: ScratchDatabase) -> None:
        self._run(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(database.name)))

    def drop_all(self) -> None:
        with self.server.admin() as connection:
            found = connection.execute(
                "select datname from pg_database where starts_with(datname, %s)", (self._prefix,)
            )
            for (name,) in found.fetchall():
                connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    def _copy_rights(self, source: str, name: str) -> None:
        # CREATE DATABASE .. TEMPLATE copies everything but the rights on the database itself.
        with self.server.admin() as connection:
            connection.execute(sql.SQL("revoke all on database {} from public").format(sql.Identifier(name)))
            granted = connection.execute(
                "select r.rolname from pg_database as d, aclexplode(d.datacl) as a"
                " join pg_roles as r on r.oid = a.grantee"
                " where d.datname = %s and a.privilege_type = 'CONNECT' and a.grantee <> d.datdba",
                (source,),
            )
            for (role,) in granted.fetchall():
                connection.execute(
                    sql.SQL("grant connect on database {} to {}").format(sql.Identifier(name), sql.Identifier(role))
                )

    def _next_name(self) -> str:
        self._count += 1
        return f"{self._prefix}_{self._count}"

    def _run(self, statement: sql.Composed) -> None:
        with self.server.admin() as connection:
            connection.execute(statement)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    kind = _choose()
    with {"url": _given, "docker": _in_docker, "embedded": _embedded}[kind]() as server:
        with server.admin() as connection:
            version = connection.info.parameter_status("server_version")
        PARTS.found["PostgreSQL"] = f"{version}, {kind}"
        yield server


def is_given() -> bool:
    """Whether the run has to do with one server that somebody else made."""
    return CHOICE == "url" or (CHOICE == "auto" and bool(GIVEN_URL))


def _choose() -> str:
    if CHOICE in {"url", "docker", "embedded"}:
        return CHOICE
    if CHOICE != "auto":
        raise ValueError(f"BULKHEAD_TEST_POSTGRES is {CHOICE!r}: use auto, url, docker or embedded")
    if is_given():
        return "url"
    return "docker" if docker_engine() and _is_here(IMAGE) else "embedded"


def _is_here(image: str) -> bool:
    """Nothing is pulled: a run must not depend on a registry."""
    import docker  # noqa: PLC0415 - slow to load, and only some runs need it

    try:
        docker.from_env().images.get(image)
    except docker.errors.ImageNotFound:
        return False
    return True


@contextmanager
def _given() -> Iterator[PostgresServer]:
    if not GIVEN_URL:
        raise ValueError("BULKHEAD_TEST_POSTGRES=url needs BULKHEAD_TEST_DATABASE_URL")
    said = conninfo_to_dict(GIVEN_URL)
    yield PostgresServer(
        kind="url",
        user=str(said.get("user", "postgres")),
        password=str(said.get("password", "")),
        host=str(said.get("host", "127.0.0.1")),
        port=int(said.get("port") or 5432),
    )


@contextmanager
def _in_docker() -> Iterator[PostgresServer]:
    from testcontainers.community.postgres import PostgresContainer  # noqa: PLC0415 - only where Docker is
    from testcontainers.core.config import testcontainers_config  # noqa: PLC0415 - only where Docker is

    # The container that removes ours after a kill; without its image we remove ours ourselves only.
    testcontainers_config.ryuk_disabled |= not _is_here(testcontainers_config.ryuk_image)
    container = PostgresContainer(
        IMAGE, username="postgres", password=secrets.token_hex(8), dbname="postgres", driver=None
    )
    container.with_command("postgres -c fsync=off -c full_page_writes=off -c max_connections=200")
    with container:
        yield PostgresServer(
            kind="docker",
            user="postgres",
            password=container.password,
            host=container.get_container_host_ip(),
            port=int(container.get_exposed_port(5432)),
        )


@contextmanager
def _embedded() -> Iterator[PostgresServer]:
    with (
        tempfile.TemporaryDirectory(prefix="bulkhead-test-", ignore_cleanup_errors=True) as folder,
        EmbeddedPostgres(Path(folder), durable=False) as server,
    ):
        yield PostgresServer("embedded", server.superuser, server.password, server.host, server.port)
