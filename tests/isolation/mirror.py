"""A tenant with the very rows of another, ids and all: what a statement that forgets its tenant would touch."""

from __future__ import annotations

from uuid import UUID

import psycopg
from bulkhead_kit.ids import new_id
from psycopg import sql

_TABLES = """
    select n.nspname, c.relname, array_agg(a.attname::text order by a.attnum) from pg_class as c
    inner join pg_namespace as n on n.oid = c.relnamespace
    inner join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    where n.nspname in ('identity', 'issues', 'audit') and c.relkind in ('r', 'p') and not c.relispartition
        and exists (select from pg_attribute as t where t.attrelid = c.oid and t.attname = 'tenant_id')
    group by 1, 2 order by 1, 2
"""
_ALL_TABLES = """
    select n.nspname, c.relname, exists (
        select from pg_attribute as t where t.attrelid = c.oid and t.attname = 'tenant_id'
    )
    from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname in ('identity', 'issues', 'audit') and c.relkind in ('r', 'p') and not c.relispartition
"""
MARK = "mirrored "
"""Every name in a mirror begins with it."""


def mirror(admin: psycopg.Connection, tenant_id: UUID, *, marks_addresses: bool = False) -> UUID:
    """Makes the copy without triggers and references, and returns its tenant's id.

    With addresses of its own it can be told apart where no names are; with the same ones it is in the way of a key
    that has forgotten the tenant.
    """
    marked = {"name", "display_name", "email"} if marks_addresses else {"name", "display_name"}
    copied = new_id()
    with admin.transaction():
        admin.execute("set local session_replication_role = replica")
        for schema, table, columns in admin.execute(_TABLES).fetchall():
            statement = sql.SQL(
                "insert into {table} ({columns}) overriding system value select {values} from {table}"
                " where tenant_id = {tenant}"
            ).format(
                table=sql.Identifier(schema, table),
                columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
                values=sql.SQL(", ").join(_value(column, copied, marked) for column in columns),
                tenant=sql.Literal(tenant_id),
            )
            admin.execute(statement)
    return copied


def _value(column: str, copied: UUID, marked: set[str]) -> sql.Composable:
    if column == "tenant_id":
        return sql.Literal(copied)
    if column in marked:
        return sql.SQL("{} || md5({})").format(sql.Literal(MARK), sql.Identifier(column))
    # Unique over all tenants, so that a copy needs another one.
    if column == "slug":
        return sql.SQL("md5(random()::text)")
    if column in {"token_hash", "secret_hash"}:
        return sql.SQL("decode(md5(random()::text) || md5(random()::text), 'hex')")
    return sql.Identifier(column)


def spilled(admin: psycopg.Connection, copies: set[UUID]) -> list[str]:
    """The tables in which rows that are not the copies' have a name of theirs."""
    found = []
    for schema, table, has_tenant in admin.execute(_ALL_TABLES).fetchall():
        outside = sql.SQL("and not tenant_id = any(%(copies)s)") if has_tenant else sql.SQL("")
        statement = sql.SQL("select exists (select from {} as t where t::text like %(mark)s {})").format(
            sql.Identifier(schema, table), outside
        )
        row = admin.execute(statement, {"mark": f"%{MARK}%", "copies": list(copies)}).fetchone()
        if row is not None and row[0]:
            found.append(f"{schema}.{table}")
    return found
