"""Fills identity's tables with a grown installation, and proves that what triggers would have kept is kept.

Triggers and foreign keys do not run while it is filled (session_replication_role): half a million rows, each captured
for audit, would take minutes. Checks and unique constraints hold as ever. What was left out is proved afterwards, over
all rows: every foreign key, the counts of seats, the plans' limits, an active owner in each tenant.
"""

from __future__ import annotations

import psycopg
from argon2 import PasswordHasher
from psycopg import sql

from tests.scale import crowd_more_sql, crowd_sql

PASSWORD = "correct horse battery"
_FOREIGN_KEYS = """
    select
        c.conname, c.conrelid::regclass::text, c.confrelid::regclass::text,
        array(select a.attname::text from unnest(c.conkey) with ordinality as k (n, o)
            join pg_attribute as a on a.attrelid = c.conrelid and a.attnum = k.n order by k.o),
        array(select a.attname::text from unnest(c.confkey) with ordinality as k (n, o)
            join pg_attribute as a on a.attrelid = c.confrelid and a.attnum = k.n order by k.o)
    from pg_constraint as c where c.contype = 'f' and c.connamespace = 'identity'::regnamespace
"""
_BROKEN = {
    "a tenant's usage is what it uses": """
        select u.tenant_id from identity.tenant_usage as u
        where
            u.active_members <> (
                select count(*) from identity.memberships as m
                where m.tenant_id = u.tenant_id and m.kind = 'person' and m.status = 'active'
            )
            or u.open_invitations <> (
                select count(*) from identity.invitations as i where i.tenant_id = u.tenant_id and i.status = 'open'
            )
    """,
    "a tenant's plan has room for its people": """
        select tenant_id from identity.tenant_usage
        where active_members + open_invitations > identity.limit_of(tenant_id, 'users')
    """,
    "every tenant has its usage and an active owner": """
        select t.tenant_id from identity.tenants as t
        where
            not exists (select from identity.tenant_usage as u where u.tenant_id = t.tenant_id)
            or not exists (
                select from identity.memberships as m
                where m.tenant_id = t.tenant_id and m.role = 5 and m.status = 'active'
            )
    """,
    "nobody but a proved person has a password": """
        select c.user_id from identity.user_credentials as c inner join identity.users as u on u.user_id = c.user_id
        where u.kind <> 'person' or u.email_verified_at is null
    """,
}


def fill(admin_dsn: str) -> None:
    with psycopg.connect(admin_dsn) as connection:
        connection.execute("set local session_replication_role = replica")
        connection.execute("select set_config('crowd.password_hash', %s, true)", (_hash(),))
        for statements in crowd_sql.FILLING + crowd_more_sql.FILLING:
            connection.execute(statements)
    with psycopg.connect(admin_dsn, autocommit=True) as connection:
        # Tables whose plans are in the balance are read in full for it: no run's sample differs from another's.
        connection.execute("set default_statistics_target = 200")
        connection.execute("vacuum (analyze)")


def broken(connection: psycopg.Connection) -> dict[str, int]:
    """What of the rules that triggers keep does not hold, with the number of rows."""
    found = {what: len(connection.execute(query).fetchall()) for what, query in _BROKEN.items()}
    for name, child, parent, columns, keys in connection.execute(_FOREIGN_KEYS).fetchall():
        found[name] = len(connection.execute(_orphans(child, parent, columns, keys)).fetchall())
    return {what: rows for what, rows in found.items() if rows}


def _orphans(child: str, parent: str, columns: list[str], keys: list[str]) -> sql.Composed:
    given = sql.SQL(" and ").join(sql.SQL("c.{} is not null").format(sql.Identifier(name)) for name in columns)
    same = sql.SQL(" and ").join(
        sql.SQL("p.{} = c.{}").format(sql.Identifier(key), sql.Identifier(name))
        for key, name in zip(keys, columns, strict=True)
    )
    return sql.SQL("select from {} as c where {} and not exists (select from {} as p where {})").format(
        sql.Identifier(*child.split(".")), given, sql.Identifier(*parent.split(".")), same
    )


def _hash() -> str:
    return PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1).hash(PASSWORD)
