"""The form of a rule over pg_catalog: a query for what breaks it, who may, and a mutant that must be found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import psycopg

# Names that rules share. `ours`: the schemas; `tables`: every table and partition; `roles`: every role of roles.sql.
_WITH = """
with ours as (
    select n.oid, n.nspname, n.nspowner from pg_namespace as n
    where n.nspname in ('app', 'identity', 'issues', 'audit')
),
tables as (
    select c.oid, o.nspname as schema, o.nspname || '.' || c.relname as name, c.relrowsecurity, c.relforcerowsecurity,
        c.relispartition, c.relkind, c.relowner, c.relacl, obj_description(c.oid, 'pg_class') as comment,
        exists (
            select from pg_attribute as a
            where a.attrelid = c.oid and a.attname = 'tenant_id' and a.atttypid = 'uuid'::regtype and a.attnotnull
        ) as has_tenant
    from pg_class as c inner join ours as o on o.oid = c.relnamespace
    -- Alembic's own table: one revision, which a service reads to know whether the schema suits it.
    where c.relkind in ('r', 'p') and c.relname <> 'alembic_version'
),
roles as (
    select r.oid, r.rolname, r.rolcanlogin, r.rolsuper, r.rolbypassrls, r.rolcreatedb, r.rolcreaterole,
        r.rolreplication
    from pg_roles as r
    where r.rolname
        ~ '^bulkhead_(app|identity|issues|audit|platform)_(owner|app|relay|worker|definer|search|partition)$'
        or r.rolname in ('bulkhead_ops', 'bulkhead_eraser', 'bulkhead_backup')
),
grants as (
    select t.oid, t.name, t.schema, t.relowner, g.grantee, g.privilege_type, null::text as column_name
    from tables as t, aclexplode(t.relacl) as g
    union all
    select t.oid, t.name, t.schema, t.relowner, g.grantee, g.privilege_type, a.attname::text
    from tables as t inner join pg_attribute as a on a.attrelid = t.oid, aclexplode(a.attacl) as g
),
functions as (
    select p.oid, o.nspname as schema, o.nspname || '.' || p.proname as name, p.prosecdef, p.proconfig, p.proowner,
        p.proleakproof, p.prorettype, coalesce(p.proacl, acldefault('f', p.proowner)) as acl
    from pg_proc as p inner join ours as o on o.oid = p.pronamespace
),
policies as (
    select t.oid as table_oid, t.name as table_name, t.schema, t.name || '.' || p.polname as name, p.oid, p.polname,
        p.polcmd, p.polpermissive, p.polroles,
        pg_get_expr(p.polqual, p.polrelid) as qual, pg_get_expr(p.polwithcheck, p.polrelid) as with_check
    from pg_policy as p inner join tables as t on t.oid = p.polrelid
)
"""


@dataclass(frozen=True)
class CatalogueRule:
    name: str
    query: str
    """Gives (object, what is wrong with it), after `_WITH`."""
    mutant: str
    """SQL that breaks the rule; the rule must find what it made."""
    allowed: Mapping[str, str] = field(default_factory=dict)
    """Objects that need not keep the rule, each with its reason; one that is not needed fails."""

    def all_found(self, connection: psycopg.Connection) -> dict[str, str]:
        query = _WITH + self.query
        return {str(name): str(what) for name, what in connection.execute(query.encode()).fetchall()}

    def broken(self, connection: psycopg.Connection) -> dict[str, str]:
        return {name: what for name, what in self.all_found(connection).items() if name not in self.allowed}
