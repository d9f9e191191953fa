"""Everything a tenant has, as one digest a table: what must be the same before and after a stranger's calls."""

from __future__ import annotations

from uuid import UUID

import psycopg
from psycopg import sql

_TABLES = """
    select n.nspname, c.relname from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
    inner join pg_attribute as a on a.attrelid = c.oid and a.attname = %s
    where n.nspname in ('identity', 'issues', 'audit') and c.relkind in ('r', 'p') and not c.relispartition
    order by n.nspname, c.relname
"""
# When a key was last used is no state: a probe sends theirs to see that it does not open our tenant.
_OF_TENANT = (
    "select count(*), md5(string_agg(md5(t.kept), '' order by md5(t.kept)))"
    " from (select (to_jsonb(r) - 'last_used_at')::text as kept from {} as r where tenant_id = %s) as t"
)
_OF_PEOPLE = (
    "select count(*), md5(string_agg(md5(t::text), '' order by md5(t::text))) from {} as t"
    " where user_id in (select m.user_id from identity.memberships as m where m.tenant_id = %s)"
)
State = dict[str, tuple[int, str | None]]


def state_of(admin: psycopg.Connection, tenant_id: UUID) -> State:
    """Rows and digest by table: those of the tenant, and those of its people that belong to no tenant."""
    state: State = {}
    tenant_tables = admin.execute(_TABLES, ("tenant_id",)).fetchall()
    people_tables = [found for found in admin.execute(_TABLES, ("user_id",)).fetchall() if found not in tenant_tables]
    for tables, question in ((tenant_tables, _OF_TENANT), (people_tables, _OF_PEOPLE)):
        for schema, table in tables:
            statement = sql.SQL(question).format(sql.Identifier(schema, table))
            row = admin.execute(statement, (tenant_id,)).fetchone()
            assert row is not None
            state[f"{schema}.{table}"] = (row[0], row[1])
    return state


def changed(before: State, after: State) -> list[str]:
    return [table for table in before if before[table] != after[table]]
