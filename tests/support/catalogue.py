"""What a schema consists of, as lines of text that can be compared; read from pg_catalog."""

from __future__ import annotations

import psycopg

# Each query takes the schema's name and gives (kind, name, definition).
_QUERIES = (
    """
    select 'relation', c.relname, concat_ws(' ', c.relkind, c.relrowsecurity, c.relforcerowsecurity, c.relispartition,
        pg_get_userbyid(c.relowner), array_to_string(c.reloptions, ','),
        coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's'::"char" else 'r'::"char" end, c.relowner))::text,
        pg_get_expr(c.relpartbound, c.oid), pg_get_partkeydef(c.oid), pg_get_viewdef(c.oid),
        obj_description(c.oid, 'pg_class'))
    from pg_class as c where c.relnamespace = %(schema)s::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
    """,
    """
    -- A generated column has no place of its own: with another expression it is made anew, behind all others.
    select 'column', c.relname || '.' || a.attname, concat_ws(' ', case when a.attgenerated = '' then a.attnum - (
            select count(*) from pg_attribute as d
            where d.attrelid = a.attrelid and (d.attisdropped or d.attgenerated <> '') and d.attnum < a.attnum
        ) end, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
        pg_get_expr(f.adbin, f.adrelid), a.attacl::text, l.collname, col_description(c.oid, a.attnum))
    from pg_attribute as a inner join pg_class as c on c.oid = a.attrelid
    left join pg_attrdef as f on f.adrelid = a.attrelid and f.adnum = a.attnum
    left join pg_collation as l on l.oid = a.attcollation
    where c.relnamespace = %(schema)s::regnamespace and c.relkind in ('r', 'p', 'v', 'm') and a.attnum > 0
        and not a.attisdropped
    """,
    """
    select 'constraint', t.relname || '.' || c.conname,
        concat_ws(' ', pg_get_constraintdef(c.oid), c.convalidated, c.condeferrable, c.condeferred,
        obj_description(c.oid, 'pg_constraint'))
    from pg_constraint as c inner join pg_class as t on t.oid = c.conrelid
    where c.connamespace = %(schema)s::regnamespace
    """,
    """
    select 'index', c.relname, concat_ws(' ', pg_get_indexdef(i.indexrelid), i.indisvalid)
    from pg_index as i inner join pg_class as c on c.oid = i.indexrelid
    where c.relnamespace = %(schema)s::regnamespace
    """,
    """
    select 'policy', c.relname || '.' || p.polname, concat_ws(' ', p.polcmd, p.polpermissive,
        (select string_agg(coalesce(r.rolname, 'public'), ',' order by r.rolname)
         from unnest(p.polroles) as o left join pg_roles as r on r.oid = o),
        pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
    from pg_policy as p inner join pg_class as c on c.oid = p.polrelid
    where c.relnamespace = %(schema)s::regnamespace
    """,
    """
    select 'trigger', c.relname || '.' || t.tgname, concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled)
    from pg_trigger as t inner join pg_class as c on c.oid = t.tgrelid
    where c.relnamespace = %(schema)s::regnamespace and not t.tgisinternal
    """,
    """
    select 'function', p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
        concat_ws(' ', pg_get_functiondef(p.oid), pg_get_userbyid(p.proowner),
        coalesce(p.proacl, acldefault('f', p.proowner))::text,
        obj_description(p.oid, 'pg_proc'))
    from pg_proc as p where p.pronamespace = %(schema)s::regnamespace and p.prokind in ('f', 'p')
    """,
    """
    select 'type', t.typname, concat_ws(' ', t.typtype, format_type(t.typbasetype, t.typtypmod),
        coalesce(t.typacl, acldefault('T', t.typowner))::text)
    from pg_type as t
    where t.typnamespace = %(schema)s::regnamespace and t.typtype in ('d', 'e', 'r')
    """,
    """
    select 'schema', n.nspname, concat_ws(' ', pg_get_userbyid(n.nspowner),
        coalesce(n.nspacl, acldefault('n', n.nspowner))::text)
    from pg_namespace as n where n.nspname = %(schema)s
    """,
)


def snapshot(connection: psycopg.Connection, schema: str) -> list[str]:
    """Everything in a schema, sorted. The version table is no part of it: Alembic makes and keeps that."""
    lines = []
    for query in _QUERIES:
        for kind, name, definition in connection.execute(query, {"schema": schema}).fetchall():
            if not name.startswith("alembic_version"):
                lines.append(f"{kind} {name}: {' '.join(definition.split())}")
    return sorted(lines)


def all_snapshots(dsn: str) -> dict[str, list[str]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        # Definitions print what is on the path without its schema.
        connection.execute("set search_path = pg_catalog")
        return {schema: snapshot(connection, schema) for schema in ("app", "identity", "issues", "audit", "public")}


def difference(before: dict[str, list[str]], after: dict[str, list[str]]) -> str:
    """The lines that only one of two snapshots has; empty when they are alike."""
    lines = []
    for schema, was in before.items():
        lines += [f"- {schema}: {line}" for line in was if line not in after[schema]]
        lines += [f"+ {schema}: {line}" for line in after[schema] if line not in was]
    return "\n".join(lines)
