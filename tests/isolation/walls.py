"""Rules over row-level security: every table forced, policies of the known shapes only."""

from __future__ import annotations

from tests.isolation.catalogue import CatalogueRule

RULES = [
    CatalogueRule(
        "row security is on and forced",
        """
        select name, 'row security is not on and forced' from tables
        where not (relrowsecurity and relforcerowsecurity)
        """,
        "alter table issues.labels no force row level security",
    ),
    CatalogueRule(
        "no policy is to public",
        "select name, 'is to public' from policies where 0::oid = any(polroles)",
        "create policy stray on issues.labels for select to public using (true)",
    ),
    CatalogueRule(
        "every tenant table of an app role has the wall",
        """
        select t.name, 'is granted to the app role and has no tenant_wall of the one text'
        from tables as t
        where t.has_tenant
            and exists (
                select from grants as g
                where g.oid = t.oid and g.grantee = to_regrole('bulkhead_' || t.schema || '_app')
            )
            and not exists (
                select from policies as p
                where p.table_oid = t.oid and p.polname = 'tenant_wall' and not p.polpermissive and p.polcmd = '*'
                    and p.polroles = array[to_regrole('bulkhead_' || t.schema || '_app')::oid]
                    and p.qual = '(tenant_id = app.current_tenant_id())'
                    and p.with_check = '((tenant_id = app.current_tenant_id()) AND app.is_writing())'
            )
        """,
        """
        drop policy tenant_wall on issues.labels;
        create policy tenant_wall on issues.labels as restrictive to bulkhead_issues_app
        using (tenant_id = app.current_tenant_id() or app.role_level() >= 5)
        with check (tenant_id = app.current_tenant_id() and app.is_writing())
        """,
    ),
    CatalogueRule(
        "the wall is the only restrictive policy",
        "select name, 'is restrictive' from policies where not polpermissive and polname <> 'tenant_wall'",
        "create policy other on issues.labels as restrictive to bulkhead_issues_app using (true)",
    ),
    CatalogueRule(
        "every table has its owner's right",
        """
        select t.name, 'its owner has no right of her own' from tables as t
        where not exists (
            select from policies as p
            where p.table_oid = t.oid and p.polname = 'owner_right' and p.polpermissive and p.polcmd = '*'
                and p.polroles = array[t.relowner] and p.qual = 'true' and p.with_check = 'true'
        )
        """,
        "drop policy owner_right on issues.labels",
    ),
    CatalogueRule(
        "policies say what may be written",
        "select name, 'has no WITH CHECK' from policies where polcmd in ('a', 'w', '*') and with_check is null",
        "create policy loose on issues.labels for update to bulkhead_issues_app using (app.role_level() >= 3)",
    ),
    CatalogueRule(
        "no right of an app role is unconditional",
        """
        select p.name, 'lets the app role do everything' from policies as p
        inner join roles as r on r.oid = any(p.polroles)
        where r.rolname ~ '_app$' and 'true' in (p.qual, p.with_check)
        """,
        "create policy stray on issues.labels for select to bulkhead_issues_app using (true)",
    ),
    CatalogueRule(
        "policies call the context functions only",
        """
        select p.name, 'calls ' || d.refobjid::regprocedure from policies as p
        inner join pg_depend as d on d.classid = 'pg_policy'::regclass and d.objid = p.oid
        where d.refclassid = 'pg_proc'::regclass and d.refobjid not in (
            'app.current_tenant_id()'::regprocedure, 'app.current_user_id()'::regprocedure,
            'app.role_level()'::regprocedure, 'app.importing()'::regprocedure, 'app.principal()'::regprocedure,
            'app.platform_log_id()'::regprocedure, 'app.is_writing()'::regprocedure
        )
        """,
        """
        create function issues.free() returns boolean language sql return true;
        create policy stray on issues.labels for select to bulkhead_issues_app using (issues.free())
        """,
    ),
    CatalogueRule(
        "policies read their own row only",
        """
        select p.name, 'reads ' || d.refobjid::regclass from policies as p
        inner join pg_depend as d on d.classid = 'pg_policy'::regclass and d.objid = p.oid
        where d.refclassid = 'pg_class'::regclass and d.refobjid <> p.table_oid
        """,
        """
        create policy stray on issues.labels for select to bulkhead_issues_app
        using (exists (select from issues.projects as p where p.tenant_id = app.current_tenant_id()))
        """,
    ),
    CatalogueRule(
        "the context functions can be inlined",
        """
        select p.oid::regprocedure::text, 'is not plain STABLE SQL without settings' from pg_proc as p
        where p.pronamespace = 'app'::regnamespace
            and p.proname in (
                'current_tenant_id', 'current_user_id', 'role_level', 'importing', 'principal', 'is_writing'
            )
            and (p.prosecdef or p.proconfig is not null or p.provolatile <> 's' or p.prolang <> (
                select l.oid from pg_language as l where l.lanname = 'sql'
            ))
        """,
        "alter function app.current_tenant_id() set search_path = pg_catalog",
    ),
    CatalogueRule(
        "a partition is reached through its parent only",
        """
        select g.name || ':' || g.grantee::regrole, 'is granted on a partition' from grants as g
        inner join tables as t on t.oid = g.oid
        where t.relispartition and g.grantee <> t.relowner
        """,
        """
        select audit.make_months(current_date, current_date);
        do $$ begin
            execute format('grant select on audit.%I to bulkhead_audit_app', 'events' || to_char(now(), '_YYYY_MM'));
        end $$
        """,
    ),
    CatalogueRule(
        "views look with their reader's eyes",
        """
        select c.oid::regclass::text, 'is a view without security_invoker, or a materialized one'
        from pg_class as c inner join ours as o on o.oid = c.relnamespace
        where c.relkind = 'm'
            or c.relkind = 'v' and not coalesce('security_invoker=true' = any(c.reloptions), false)
        """,
        "create view issues.all_labels as select label_id from issues.labels",
        {
            "audit.own_events": "hides columns, which no policy can; its owner sees nothing but somebody's own acts",
            "audit.own_event_values": "hides fields; its owner sees nothing but somebody's own acts",
        },
    ),
    CatalogueRule(
        "nothing is leakproof",
        "select name, 'is leakproof' from functions where proleakproof",
        "alter function app.current_tenant_id() leakproof",
    ),
]
