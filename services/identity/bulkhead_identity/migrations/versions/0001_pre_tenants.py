"""Plans, tenants and the row their limits lock; outbox and answered calls."""

from bulkhead_kit.migrations import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql(TRANSPORT)
    run_sql(PLANS)
    run_sql(TENANTS)
    run_sql(USAGE)
    run_sql(KEYS)
    run_sql(TENANT_TRIGGERS)


def downgrade() -> None:
    run_sql("""
    drop table identity.tenant_usage;
    drop table identity.tenants;
    drop table identity.plans;
    drop table identity.user_request_ids;
    drop table identity.request_ids;
    drop table identity.outbox_parked;
    drop table identity.outbox;
    drop function identity.capture_tenants();
    drop function identity.capture_plans();
    drop function identity.fence_tenant();
    drop function identity.limit_of(uuid, text);
    drop function identity.membership_key(uuid, uuid);
    drop function identity.tenant_key(uuid);
    revoke usage on schema identity from
        bulkhead_identity_app, bulkhead_identity_worker, bulkhead_identity_relay, bulkhead_identity_definer,
        bulkhead_issues_owner, bulkhead_issues_app, bulkhead_audit_app;
    """)


TRANSPORT = """
call app.outbox_in('identity');
call app.request_ids_in('identity');
-- issues' foreign keys and every service's membership check reach into this schema; nothing else of it is granted.
grant usage on schema identity to bulkhead_identity_definer, bulkhead_issues_owner, bulkhead_issues_app,
    bulkhead_audit_app;

create table identity.user_request_ids (
    user_id uuid not null,
    request_id uuid not null,
    rpc text not null,
    request_digest bytea not null,
    reply bytea,
    created_at timestamptz not null default now(),
    constraint user_request_ids_pkey primary key (user_id, request_id),
    constraint user_request_ids_request_digest_check check (octet_length(request_digest) = 32)
);
create index user_request_ids_created_at_idx on identity.user_request_ids (created_at);
call app.own('identity.user_request_ids');
create policy own_calls on identity.user_request_ids to bulkhead_identity_app
using (user_id = app.current_user_id()) with check (user_id = app.current_user_id());
create policy expiry_read on identity.user_request_ids for select to bulkhead_identity_worker using (true);
create policy expiry_remove on identity.user_request_ids for delete to bulkhead_identity_worker
using (created_at < now() - interval '24 hours');
grant select, insert (user_id, request_id, rpc, request_digest), update (reply)
on identity.user_request_ids to bulkhead_identity_app;
grant select (user_id, request_id, created_at), delete on identity.user_request_ids to bulkhead_identity_worker;
comment on table identity.user_request_ids is
'As request_ids, for the calls of a person outside any tenant, such as CreateTenant.';
comment on column identity.user_request_ids.user_id is 'The person who called.';
"""

PLANS = """
create table identity.plans (
    plan_id uuid not null,
    code text not null,
    name text not null,
    max_users integer,
    max_projects integer,
    max_storage_bytes bigint,
    created_at timestamptz not null default now(),
    created_by uuid,
    updated_at timestamptz not null default now(),
    version integer not null default 1,
    constraint plans_pkey primary key (plan_id),
    constraint plans_code_key unique (code),
    constraint plans_code_check check (code ~ '^[a-z][a-z0-9_]{0,31}$'),
    constraint plans_name_check check (length(name) between 1 and 100),
    -- A plan without room for its owner would be one nobody can start.
    constraint plans_max_users_check check (max_users > 0),
    constraint plans_max_projects_check check (max_projects >= 0),
    constraint plans_max_storage_bytes_check check (max_storage_bytes >= 0)
);
call app.own('identity.plans');
create policy definer_read on identity.plans for select to bulkhead_identity_definer using (true);
grant select on identity.plans to bulkhead_identity_definer;
create trigger aa_stamp before insert or update on identity.plans for each row execute function app.stamp();
insert into identity.plans (plan_id, code, name, max_users, max_projects, max_storage_bytes) values
('01930000-0000-7000-8000-000000000001', 'free', 'Free', 5, 3, 1073741824),
('01930000-0000-7000-8000-000000000002', 'pro', 'Pro', 50, 100, 107374182400),
('01930000-0000-7000-8000-000000000003', 'enterprise', 'Enterprise', null, null, null);
-- After the rows above: what an installation begins with is nobody's act.
call app.capture_on('identity.plans', 'plan', '{plan_id}');
comment on table identity.plans is
'What a tenant may use. Edited by platform administrators only.';
comment on column identity.plans.code is 'What code and tenants call it, such as free.';
comment on column identity.plans.max_users is 'Active members and open invitations of persons; null: no limit.';
comment on column identity.plans.max_projects is 'Projects that are not deleted; null: no limit.';
comment on column identity.plans.max_storage_bytes is 'Bytes of attachments; null: no limit.';
"""

TENANTS = """
create table identity.tenants (
    tenant_id uuid not null,
    slug text not null,
    name text not null,
    domain text,
    status text not null default 'active',
    status_reason text,
    status_changed_at timestamptz,
    status_changed_by uuid,
    plan_code text not null default 'free',
    max_users_override integer,
    max_projects_override integer,
    max_storage_bytes_override bigint,
    branding jsonb not null default '{}',
    settings jsonb not null default '{}',
    description text not null default '',
    logo_url text,
    website_url text,
    industry text,
    size text,
    deleted_at timestamptz,
    purge_after timestamptz,
    created_at timestamptz not null default now(),
    created_by uuid,
    updated_at timestamptz not null default now(),
    version integer not null default 1,
    constraint tenants_pkey primary key (tenant_id),
    -- Global on purpose: the slug is how a tenant is found before anybody has logged in.
    constraint tenants_slug_key unique (slug),
    constraint tenants_plan_code_fkey foreign key (plan_code) references identity.plans (code),
    -- The platform's log has this id as its tenant: nobody may own it.
    constraint tenants_tenant_id_check check (tenant_id <> '00000000-0000-0000-0000-000000000001'),
    -- A label of a host name, so that a tenant can have its own subdomain.
    constraint tenants_slug_check check (slug ~ '^[a-z0-9]([a-z0-9-]{1,61}[a-z0-9])$'),
    constraint tenants_name_check check (length(name) between 1 and 100),
    constraint tenants_domain_check check (length(domain) between 3 and 253),
    constraint tenants_status_check check (status in ('active', 'suspended', 'deleted')),
    constraint tenants_status_reason_check check (length(status_reason) <= 500),
    constraint tenants_max_users_override_check check (max_users_override > 0),
    constraint tenants_max_projects_override_check check (max_projects_override >= 0),
    constraint tenants_max_storage_bytes_override_check check (max_storage_bytes_override >= 0),
    constraint tenants_branding_check check (
        jsonb_typeof(branding) = 'object' and octet_length(branding::text) <= 16384
    ),
    constraint tenants_settings_check check (
        jsonb_typeof(settings) = 'object' and octet_length(settings::text) <= 16384
    ),
    constraint tenants_description_check check (length(description) <= 2000),
    constraint tenants_logo_url_check check (length(logo_url) <= 2000),
    constraint tenants_website_url_check check (length(website_url) <= 2000),
    constraint tenants_industry_check check (length(industry) <= 100),
    constraint tenants_size_check check (size in ('1-10', '11-50', '51-200', '201-1000', '1001+')),
    -- A deleted tenant says until when it can be restored; a live one has no such date.
    constraint tenants_deleted_at_check check (
        (status = 'deleted') = (deleted_at is not null) and (deleted_at is null) = (purge_after is null)
    )
);
create index tenants_plan_code_idx on identity.tenants (plan_code);
call app.protect('identity.tenants');
create policy read_right on identity.tenants for select to bulkhead_identity_app using (app.role_level() >= 1);
create policy definer_read on identity.tenants for select to bulkhead_identity_definer using (true);
create policy definer_insert on identity.tenants for insert to bulkhead_identity_definer with check (true);
grant select on identity.tenants to bulkhead_identity_app, bulkhead_identity_definer;
grant insert (tenant_id, slug, name) on identity.tenants to bulkhead_identity_definer;
grant references (tenant_id) on identity.tenants to bulkhead_issues_owner;
create trigger aa_stamp before insert or update on identity.tenants for each row execute function app.stamp();
call app.capture_on('identity.tenants', 'tenant', '{tenant_id}');
comment on table identity.tenants is
'Companies. tenant_id is a published key: other schemas refer to it and rows are never deleted.';
comment on column identity.tenants.slug is 'The tenant''s name in addresses; found before anybody has logged in.';
comment on column identity.tenants.domain is 'The company''s mail domain, as it states it.';
comment on column identity.tenants.status_reason is 'Why the status is what it is, for people.';
comment on column identity.tenants.status_changed_at is 'When the status last changed; set by trigger.';
comment on column identity.tenants.status_changed_by is 'Who changed it; set by trigger.';
comment on column identity.tenants.plan_code is 'Its plan, whose limits hold where no override does.';
comment on column identity.tenants.max_projects_override is 'In place of the plan''s limit, by contract.';
comment on column identity.tenants.max_storage_bytes_override is 'In place of the plan''s limit, by contract.';
comment on column identity.tenants.branding is 'Colours and pictures for the tenant''s pages.';
comment on column identity.tenants.settings is 'What the tenant has chosen for itself.';
comment on column identity.tenants.logo_url is 'Address of its logo.';
comment on column identity.tenants.website_url is 'Address of its own site.';
comment on column identity.tenants.industry is 'What line of business it is in, as it says.';
comment on column identity.tenants.size is 'About how many people work there.';
comment on column identity.tenants.purge_after is
'A deleted tenant can be restored until then, and may be erased afterwards.';
comment on column identity.tenants.status is
'active; suspended: reads work, writes are refused; deleted: invisible, restorable by an owner until purge_after.';
comment on column identity.tenants.max_users_override is 'In place of the plan''s limit, by contract.';
"""

USAGE = """
create table identity.tenant_usage (
    tenant_id uuid not null,
    active_members integer not null default 0,
    open_invitations integer not null default 0,
    projects integer not null default 0,
    storage_bytes bigint not null default 0,
    constraint tenant_usage_pkey primary key (tenant_id),
    constraint tenant_usage_tenant_id_fkey foreign key (tenant_id) references identity.tenants (tenant_id),
    constraint tenant_usage_active_members_check check (active_members >= 0),
    constraint tenant_usage_open_invitations_check check (open_invitations >= 0),
    constraint tenant_usage_projects_check check (projects >= 0),
    constraint tenant_usage_storage_bytes_check check (storage_bytes >= 0)
) with (fillfactor = 50);
call app.protect('identity.tenant_usage');
create policy read_right on identity.tenant_usage for select to bulkhead_identity_app using (app.role_level() >= 1);
create policy definer_read on identity.tenant_usage for select to bulkhead_identity_definer using (true);
create policy definer_insert on identity.tenant_usage for insert to bulkhead_identity_definer with check (true);
create policy definer_update on identity.tenant_usage for update to bulkhead_identity_definer using (true) with check
    (true);
grant select on identity.tenant_usage to bulkhead_identity_app;
grant select, insert (tenant_id), update (projects) on identity.tenant_usage to bulkhead_identity_definer;
comment on table identity.tenant_usage is
'What a tenant uses of its limits, counted by triggers. Its row is the first lock of every call that changes '
'memberships or counts against a limit.';
comment on column identity.tenant_usage.open_invitations is 'Invitations that hold a seat.';
comment on column identity.tenant_usage.projects is 'Projects that are not deleted.';
comment on column identity.tenant_usage.storage_bytes is 'Bytes of attachments.';
comment on column identity.tenant_usage.active_members is
'Active persons; service accounts and placeholders take no seat.';
"""

KEYS = """
create function identity.tenant_key(p_tenant uuid) returns bigint
language sql immutable parallel safe
return uuid_hash_extended(p_tenant, 1);
comment on function identity.tenant_key(uuid) is
'Advisory lock of a tenant: shared by every write in it, taken alone when its status changes.';

create function identity.membership_key(p_tenant uuid, p_user uuid) returns bigint
language sql immutable parallel safe
return uuid_hash_extended(p_user, uuid_hash_extended(p_tenant, 0));
comment on function identity.membership_key(uuid, uuid) is
'Advisory lock of a membership: shared by every write of the member, taken alone when role or status change.';

create function identity.limit_of(p_tenant uuid, p_limit text) returns bigint
language sql stable
as $$
    select
        case p_limit
            when 'users' then coalesce(t.max_users_override, p.max_users)
            when 'projects' then coalesce(t.max_projects_override, p.max_projects)
            when 'storage_bytes' then coalesce(t.max_storage_bytes_override, p.max_storage_bytes)
        end
    from identity.tenants as t
    inner join identity.plans as p on p.code = t.plan_code
    where t.tenant_id = p_tenant;
$$;
comment on function identity.limit_of(uuid, text) is
'The limit that holds for a tenant, its own before its plan''s; null: none.';

revoke all on function identity.tenant_key(uuid) from public;
revoke all on function identity.membership_key(uuid, uuid) from public;
revoke all on function identity.limit_of(uuid, text) from public;
grant execute on function identity.tenant_key(uuid) to bulkhead_identity_definer;
grant execute on function identity.membership_key(uuid, uuid) to bulkhead_identity_definer;
grant execute on function identity.limit_of(uuid, text) to bulkhead_identity_definer;
"""

TENANT_TRIGGERS = """
create function identity.fence_tenant() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform 1 from identity.tenant_usage where tenant_id = new.tenant_id for no key update;
    -- Waits for every write that was let in before, and keeps later ones out until this commits.
    perform pg_advisory_xact_lock(identity.tenant_key(new.tenant_id));
    new.status_changed_at := now();
    new.status_changed_by := app.current_user_id();
    return new;
end
$$;
revoke all on function identity.fence_tenant() from public;
comment on function identity.fence_tenant() is
'No write of a tenant commits after the change of its status has: the writers'' lock, taken alone.';
create trigger ab_fence before update on identity.tenants for each row
when (old.status is distinct from new.status) execute function identity.fence_tenant();
"""
