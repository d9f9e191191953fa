"""Names that were two and are one from now on: the oldest keeps it, the others get the end of their ids."""

from __future__ import annotations

import psycopg
import pytest
from bulkhead_kit import migrations
from psycopg import sql

from tests.support.postgres import Databases

TENANT = "00000000-0000-7000-8000-0000000000aa"
NAMES = ["bug", "bu\u200bg", "Stra\u00dfe", "STRASSE", "ape", "b" * 48 + "\u00df", "B" * 48 + "ss", "\u200b", "\u3164"]
# Nobody did it, and the tenant's log says what was done.
RENAMED = [(number, None, NAMES[number]) for number in (1, 3, 6, 7, 8)]
COLUMNS = {"labels": ("label_id", ", color", ", '#888888'"), "workspaces": ("workspace_id", "", "")}
COLUMNS |= {"statuses": ("status_id", ", category, position", ", 1, 1"), "teams": ("team_id", "", "")}


@pytest.mark.parametrize(
    ("schema", "before", "tables"),
    [("identity", "0028", ["teams"]), ("issues", "0016", ["labels", "statuses", "workspaces"])],
)
def test_twins_are_kept_apart(databases: Databases, schema: str, before: str, tables: list[str]) -> None:
    database = databases.empty()
    for target in migrations.TARGETS:
        migrations.upgrade(database.admin_dsn, target.schema, before if target.schema == schema else "head")
        if target.schema == schema:
            break
    for table in tables:
        _insert(database.admin_dsn, schema, table)
    migrations.upgrade(database.admin_dsn, schema)
    with psycopg.connect(database.admin_dsn) as connection:
        for table in tables:
            query = sql.SQL("select name, name_key = app.fold(name) from {} order by created_at")
            rows = connection.execute(query.format(sql.Identifier(schema, table))).fetchall()
            assert all(is_key for _, is_key in rows)
            assert [name for name, _ in rows] == [
                "bug",
                "bu\u200bg (00000001)",
                "Stra\u00dfe",
                "STRASSE (00000003)",
                "ape",
                NAMES[5],
                ("B" * 39 if table == "statuses" else NAMES[6]) + " (00000006)",
                "Unnamed (00000007)",
                "Unnamed (00000008)",
            ]
            assert _renamed(connection, schema, table) == RENAMED
    databases.drop(database)


def _renamed(connection: psycopg.Connection, schema: str, table: str) -> list[tuple[int, None, str]]:
    """Which, by whom, and what it was called before."""
    query = (
        "select right(entity_id::text, 2)::int, actor_id, changes #>> '{name,0}' from {} "
        "where action = %s order by entity_id"
    )
    action = {"statuses": "status"}.get(table, table.removesuffix("s")) + ".updated"
    return connection.execute(
        sql.SQL(query.replace("{name,0}", "{{name,0}}")).format(sql.Identifier(schema, "outbox")), (action,)
    ).fetchall()


def _insert(dsn: str, schema: str, table: str) -> None:
    """Without triggers and foreign keys: nothing but the rows is of interest."""
    key, columns, values = COLUMNS[table]
    with psycopg.connect(dsn) as connection:
        connection.execute("set session_replication_role = replica")
        for number, name in enumerate(NAMES):
            connection.execute(
                sql.SQL(
                    "insert into {} (tenant_id, {}, name, created_at, updated_at, version" + columns + ")"
                    " values (%s, %s, %s, now() + %s * interval '1 s', now(), 1" + values + ")"
                ).format(sql.Identifier(schema, table), sql.Identifier(key)),
                (TENANT, f"00000000-0000-7000-8000-{number:012d}", name, number),
            )
