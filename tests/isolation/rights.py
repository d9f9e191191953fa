"""Rules over roles, grants and functions: who may reach a table at all."""

from __future__ import annotations

from tests.isolation.catalogue import CatalogueRule

# grantee on table -> why it may be outside the wall
NOT_WALLED = {
    "audit.event_values:bulkhead_audit_definer": "the values of somebody's own acts, in the context's tenant",
    "audit.events:bulkhead_audit_definer": "somebody's own acts, in the context's tenant",
    "identity.api_keys:bulkhead_identity_definer": "a key is looked up before the tenant is known",
    "identity.invitations:bulkhead_identity_definer": "AcceptInvitation finds a token before the tenant is known",
    "identity.invitations:bulkhead_identity_worker": "finds expired ones; sees no others",
    "identity.memberships:bulkhead_identity_definer": "the membership check of every transaction",
    "identity.outbox:bulkhead_identity_definer": "writes events without a row, such as a failed login",
    "issues.outbox:bulkhead_issues_definer": "records refused calls",
    "identity.outbox:bulkhead_identity_relay": "delivers every tenant's events",
    "identity.outbox_parked:bulkhead_identity_relay": "parks a tenant whose events audit refuses",
    "identity.request_ids:bulkhead_identity_worker": "removes answers after a day",
    "identity.support_entries:bulkhead_identity_definer": "keeps who came in by a grant",
    "identity.support_grants:bulkhead_identity_definer": "finds the grant that lets a platform administrator in",
    "identity.team_members:bulkhead_identity_definer": "the membership check gives the caller's teams",
    "identity.teams:bulkhead_identity_definer": "whether a team is archived, for the issues service",
    "identity.tenant_usage:bulkhead_identity_definer": "locks and counts limits for the issues service",
    "identity.tenant_usage:bulkhead_platform_app": "how much of its plan each tenant uses",
    "identity.tenants:bulkhead_platform_app": "which tenants there are; some columns, outside any tenant",
    "identity.tenants:bulkhead_identity_definer": "finds a tenant before it is entered",
    "issues.outbox:bulkhead_issues_relay": "delivers every tenant's events",
    "issues.outbox_parked:bulkhead_issues_relay": "parks a tenant whose events audit refuses",
    "issues.request_ids:bulkhead_issues_worker": "removes answers after a day",
}

RULES = [
    CatalogueRule(
        "every grantee of a tenant table is walled or named",
        """
        select distinct g.name || ':' || g.grantee::regrole, 'is outside the wall' from grants as g
        inner join tables as t on t.oid = g.oid
        where t.has_tenant and g.grantee <> t.relowner and g.privilege_type <> 'REFERENCES' and not exists (
            select from policies as p
            where p.table_oid = t.oid and p.polname = 'tenant_wall' and g.grantee = any(p.polroles)
        )
        """,
        "grant select on issues.labels to bulkhead_ops",
        NOT_WALLED,
    ),
    CatalogueRule(
        "rights go to roles by name",
        """
        select g.name, 'is granted to public' from grants as g where g.grantee = 0
        union all
        select o.nspname, 'is granted to public' from ours as o
        inner join pg_namespace as n on n.oid = o.oid, aclexplode(n.nspacl) as g where g.grantee = 0
        """,
        "grant select on issues.labels to public",
    ),
    CatalogueRule(
        "roles have no powers of the server",
        """
        select rolname, 'is superuser, past row security, or makes databases, roles or replicas' from roles
        where rolsuper or rolbypassrls or rolcreatedb or rolcreaterole or rolreplication
        """,
        "alter role bulkhead_issues_app bypassrls",
        {"bulkhead_backup": "a dump behind the wall would silently miss rows; no service has this login"},
    ),
    CatalogueRule(
        "no role is a member of another",
        """
        select r.rolname, 'is a member of ' || m.roleid::regrole from pg_auth_members as m
        inner join roles as r on r.oid = m.member
        """,
        "grant bulkhead_issues_owner to bulkhead_issues_app",
        {
            "bulkhead_audit_partition": "gives the partitions it makes to the owner; nobody can log in as either",
            "bulkhead_backup": "reads every table of every schema, those of months to come too, and writes none",
        },
    ),
    CatalogueRule(
        "no login reads the hashes that a bearer is looked up by",
        """
        select r.rolname || ' on ' || t.name || '.' || a.attname, 'could ask with what is stored' from roles as r
        cross join tables as t
        inner join pg_attribute as a on a.attrelid = t.oid and a.attname in ('secret_hash', 'token_hash')
        where has_column_privilege(r.oid, t.oid, a.attnum, 'select')
            -- A dump has them; whoever reads it may call none of the functions that ask.
            and r.rolcanlogin and r.rolname <> 'bulkhead_backup'
        """,
        "grant select (token_hash) on identity.invitations to bulkhead_identity_app",
    ),
    CatalogueRule(
        "only roles without a login own things",
        """
        select c.oid::regclass::text, 'belongs to ' || r.rolname from pg_class as c
        inner join roles as r on r.oid = c.relowner where r.rolcanlogin
        union all
        select p.oid::regprocedure::text, 'belongs to ' || r.rolname from pg_proc as p
        inner join roles as r on r.oid = p.proowner where r.rolcanlogin
        union all
        select n.nspname, 'belongs to ' || r.rolname from pg_namespace as n
        inner join roles as r on r.oid = n.nspowner where r.rolcanlogin
        """,
        "alter table issues.labels owner to bulkhead_issues_app",
    ),
    CatalogueRule(
        "a schema's tables belong to its owner",
        "select name, 'belongs to ' || relowner::regrole from tables"
        " where relowner <> to_regrole('bulkhead_' || schema || '_owner')",
        "alter table issues.labels owner to bulkhead_identity_owner",
    ),
    CatalogueRule(
        "views belong to definer roles",
        """
        select c.oid::regclass::text, 'belongs to ' || c.relowner::regrole from pg_class as c
        inner join ours as o on o.oid = c.relnamespace
        where c.relkind in ('v', 'm') and c.relowner::regrole::text !~ '_definer$'
        """,
        "alter view audit.own_events owner to bulkhead_audit_owner",
    ),
    CatalogueRule(
        "nobody deletes but for transport and expiry",
        """
        select distinct g.name || ':' || g.grantee::regrole, 'may ' || lower(g.privilege_type) from grants as g
        where g.privilege_type in ('DELETE', 'TRUNCATE') and g.grantee <> g.relowner
        """,
        "grant delete on issues.labels to bulkhead_issues_app",
        {
            "identity.login_throttles:bulkhead_identity_worker": "removed a day after the last try",
            "identity.mail_asks:bulkhead_identity_worker": "answered ones are removed",
            "identity.mail_limits:bulkhead_identity_worker": "those whose time is over say nothing",
            "identity.mails:bulkhead_identity_worker": "sent mails are removed",
            "identity.one_time_tokens:bulkhead_identity_worker": "expired ones are removed",
            "identity.outbox:bulkhead_identity_relay": "rows go when audit has acknowledged them",
            "identity.outbox_parked:bulkhead_identity_relay": "a tenant leaves the parking place",
            "identity.refresh_tokens:bulkhead_identity_worker": "expired ones are removed",
            "identity.request_ids:bulkhead_identity_worker": "answers are kept for a day",
            "identity.sessions:bulkhead_identity_worker": "expired ones are removed",
            "identity.user_request_ids:bulkhead_identity_worker": "answers are kept for a day",
            "issues.outbox:bulkhead_issues_relay": "rows go when audit has acknowledged them",
            "issues.outbox_parked:bulkhead_issues_relay": "a tenant leaves the parking place",
            "issues.request_ids:bulkhead_issues_worker": "answers are kept for a day",
        },
    ),
    CatalogueRule(
        "nobody but owners changes a table's build",
        """
        select distinct g.name || ':' || g.grantee::regrole, 'may ' || lower(g.privilege_type) from grants as g
        where g.privilege_type in ('TRIGGER', 'REFERENCES', 'MAINTAIN') and g.grantee <> g.relowner
        """,
        "grant trigger on issues.labels to bulkhead_issues_app",
        {
            "identity.memberships:bulkhead_issues_owner": "a published key",
            "identity.teams:bulkhead_issues_owner": "a published key",
            "identity.tenants:bulkhead_issues_owner": "a published key",
        },
    ),
    CatalogueRule(
        "rights to write list their columns",
        """
        select distinct g.name || ':' || g.grantee::regrole, 'may ' || lower(g.privilege_type) || ' any column'
        from grants as g
        where g.privilege_type in ('INSERT', 'UPDATE') and g.column_name is null and g.grantee <> g.relowner
        """,
        "grant update on issues.labels to bulkhead_issues_app",
        {
            "audit.events:bulkhead_audit_app": "every column comes with the event",
            "audit.event_values:bulkhead_audit_app": "every column comes with the event",
            "identity.outbox_parked:bulkhead_identity_relay": "nothing but the relay's own notes",
            "issues.outbox_parked:bulkhead_issues_relay": "nothing but the relay's own notes",
        },
    ),
    CatalogueRule(
        "a suspended tenant is kept as it is by each table of identity",
        """
        select distinct g.name || ':' || lower(g.privilege_type), 'is written in a suspended tenant'
        from grants as g inner join tables as t on t.oid = g.oid
        where t.has_tenant and g.grantee = 'bulkhead_identity_app'::regrole and g.privilege_type in ('INSERT', 'UPDATE')
            and not exists (
                select from pg_trigger as r
                where r.tgrelid = t.oid and r.tgfoid = 'identity.keep_suspended'::regproc and r.tgenabled = 'O'
                    and r.tgtype & case g.privilege_type when 'INSERT' then 4 else 16 end > 0
            )
        """,
        "drop trigger ab_keep_suspended on identity.teams",
        {
            "identity.request_ids:insert": "answers to calls, of those that shut somebody out too",
            "identity.request_ids:update": "answers to calls, of those that shut somebody out too",
        },
    ),
    CatalogueRule(
        "nobody sets what triggers set",
        """
        select distinct g.name || '.' || g.column_name, 'may be written by ' || g.grantee::regrole from grants as g
        where g.privilege_type in ('INSERT', 'UPDATE') and g.column_name in ('created_by', 'version')
            and g.grantee <> g.relowner
        """,
        "grant update (version) on issues.labels to bulkhead_issues_app",
    ),
    CatalogueRule(
        "app roles read no secret",
        """
        select g.name || '.' || a.attname, 'may be read by ' || g.grantee::regrole from grants as g
        inner join roles as r on r.oid = g.grantee and r.rolcanlogin
        inner join pg_attribute as a on a.attrelid = g.oid and a.attname ~ '(_hash|secret|password)'
            and (g.column_name is null or g.column_name = a.attname)
        where g.privilege_type = 'SELECT'
        """,
        "grant select (token_hash) on identity.invitations to bulkhead_identity_app",
        {"audit.events.leaf_hash": "a digest of the event, made to be shown"},
    ),
    CatalogueRule(
        "no rights on sequences",
        """
        select c.oid::regclass::text, 'is granted to ' || g.grantee::regrole from pg_class as c
        inner join ours as o on o.oid = c.relnamespace, aclexplode(c.relacl) as g
        where c.relkind = 'S' and g.grantee <> c.relowner
        """,
        "grant usage on sequence issues.outbox_outbox_id_seq to bulkhead_issues_app",
    ),
    CatalogueRule(
        "nobody makes things at run time",
        """
        select d.datname || ':' || coalesce(nullif(g.grantee, 0)::regrole::text, 'public'), 'may ' || g.privilege_type
        from pg_database as d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) as g
        where d.datname = current_database() and g.grantee <> d.datdba and g.privilege_type in ('TEMPORARY', 'CREATE')
        union all
        select n.nspname || ':' || g.grantee::regrole, 'may create' from pg_namespace as n, aclexplode(n.nspacl) as g
        inner join roles as r on r.oid = g.grantee
        where g.privilege_type = 'CREATE' and g.grantee <> n.nspowner
        """,
        "grant create on schema issues to bulkhead_issues_app",
    ),
    CatalogueRule(
        "public is empty and closed",
        """
        select c.oid::regclass::text, 'is in public' from pg_class as c where c.relnamespace = 'public'::regnamespace
        union all
        select p.oid::regprocedure::text, 'is in public' from pg_proc as p where p.pronamespace = 'public'::regnamespace
        union all
        select 'public', 'is open to ' || coalesce(nullif(g.grantee, 0)::regrole::text, 'public')
        from pg_namespace as n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) as g
        where n.nspname = 'public' and g.grantee <> n.nspowner
        """,
        "grant usage on schema public to bulkhead_issues_app",
    ),
    CatalogueRule(
        "nothing is granted in advance",
        """
        select d.defaclrole::regrole || ' ' || d.defaclobjtype::text, 'grants in advance to ' || g.grantee::regrole
        from pg_default_acl as d, aclexplode(d.defaclacl) as g where g.grantee <> d.defaclrole
        """,
        "alter default privileges for role bulkhead_issues_owner in schema issues"
        " grant select on tables to bulkhead_issues_app",
    ),
    CatalogueRule(
        "no triggers, rules or extensions from elsewhere",
        """
        select evtname::text, 'is an event trigger' from pg_event_trigger
        union all
        select extname::text, 'is an extension' from pg_extension where extname <> 'plpgsql'
        union all
        select pubname::text, 'is a publication' from pg_publication
        union all
        select w.ev_class::regclass || '.' || w.rulename, 'is a rule' from pg_rewrite as w
        inner join tables as t on t.oid = w.ev_class
        """,
        "create rule stray as on delete to issues.labels do instead nothing",
    ),
]
