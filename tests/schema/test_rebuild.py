"""schema.sql is no picture of the schema: run, it makes the same one."""

from __future__ import annotations

import re
from importlib import resources

import psycopg
from bulkhead_cli.schema import catalogue, files
from bulkhead_cli.schema.model import Catalogue
from psycopg import sql

from tests.schema.conftest import ROOT
from tests.support.catalogue import all_snapshots, difference
from tests.support.postgres import Databases, ScratchDatabase


def test_the_snapshots_make_the_same_schemas(databases: Databases, database: ScratchDatabase, found: Catalogue) -> None:
    rebuilt = databases.empty()
    with psycopg.connect(rebuilt.admin_dsn) as connection:
        for path in files.SNAPSHOTS.values():
            connection.execute(sql.SQL((ROOT / path).read_text(encoding="utf-8")))
    with psycopg.connect(rebuilt.admin_dsn) as connection:
        again = catalogue.read(connection)
    assert again.schemas == found.schemas
    # By other code than what wrote the files, which could be blind to what it does not write.
    left = difference(_unordered(database.admin_dsn), _unordered(rebuilt.admin_dsn))
    databases.drop(rebuilt)
    assert not left, left


def _unordered(dsn: str) -> dict[str, list[str]]:
    """Rights are kept in the order they were given, which means nothing."""
    return {schema: [_sorted_rights(line) for line in lines] for schema, lines in all_snapshots(dsn).items()}


def _sorted_rights(line: str) -> str:
    return re.sub(
        r"\{([^{}]*=[a-zA-Z*]*/[^{}]*)\}", lambda rights: "{" + ",".join(sorted(rights[1].split(","))) + "}", line
    )


def test_the_roles_need_no_snapshot() -> None:
    roles = resources.files("bulkhead_postgres").joinpath("roles.sql").read_text(encoding="utf-8")
    assert "create role" in roles
    for path in files.SNAPSHOTS.values():
        assert "create role" not in (ROOT / path).read_text(encoding="utf-8")
