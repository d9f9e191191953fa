"""Everything in the database, as one digest a table: what a refused call must leave as it was."""

from __future__ import annotations

import psycopg
from psycopg import sql

_TABLES = """
    select n.nspname, c.relname from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname in ('identity', 'issues', 'audit') and c.relkind in ('r', 'p') and not c.relispartition
    order by n.nspname, c.relname
"""
_ONE = (
    "select {name}, count(*), coalesce(md5(string_agg(md5(t::text), '' order by md5(t::text))), '') from {table} as t"
)

Contents = dict[str, tuple[int, str]]


class Tables:
    """Read by the administrator, from whom nothing is hidden."""

    def __init__(self, admin: psycopg.Connection) -> None:
        self._admin = admin
        found = admin.execute(_TABLES).fetchall()
        one = [sql.SQL(_ONE).format(name=sql.Literal(".".join(pair)), table=sql.Identifier(*pair)) for pair in found]
        self._question = sql.SQL(" union all ").join(one)

    def contents(self) -> Contents:
        return {name: (rows, digest) for name, rows, digest in self._admin.execute(self._question).fetchall()}


def difference(before: Contents, after: Contents) -> list[str]:
    """The tables that changed, with their sizes before and after."""
    return [f"{name}: {before[name][0]} -> {after[name][0]} rows" for name in before if before[name] != after[name]]
