"""Rules over tables and keys: tenant first everywhere, captured, indexed, explained."""

from __future__ import annotations

from tests.isolation.catalogue import CatalogueRule

_BEFORE_A_TENANT = "needed before a tenant is known"
GLOBAL_KEYS = {
    "identity.api_keys.api_keys_secret_hash_key": _BEFORE_A_TENANT,
    "identity.invitations.invitations_token_hash_key": _BEFORE_A_TENANT,
    "identity.tenants.tenants_slug_key": _BEFORE_A_TENANT,
}
NOT_CAPTURED = {
    "identity.face_changes": "transport; the change and what it shows are captured",
    "identity.login_throttles": "counts; failed and refused tries leave events of their own",
    "identity.mail_limits": "counts of mails",
    "identity.mails": "transport; the act that wrote the mail is captured",
    "identity.outbox": "transport",
    "identity.outbox_parked": "transport",
    "identity.request_ids": "transport",
    "identity.tenant_usage": "counts of what is captured",
    "identity.user_request_ids": "transport",
    "issues.comment_revisions": "derived by trigger from comments, which are captured",
    "issues.issue_changes": "derived by trigger from issues, which are captured",
    "issues.issue_status_history": "derived by trigger from issues, which are captured",
    "issues.outbox": "transport",
    "issues.outbox_parked": "transport",
    "issues.request_ids": "transport",
}

RULES = [
    CatalogueRule(
        "every table has a tenant",
        "select name, 'has no tenant_id uuid not null' from tables where not has_tenant",
        "create table issues.strays (stray_id uuid primary key)",
        {
            "identity.face_changes": "of persons",
            "identity.login_throttles": "of addresses, before anybody is known",
            "identity.mail_asks": "of addresses, before anybody is known",
            "identity.mail_limits": "of addresses, before anybody is known",
            "identity.mails": "to persons, who may have no tenant",
            "identity.one_time_tokens": "of persons",
            "identity.plans": "of the platform",
            "identity.refresh_tokens": "of persons",
            "identity.sessions": "of persons",
            "identity.tenant_allowances": "of persons",
            "identity.user_credentials": "of persons",
            "identity.user_profiles": "of persons",
            "identity.user_request_ids": "calls of persons outside any tenant",
            "identity.users": "persons belong to many tenants",
        },
    ),
    CatalogueRule(
        "keys begin with the tenant",
        """
        select t.name || '.' || c.relname, 'is unique without the tenant in front' from pg_index as i
        inner join tables as t on t.oid = i.indrelid and t.has_tenant
        inner join pg_class as c on c.oid = i.indexrelid
        inner join pg_attribute as a on a.attrelid = t.oid and a.attname = 'tenant_id'
        where i.indisunique and i.indkey[0] <> a.attnum
        """,
        "create unique index labels_stray_key on issues.labels (label_id)",
        GLOBAL_KEYS,
    ),
    CatalogueRule(
        "every tenant table has a primary key",
        """
        select t.name, 'has no primary key' from tables as t
        where not exists (select from pg_index as i where i.indrelid = t.oid and i.indisprimary)
        """,
        "alter table issues.comment_revisions drop constraint comment_revisions_pkey",
    ),
    CatalogueRule(
        "references begin with the tenant on both sides",
        """
        select t.name || '.' || c.conname, 'refers to another tenant''s rows too' from pg_constraint as c
        inner join tables as t on t.oid = c.conrelid and t.has_tenant
        inner join tables as o on o.oid = c.confrelid
        where c.contype = 'f' and not (
            exists (
                select from pg_attribute as a
                where a.attrelid = c.conrelid and a.attnum = c.conkey[1] and a.attname = 'tenant_id'
            ) and exists (
                select from pg_attribute as a
                where a.attrelid = c.confrelid and a.attnum = c.confkey[1] and a.attname = 'tenant_id'
            )
        )
        """,
        """
        create unique index labels_stray_key on issues.labels (label_id);
        alter table issues.labels add constraint labels_stray_key unique using index labels_stray_key;
        alter table issues.issue_labels add constraint stray_fkey
        foreign key (label_id) references issues.labels (label_id)
        """,
        {
            "identity.memberships.memberships_user_id_kind_fkey": "persons are global",
            "identity.tenants.tenants_plan_code_fkey": "plans are global",
        },
    ),
    CatalogueRule(
        "references across schemas go to published keys",
        """
        select t.name || '.' || c.conname, 'refers to ' || o.name from pg_constraint as c
        inner join tables as t on t.oid = c.conrelid
        inner join tables as o on o.oid = c.confrelid
        where c.contype = 'f' and t.schema <> o.schema
            and o.name not in ('identity.tenants', 'identity.memberships', 'identity.teams')
        """,
        """
        alter table issues.labels add column user_id uuid,
        add constraint stray_fkey foreign key (user_id) references identity.users (user_id)
        """,
    ),
    CatalogueRule(
        "no reference deletes or changes rows",
        """
        select t.name || '.' || c.conname, 'acts on rows that refer' from pg_constraint as c
        inner join tables as t on t.oid = c.conrelid
        where c.contype = 'f' and (c.confdeltype not in ('a', 'r') or c.confupdtype not in ('a', 'r'))
        """,
        """
        alter table issues.issue_labels add constraint stray_fkey foreign key (tenant_id, label_id)
        references issues.labels (tenant_id, label_id) on delete cascade
        """,
    ),
    CatalogueRule(
        "every constraint holds for every row",
        """
        select t.name || '.' || c.conname, 'is not validated' from pg_constraint as c
        inner join tables as t on t.oid = c.conrelid where not c.convalidated
        """,
        "alter table issues.labels add constraint stray_check check (name <> 'x') not valid",
    ),
    CatalogueRule(
        "every reference has an index that begins with it",
        """
        select t.name || '.' || c.conname, 'has no index' from pg_constraint as c
        inner join tables as t on t.oid = c.conrelid and not t.relispartition
        where c.contype = 'f' and not exists (
            select from pg_index as i
            where i.indrelid = c.conrelid and i.indisvalid
                and (i.indkey::smallint[])[0:cardinality(c.conkey) - 1] @> c.conkey
                -- A partial index serves if it leaves out only rows that refer to nothing.
                and (i.indpred is null or pg_get_expr(i.indpred, i.indrelid) = format('(%I IS NOT NULL)', (
                    select a.attname from pg_attribute as a
                    where a.attrelid = c.conrelid and a.attnum = c.conkey[cardinality(c.conkey)]
                )))
        )
        """,
        """
        alter table issues.labels add column boss_id uuid,
        add constraint stray_fkey foreign key (tenant_id, boss_id) references identity.memberships (tenant_id, user_id)
        """,
        {
            "issues.issue_labels.issue_labels_tenant_id_label_id_fkey": "labels are archived, never removed, and lists "
            "want the live ones only",
        },
    ),
    CatalogueRule(
        "every domain table is captured",
        """
        select t.name, 'has no capture trigger' from tables as t
        where t.schema in ('identity', 'issues') and not t.relispartition and not exists (
            select from pg_trigger as g inner join functions as f on f.oid = g.tgfoid
            -- After each row (1) of insert (4) and update (16), without a condition.
            where g.tgrelid = t.oid and g.tgname = 'zz_capture' and g.tgtype & 23 = 21 and g.tgenabled in ('O', 'A')
                and f.name = t.schema || '.capture_' || split_part(t.name, '.', 2) and g.tgqual is null
        )
        """,
        "alter table issues.labels disable trigger zz_capture",
        NOT_CAPTURED,
    ),
    CatalogueRule(
        "every column of a captured table is captured",
        # The function lists the columns of the day it was written: who adds one calls app.capture_on again.
        r"""
        select t.name || '.' || a.attname, 'is not in the capture function: call app.capture_on again'
        from tables as t
        inner join pg_trigger as g on g.tgrelid = t.oid and g.tgname = 'zz_capture'
        inner join pg_proc as p on p.oid = g.tgfoid
        inner join pg_attribute as a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
        where a.attgenerated = '' and p.prosrc !~ ('\mr\."?' || a.attname || '\M')
            and a.attname not in ('tenant_id', 'created_at', 'created_by', 'updated_at', 'version')
        """,
        "alter table issues.labels add column planted text",
        {
            "identity.api_keys.last_used_at": "would be an event for every minute",
            "identity.api_keys.secret_hash": "a secret",
            "identity.invitations.token_hash": "a secret",
            "identity.mail_asks.answered_at": "what the worker makes of it is captured",
            "identity.mail_asks.ip": "every event has it",
            "identity.mail_asks.mailed_at": "the token in the mail is captured",
            "identity.mail_asks.request_digest": "how a repeat is known, no state",
            "identity.one_time_tokens.full_name": "of somebody who may not own the address",
            "identity.one_time_tokens.password_hash": "a secret",
            "identity.one_time_tokens.token_hash": "a secret",
            "identity.one_time_tokens.used_by_request": "how a repeat is known, no state",
            "identity.refresh_tokens.token_hash": "a secret",
            "identity.sessions.last_seen_at": "would be an event for every call",
            "identity.user_credentials.password_hash": "a secret; that it changed is captured",
            "identity.users.last_login_at": "the session's creation says it",
            "issues.comments.external_body_digest": "how an import knows what it brought, no state",
            "issues.comments.external_digest": "how an import knows what it brought, no state",
            "issues.comments.revision": "counts the edits, which are captured",
            "issues.issues.external_digest": "how an import knows what it brought, no state",
            "issues.issues.status_category": "follows from the status",
            "issues.projects.next_number": "the numbers of the issues say it",
        },
    ),
    CatalogueRule(
        "removals are captured",
        """
        select t.name, 'is captured but for its removals' from pg_trigger as g
        inner join tables as t on t.oid = g.tgrelid
        where g.tgname = 'zz_capture' and g.tgtype & 8 = 0
        """,
        """
        create or replace trigger zz_capture after insert or update on issues.labels
        for each row execute function issues.capture_labels()
        """,
        {
            "identity.mail_asks": "only answered ones are removed, which is nobody's act",
            "identity.one_time_tokens": "only expired ones are removed, which is nobody's act",
            "identity.refresh_tokens": "only expired ones are removed, which is nobody's act",
            "identity.sessions": "only expired ones are removed, which is nobody's act",
        },
    ),
    CatalogueRule(
        "no trigger is switched off",
        """
        select t.name || '.' || g.tgname, 'is switched off' from pg_trigger as g
        inner join tables as t on t.oid = g.tgrelid
        where g.tgenabled not in ('O', 'A')
        """,
        "alter table issues.labels disable trigger aa_stamp",
    ),
    CatalogueRule(
        "no enums",
        """
        select t.oid::regtype::text, 'is an enum' from pg_type as t inner join ours as o on o.oid = t.typnamespace
        where t.typtype = 'e'
        """,
        "create type issues.mood as enum ('good', 'bad')",
    ),
    CatalogueRule(
        "every table says what it is for",
        "select name, 'has no comment' from tables where coalesce(comment, '') = ''",
        "comment on table issues.labels is null",
    ),
]
