"""What is asked of pg_catalog. Each text means the same on PostgreSQL 15 to 18 and gives its rows in a fixed order."""

SCHEMAS = """
    select n.nspname as name, pg_get_userbyid(n.nspowner) as owner
    from pg_namespace as n where n.nspname = any(%(schemas)s)
    order by array_position(%(schemas)s, n.nspname::text)
"""

SCHEMA_RIGHTS = """
    select n.nspname as schema, coalesce(r.rolname, 'public') as role,
        array_agg(a.privilege_type order by a.privilege_type) as privileges
    from pg_namespace as n cross join aclexplode(n.nspacl) as a
    left join pg_roles as r on r.oid = a.grantee
    where n.nspname = any(%(schemas)s) and a.grantee <> n.nspowner
    group by 1, 2 order by 1, 2
"""

# Months of a partitioned table come and go with the time, and Alembic keeps its own table.
TABLES = """
    select n.nspname as schema, c.relname as name, pg_get_userbyid(c.relowner) as owner,
        obj_description(c.oid, 'pg_class') as comment, pg_get_partkeydef(c.oid) as partition_key,
        coalesce(c.reloptions, '{}') as options, c.relrowsecurity as row_security, c.relforcerowsecurity as forced
    from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = any(%(schemas)s) and c.relkind in ('r', 'p') and not c.relispartition
        and c.relname <> 'alembic_version'
    order by 1, 2
"""

COLUMNS = """
    select n.nspname as schema, c.relname as relation, a.attname as name,
        replace(format_type(a.atttypid, a.atttypmod), 'timestamp with time zone', 'timestamptz') || coalesce((
            -- An index serves comparisons in the column's collation only.
            select format(' collate %%I', k.collname) from pg_collation as k
            inner join pg_type as t on t.oid = a.atttypid
            where k.oid = a.attcollation and a.attcollation <> t.typcollation
        ), '') as type,
        a.attnotnull as required, pg_get_expr(f.adbin, f.adrelid, true) as default,
        case a.attidentity when 'a' then 'always' when 'd' then 'by default' else '' end as identity,
        a.attgenerated <> '' as generated, col_description(c.oid, a.attnum) as comment
    from pg_attribute as a
    inner join pg_class as c on c.oid = a.attrelid
    inner join pg_namespace as n on n.oid = c.relnamespace
    left join pg_attrdef as f on f.adrelid = a.attrelid and f.adnum = a.attnum
    where n.nspname = any(%(schemas)s) and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
    order by 1, 2, a.attnum
"""

# Without 'n': from 18 on "not null" is a constraint too, but it is told with the column.
CONSTRAINTS = """
    select n.nspname as schema, c.relname as relation, k.conname as name, k.contype::text as kind,
        pg_get_constraintdef(k.oid, true) as definition,
        array(select a.attname::text from unnest(k.conkey) with ordinality as u (num, pos)
              inner join pg_attribute as a on a.attrelid = k.conrelid and a.attnum = u.num order by u.pos) as columns,
        (select tn.nspname || '.' || t.relname
         from pg_class as t inner join pg_namespace as tn on tn.oid = t.relnamespace
         where t.oid = k.confrelid) as target,
        array(select a.attname::text from unnest(k.confkey) with ordinality as u (num, pos)
              inner join pg_attribute as a on a.attrelid = k.confrelid and a.attnum = u.num
              order by u.pos) as target_columns,
        obj_description(k.oid, 'pg_constraint') as comment
    from pg_constraint as k
    inner join pg_class as c on c.oid = k.conrelid
    inner join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = any(%(schemas)s) and k.contype in ('p', 'u', 'f', 'c', 'x')
    order by 1, 2, array_position(array['p', 'u', 'x', 'f', 'c'], k.contype::text), 3
"""

INDEXES = """
    select n.nspname as schema, c.relname as relation, i.relname as name,
        pg_get_indexdef(x.indexrelid, 0, true) as definition, x.indisunique as unique,
        array(select a.attname::text from unnest(x.indkey::smallint[]) with ordinality as u (num, pos)
              inner join pg_attribute as a on a.attrelid = x.indrelid and a.attnum = u.num order by u.pos) as columns,
        obj_description(i.oid, 'pg_class') as comment
    from pg_index as x
    inner join pg_class as i on i.oid = x.indexrelid
    inner join pg_class as c on c.oid = x.indrelid
    inner join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = any(%(schemas)s)
        and not exists (select from pg_constraint as k where k.conindid = i.oid and k.contype in ('p', 'u', 'x'))
    order by 1, 2, 3
"""

POLICIES = """
    select n.nspname as schema, c.relname as relation, p.polname as name,
        case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete'
            else 'all' end as command,
        not p.polpermissive as restrictive,
        array(select coalesce(r.rolname, 'public')::text
              from unnest(p.polroles) as o left join pg_roles as r on r.oid = o order by 1) as roles,
        pg_get_expr(p.polqual, p.polrelid, true) as using,
        pg_get_expr(p.polwithcheck, p.polrelid, true) as check
    from pg_policy as p
    inner join pg_class as c on c.oid = p.polrelid
    inner join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = any(%(schemas)s)
    order by 1, 2, p.polpermissive, 3
"""

# What the owner has is not told: it is everything.
GRANTS = """
    select n.nspname as schema, c.relname as relation, coalesce(r.rolname, 'public') as role,
        lower(g.privilege_type) as privilege, g.columns, g.is_grantable as grantable
    from pg_class as c
    inner join pg_namespace as n on n.oid = c.relnamespace
    cross join lateral (
        select a.grantee, a.privilege_type, a.is_grantable, array[]::text[] as columns
        from aclexplode(c.relacl) as a
        union all
        select a.grantee, a.privilege_type, a.is_grantable, array_agg(t.attname::text order by t.attnum)
        from pg_attribute as t cross join aclexplode(t.attacl) as a
        where t.attrelid = c.oid and not t.attisdropped
        group by 1, 2, 3
    ) as g
    left join pg_roles as r on r.oid = g.grantee
    where n.nspname = any(%(schemas)s) and c.relkind in ('r', 'p') and g.grantee <> c.relowner
    order by 1, 2, 3, array_position(array['select', 'insert', 'update', 'delete'], lower(g.privilege_type)), 4, 5
"""

TRIGGERS = """
    select n.nspname as schema, c.relname as relation, t.tgname as name,
        pg_get_triggerdef(t.oid, true) as definition, fn.nspname || '.' || f.proname as function,
        t.tgenabled::text as state
    from pg_trigger as t
    inner join pg_class as c on c.oid = t.tgrelid
    inner join pg_namespace as n on n.oid = c.relnamespace
    inner join pg_proc as f on f.oid = t.tgfoid
    inner join pg_namespace as fn on fn.oid = f.pronamespace
    where n.nspname = any(%(schemas)s) and not t.tgisinternal
    order by 1, 2, 3
"""

FUNCTIONS = """
    select n.nspname as schema, p.proname as name,
        case p.prokind when 'p' then 'procedure' else 'function' end as kind,
        pg_get_function_arguments(p.oid) as arguments, oidvectortypes(p.proargtypes) as argument_types,
        pg_get_function_result(p.oid) as result, pg_get_userbyid(p.proowner) as owner, l.lanname as language,
        case p.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end as volatility,
        p.prosecdef as definer, coalesce(p.proconfig, '{}') as settings,
        array(select coalesce(r.rolname, 'public')::text
              from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a
              left join pg_roles as r on r.oid = a.grantee
              where a.grantee <> p.proowner order by 1) as executors,
        obj_description(p.oid, 'pg_proc') as comment, pg_get_functiondef(p.oid) as definition,
        exists (
            select from pg_depend as d
            where d.refclassid = 'pg_proc'::regclass and d.refobjid = p.oid
                and d.classid in (
                    'pg_attrdef'::regclass, 'pg_constraint'::regclass, 'pg_policy'::regclass, 'pg_class'::regclass
                )
        ) as used_by_tables
    from pg_proc as p
    inner join pg_namespace as n on n.oid = p.pronamespace
    inner join pg_language as l on l.oid = p.prolang
    where n.nspname = any(%(schemas)s) and p.prokind in ('f', 'p')
    order by 1, 2, 5
"""

VIEWS = """
    select n.nspname as schema, c.relname as name, pg_get_userbyid(c.relowner) as owner,
        obj_description(c.oid, 'pg_class') as comment, pg_get_viewdef(c.oid) as definition,
        coalesce(c.reloptions, '{}') as options,
        array(select pg_get_userbyid(a.grantee)::text from aclexplode(c.relacl) as a
              where a.grantee <> c.relowner and a.privilege_type = 'SELECT' order by 1) as readers
    from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = any(%(schemas)s) and c.relkind = 'v'
    order by 1, 2
"""

# Roles of this installation: whoever owns something in its schemas or was given a right on one of them.
ROLES = """
    select r.rolname as name, r.rolcanlogin as login, r.rolbypassrls as bypasses, r.rolsuper as superuser,
        r.rolinherit as inherits,
        array(select g.rolname::text from pg_auth_members as m inner join pg_roles as g on g.oid = m.roleid
              where m.member = r.oid order by 1) as member_of,
        has_database_privilege(r.oid, current_database(), 'connect') as connects,
        coalesce((select s.setconfig from pg_db_role_setting as s
                  where s.setrole = r.oid and s.setdatabase = 0), '{}') as settings
    from pg_roles as r
    where r.oid in (
        select n.nspowner from pg_namespace as n where n.nspname = any(%(schemas)s)
        union
        select a.grantee from pg_namespace as n cross join aclexplode(n.nspacl) as a
        where n.nspname = any(%(schemas)s)
    )
    order by 1
"""

# Kinds of things the documents would pass over in silence. The first one made must teach them.
UNKNOWN = """
    select concat('relation of kind ', c.relkind, ' ', c.oid::regclass) as what
    from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = any(%(schemas)s) and (
        c.relkind not in ('r', 'p', 'v', 'i', 'I', 'S')
        or c.relkind = 'v' and exists (
            select from aclexplode(c.relacl) as a
            where a.grantee <> c.relowner and (a.privilege_type <> 'SELECT' or a.grantee = 0)
        )
        or c.relkind = 'S' and not exists (
            select from pg_depend as d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'i'
        )
        or c.relkind = 'S' and c.relacl is not null
        or c.relkind in ('r', 'p') and c.relhasrules
    )
    union all
    select concat('type ', t.oid::regtype) from pg_type as t inner join pg_namespace as n on n.oid = t.typnamespace
    where n.nspname = any(%(schemas)s) and t.typtype in ('d', 'e', 'r')
    union all
    select concat('aggregate or window function ', p.oid::regprocedure)
    from pg_proc as p inner join pg_namespace as n on n.oid = p.pronamespace
    where n.nspname = any(%(schemas)s) and p.prokind not in ('f', 'p')
    union all
    select concat('operator ', o.oid::regoperator)
    from pg_operator as o inner join pg_namespace as n on n.oid = o.oprnamespace
    where n.nspname = any(%(schemas)s)
    union all
    select 'statistics ' || s.stxname
    from pg_statistic_ext as s inner join pg_namespace as n on n.oid = s.stxnamespace
    where n.nspname = any(%(schemas)s)
    union all
    select 'default privileges of ' || pg_get_userbyid(d.defaclrole)
    from pg_default_acl as d inner join pg_namespace as n on n.oid = d.defaclnamespace
    where n.nspname = any(%(schemas)s)
    order by 1
"""
