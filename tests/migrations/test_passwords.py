"""Passwords of logins: the server gets what it keeps of them, never themselves."""

from __future__ import annotations

import tempfile
from pathlib import Path

import psycopg
import pytest
from bulkhead_cli.postgres import EmbeddedPostgres
from bulkhead_kit import migrations

from tests.support.postgres import Databases

PASSWORDS = {
    "bulkhead_identity_app": "a-harbour-without-boats",
    "bulkhead_issues_app": "quotes ' \\ and $1 %s {}",
    # A soft hyphen and a ligature: whoever types the password elsewhere may send neither.
    "bulkhead_audit_app": "har\u00adbour o\ufb03ce",
}


def test_no_password_stands_in_the_servers_log() -> None:
    with tempfile.TemporaryDirectory(prefix="bh-") as folder:
        Path(folder).chmod(0o755)
        embedded = EmbeddedPostgres(Path(folder) / "pg", durable=False, settings={"log_statement": "all"})
        with embedded as server:
            migrations.prepare(server.dsn, passwords=PASSWORDS)
            for role, password in PASSWORDS.items():
                psycopg.connect(server.dsn_for("postgres", role, password)).close()
        log = embedded.log.read_text(encoding="utf-8")
    assert log.count("password 'SCRAM-SHA-256$4096:") == len(PASSWORDS)
    for password in PASSWORDS.values():
        assert password not in log
        assert password.replace("'", "''") not in log


def test_a_password_is_normalised_as_clients_do(databases: Databases) -> None:
    database = databases.empty()
    migrations.prepare(database.admin_dsn, passwords={"bulkhead_ops": PASSWORDS["bulkhead_audit_app"]})
    url = database.server.url
    psycopg.connect(url(database.name, "bulkhead_ops", "harbour office")).close()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url(database.name, "bulkhead_ops", "harbour"))
    migrations.prepare(database.admin_dsn, passwords={"bulkhead_ops": "test-bulkhead_ops"})
    databases.drop(database)


def test_a_verifier_is_taken_as_it_is(databases: Databases) -> None:
    database = databases.empty()
    with psycopg.connect(database.admin_dsn, autocommit=True) as admin:
        verifier = admin.pgconn.encrypt_password(b"test-bulkhead_ops", b"bulkhead_ops", b"scram-sha-256").decode()
        migrations.prepare(database.admin_dsn, passwords={"bulkhead_ops": verifier})
        kept = admin.execute("select rolpassword from pg_catalog.pg_authid where rolname = 'bulkhead_ops'").fetchone()
    assert kept == (verifier,)
    psycopg.connect(database.dsn("bulkhead_ops")).close()
    databases.drop(database)
