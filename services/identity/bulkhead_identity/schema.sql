-- The schema identity as its migrations leave it. Written by `make schema` from a live database: read it, never edit it.
-- Months of partitioned tables, Alembic's own table and rows that migrations insert are not in it.

set check_function_bodies = off;
set search_path = pg_catalog;
set role bulkhead_identity_owner;

grant usage on schema identity to bulkhead_audit_app, bulkhead_identity_app, bulkhead_identity_definer,
    bulkhead_identity_relay, bulkhead_identity_worker, bulkhead_issues_app, bulkhead_issues_owner,
    bulkhead_platform_app;

-- identity.login_throttles

create table identity.login_throttles (
    bucket bytea not null,
    failures integer default 1 not null,
    last_at timestamptz default now() not null,
    retry_at timestamptz default now() not null,
    reported_at timestamptz,
    created_at timestamptz default now() not null,
    constraint login_throttles_pkey primary key (bucket),
    constraint login_throttles_bucket_check check (octet_length(bucket) = 32),
    constraint login_throttles_failures_check check (failures >= 0)
);
comment on table identity.login_throttles is
'How often a password was tried in vain since it was right last, for each account or known device. Here and not in a process: all replicas count together, and a restart forgets nothing.';
comment on column identity.login_throttles.bucket is
'Keyed hash of the address, or of address and device: also for addresses that nobody has, which the table does not tell.';
comment on column identity.login_throttles.failures is
'Tries since the last right one, those under way included.';
comment on column identity.login_throttles.last_at is
'When it was tried last.';
comment on column identity.login_throttles.retry_at is
'No password is looked at before.';
comment on column identity.login_throttles.reported_at is
'When a refusal left an event last; one a minute is enough.';
create index login_throttles_last_at_idx on identity.login_throttles (last_at);
alter table identity.login_throttles enable row level security;
alter table identity.login_throttles force row level security;
create policy definer_insert on identity.login_throttles for insert to bulkhead_identity_definer
with check (true);
create policy definer_read on identity.login_throttles for select to bulkhead_identity_definer
using (true);
create policy definer_update on identity.login_throttles for update to bulkhead_identity_definer
using (true)
with check (true);
create policy expiry_read on identity.login_throttles for select to bulkhead_identity_worker
using (true);
create policy expiry_remove on identity.login_throttles for delete to bulkhead_identity_worker
using (last_at < (now() - '1 day'::interval));
create policy owner_right on identity.login_throttles for all to bulkhead_identity_owner
using (true)
with check (true);
grant
    select,
    insert (bucket, last_at, retry_at),
    update (failures, last_at, retry_at, reported_at)
on identity.login_throttles to bulkhead_identity_definer;
grant select (bucket, last_at), delete on identity.login_throttles to bulkhead_identity_worker;

-- identity.mail_asks

create table identity.mail_asks (
    ask_id uuid not null,
    purpose text not null,
    email text not null,
    email_key text generated always as (lower(email collate "C")) stored,
    request_digest bytea,
    ip inet,
    answered_at timestamptz,
    mailed_at timestamptz,
    created_at timestamptz default now() not null,
    constraint mail_asks_pkey primary key (ask_id),
    constraint mail_asks_email_check check (length(email) between 3 and 254),
    constraint mail_asks_mailed_at_check check (mailed_at is null or answered_at is not null),
    constraint mail_asks_purpose_check check (purpose in ('verify_email', 'reset_password')),
    constraint mail_asks_request_digest_check check (octet_length(request_digest) = 32)
);
comment on table identity.mail_asks is
'Mails that anybody may ask for with an address: a row for every call, whether the address has an account or not, so that neither answer nor time tells. The worker finds out what there is to send.';
comment on column identity.mail_asks.ask_id is
'The request_id of the call, if it has one: a repeat asks for nothing.';
comment on column identity.mail_asks.purpose is
'Of the token that is asked for: verify_email or reset_password.';
comment on column identity.mail_asks.email is
'The address that was given.';
comment on column identity.mail_asks.email_key is
'What addresses are compared by, as in users.';
comment on column identity.mail_asks.request_digest is
'Of the call, when it has a request_id.';
comment on column identity.mail_asks.ip is
'Where the call came from.';
comment on column identity.mail_asks.answered_at is
'When the worker settled it, with a mail or without one.';
comment on column identity.mail_asks.mailed_at is
'When there was somebody to mail to; the next mail waits a minute, the fourth for the first one''s token to end.';
create index mail_asks_created_at_idx on identity.mail_asks (created_at);
create index mail_asks_email_key_idx on identity.mail_asks (email_key, purpose, mailed_at) where mailed_at is not null;
create index mail_asks_of_address_idx on identity.mail_asks (email_key collate "C");
create index mail_asks_open_idx on identity.mail_asks (created_at) where answered_at is null;
alter table identity.mail_asks enable row level security;
alter table identity.mail_asks force row level security;
create policy definer_answer on identity.mail_asks for update to bulkhead_identity_definer
using (answered_at is null)
with check (answered_at is not null);
create policy definer_insert on identity.mail_asks for insert to bulkhead_identity_definer
with check (true);
create policy definer_read on identity.mail_asks for select to bulkhead_identity_definer
using (true);
create policy expiry_remove on identity.mail_asks for delete to bulkhead_identity_worker
using (answered_at is not null and created_at < (now() - '24:00:00'::interval));
create policy owner_right on identity.mail_asks for all to bulkhead_identity_owner
using (true)
with check (true);
create policy worker_read on identity.mail_asks for select to bulkhead_identity_worker
using (true);
grant
    select,
    insert (ask_id, purpose, email, request_digest, ip),
    update (answered_at, mailed_at)
on identity.mail_asks to bulkhead_identity_definer;
grant select (ask_id, purpose, answered_at, created_at), delete on identity.mail_asks to bulkhead_identity_worker;

-- identity.mail_limits

create table identity.mail_limits (
    bucket bytea not null,
    free_at timestamptz not null,
    constraint mail_limits_pkey primary key (bucket),
    constraint mail_limits_bucket_check check (octet_length(bucket) = 32)
);
comment on table identity.mail_limits is
'How many mails an address has had that anybody can cause. A row whose time is over says nothing.';
comment on column identity.mail_limits.bucket is
'Hash of the kind of mail and the address, and of an invitation also of the tenant.';
comment on column identity.mail_limits.free_at is
'Each mail books 96 minutes, one after the other, and no more than five are booked at a time.';
create index mail_limits_free_at_idx on identity.mail_limits (free_at);
alter table identity.mail_limits enable row level security;
alter table identity.mail_limits force row level security;
create policy definer_insert on identity.mail_limits for insert to bulkhead_identity_definer
with check (true);
create policy definer_read on identity.mail_limits for select to bulkhead_identity_definer
using (true);
create policy definer_update on identity.mail_limits for update to bulkhead_identity_definer
using (true)
with check (true);
create policy expiry_read on identity.mail_limits for select to bulkhead_identity_worker
using (true);
create policy expiry_remove on identity.mail_limits for delete to bulkhead_identity_worker
using (free_at < now());
create policy owner_right on identity.mail_limits for all to bulkhead_identity_owner
using (true)
with check (true);
grant select, insert (bucket, free_at), update (free_at) on identity.mail_limits to bulkhead_identity_definer;
grant select, delete on identity.mail_limits to bulkhead_identity_worker;

-- identity.mails

create table identity.mails (
    mail_id uuid not null,
    kind text not null,
    to_address text,
    subject_id uuid not null,
    details jsonb default '{}'::jsonb not null,
    request_digest bytea,
    due_at timestamptz default now() not null,
    attempts smallint default 0 not null,
    sent_at timestamptz,
    failed_at timestamptz,
    last_error text,
    created_at timestamptz default now() not null,
    cause bytea,
    is_urgent boolean default true not null,
    is_due boolean default false not null,
    constraint mails_pkey primary key (mail_id),
    constraint mails_attempts_check check (attempts >= 0),
    constraint mails_cause_check
    check ((cause is null) = (sent_at is not null or failed_at is not null) and octet_length(cause) = 16),
    constraint mails_details_check check (jsonb_typeof(details) = 'object' and pg_column_size(details) <= 4096),
    constraint mails_is_due_check check (not is_due or cause is not null),
    constraint mails_kind_check
    check (kind in ('verify_email', 'already_registered', 'invitation', 'reset_password', 'password_changed', 'new_device', 'account_closed')),
    constraint mails_last_error_check check (length(last_error) <= 500),
    constraint mails_request_digest_check check (octet_length(request_digest) = 32),
    constraint mails_sent_at_check check (sent_at is null or failed_at is null),
    constraint mails_to_address_check check (length(to_address) between 3 and 254),
    constraint mails_to_whom_check check (to_address is not null or sent_at is not null or failed_at is not null)
);
comment on table identity.mails is
'Mails to be sent, queued in the transaction that gives the reason. Holds no token: the worker derives it from subject_id.';
comment on column identity.mails.kind is
'Which text is sent.';
comment on column identity.mails.to_address is
'Where it is sent; null once whoever had the address has closed their account.';
comment on column identity.mails.subject_id is
'The one-time token, the invitation or the user the mail is about.';
comment on column identity.mails.details is
'What the text says of this one case.';
comment on column identity.mails.request_digest is
'Of a SignUp, whose request_id is the mail_id: a repeat sends nothing.';
comment on column identity.mails.due_at is
'Not sent before; moved on at each attempt.';
comment on column identity.mails.sent_at is
'When the mail server took it.';
comment on column identity.mails.failed_at is
'When it was given up.';
comment on column identity.mails.cause is
'Whose turn it is sent in: of who acted, else of the address they called from, else of the recipient, a hash. Set by trigger, and null once the mail is settled.';
comment on column identity.mails.is_urgent is
'Goes before invitations: an account hangs on it. Set by trigger.';
comment on column identity.mails.is_due is
'Its time has come, as far as a worker has looked. Set by trigger.';
create index mails_asleep_idx on identity.mails (due_at) where not is_due and cause is not null;
create index mails_created_at_idx on identity.mails (created_at);
create index mails_of_address_idx on identity.mails (lower(to_address collate "C"));
create index mails_subject_id_idx on identity.mails (subject_id);
create index mails_turn_idx on identity.mails (is_urgent, cause, due_at) where is_due;
alter table identity.mails enable row level security;
alter table identity.mails force row level security;
create policy definer_queue on identity.mails for insert to bulkhead_identity_definer
with check (true);
create policy definer_read on identity.mails for select to bulkhead_identity_definer
using (true);
create policy expiry_remove on identity.mails for delete to bulkhead_identity_worker
using (created_at < (now() - '7 days'::interval) and (sent_at is not null or failed_at is not null));
create policy owner_right on identity.mails for all to bulkhead_identity_owner
using (true)
with check (true);
create policy worker_read on identity.mails for select to bulkhead_identity_worker
using (true);
create policy worker_send on identity.mails for update to bulkhead_identity_worker
using (sent_at is null and failed_at is null)
with check (true);
grant
    select (mail_id, request_digest),
    insert (mail_id, kind, to_address, subject_id, details, request_digest, failed_at, last_error)
on identity.mails to bulkhead_identity_definer;
grant
    select (mail_id, kind, to_address, subject_id, details, due_at, attempts, sent_at, failed_at, last_error,
        created_at, cause, is_urgent, is_due),
    update (due_at, attempts, sent_at, failed_at, last_error),
    delete
on identity.mails to bulkhead_identity_worker;

-- identity.outbox

create table identity.outbox (
    outbox_id bigint generated always as identity,
    tenant_id uuid not null,
    event_id uuid default gen_random_uuid() not null,
    occurred_at timestamptz default clock_timestamp() not null,
    action text not null,
    entity_type text not null,
    entity_id uuid not null,
    sub_id uuid,
    project_id uuid,
    visibility smallint default 1 not null,
    outcome text default 'ok' not null,
    changes jsonb default '{}'::jsonb not null,
    actor_id uuid default app.current_user_id(),
    actor_type text default coalesce(nullif(current_setting('app.actor_type', true), ''), 'database') not null,
    on_behalf_of uuid default nullif(current_setting('app.on_behalf_of', true), '')::uuid,
    service text default nullif(current_setting('app.service', true), ''),
    rpc text default nullif(current_setting('app.rpc', true), ''),
    request_id text default nullif(current_setting('app.request_id', true), ''),
    ip text default nullif(current_setting('app.ip', true), ''),
    user_agent text default nullif(current_setting('app.user_agent', true), ''),
    constraint outbox_pkey primary key (tenant_id, outbox_id),
    constraint outbox_changes_check check (jsonb_typeof(changes) = 'object'),
    constraint outbox_outcome_check check (outcome in ('ok', 'denied', 'failed')),
    constraint outbox_visibility_check check (visibility in (1, 2))
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
comment on table identity.outbox is
'Changes not yet acknowledged by audit. Written by capture triggers, removed by the relay, read by nobody else.';
alter table identity.outbox enable row level security;
alter table identity.outbox force row level security;
create policy definer_write on identity.outbox for insert to bulkhead_identity_definer
with check (true);
create policy owner_right on identity.outbox for all to bulkhead_identity_owner
using (true)
with check (true);
create policy relay_read on identity.outbox for select to bulkhead_identity_relay
using (true);
create policy relay_remove on identity.outbox for delete to bulkhead_identity_relay
using (true);
grant
    insert (tenant_id, action, entity_type, entity_id, outcome, changes)
on identity.outbox to bulkhead_identity_definer;
grant select, delete on identity.outbox to bulkhead_identity_relay;

-- identity.outbox_parked

create table identity.outbox_parked (
    tenant_id uuid not null,
    parked_at timestamptz default now() not null,
    attempts integer default 1 not null,
    retry_at timestamptz not null,
    last_error text not null,
    constraint outbox_parked_pkey primary key (tenant_id),
    constraint outbox_parked_attempts_check check (attempts > 0),
    constraint outbox_parked_last_error_check check (length(last_error) <= 2000)
);
comment on table identity.outbox_parked is
'Tenants whose events audit refuses: the relay passes them over until retry_at, others go on.';
alter table identity.outbox_parked enable row level security;
alter table identity.outbox_parked force row level security;
create policy owner_right on identity.outbox_parked for all to bulkhead_identity_owner
using (true)
with check (true);
create policy relay_park on identity.outbox_parked for all to bulkhead_identity_relay
using (true)
with check (true);
grant select, insert, update, delete on identity.outbox_parked to bulkhead_identity_relay;

-- identity.plans

create table identity.plans (
    plan_id uuid not null,
    code text not null,
    name text not null,
    max_users integer,
    max_projects integer,
    max_storage_bytes bigint,
    created_at timestamptz default now() not null,
    created_by uuid,
    updated_at timestamptz default now() not null,
    version integer default 1 not null,
    constraint plans_pkey primary key (plan_id),
    constraint plans_code_key unique (code),
    constraint plans_code_check check (code ~ '^[a-z][a-z0-9_]{0,31}$'),
    constraint plans_max_projects_check check (max_projects >= 0),
    constraint plans_max_storage_bytes_check check (max_storage_bytes >= 0),
    constraint plans_max_users_check check (max_users > 0),
    constraint plans_name_check check (length(name) between 1 and 100)
);
comment on table identity.plans is
'What a tenant may use. Edited by platform administrators only.';
comment on column identity.plans.code is
'What code and tenants call it, such as free.';
comment on column identity.plans.max_users is
'Active members and open invitations of persons; null: no limit.';
comment on column identity.plans.max_projects is
'Projects that are not deleted; null: no limit.';
comment on column identity.plans.max_storage_bytes is
'Bytes of attachments; null: no limit.';
alter table identity.plans enable row level security;
alter table identity.plans force row level security;
create policy definer_read on identity.plans for select to bulkhead_identity_definer
using (true);
create policy owner_right on identity.plans for all to bulkhead_identity_owner
using (true)
with check (true);
create policy platform_read on identity.plans for select to bulkhead_platform_app
using (app.current_tenant_id() is null and app.current_user_id() is not null);
create policy read_right on identity.plans for select to bulkhead_identity_app
using (app.role_level() >= 1);
grant select on identity.plans to bulkhead_identity_app;
grant select on identity.plans to bulkhead_identity_definer;
grant select on identity.plans to bulkhead_platform_app;

-- identity.request_ids

create table identity.request_ids (
    tenant_id uuid not null,
    principal text not null,
    request_id uuid not null,
    rpc text not null,
    request_digest bytea not null,
    reply bytea,
    created_at timestamptz default now() not null,
    constraint request_ids_pkey primary key (tenant_id, principal, request_id),
    constraint request_ids_principal_check check (length(principal) between 1 and 100),
    constraint request_ids_request_digest_check check (octet_length(request_digest) = 32)
);
comment on table identity.request_ids is
'Calls that named a request_id, with their answers, for 24 hours: a repeat gets the same answer and has no effect.';
create index request_ids_created_at_idx on identity.request_ids (created_at);
alter table identity.request_ids enable row level security;
alter table identity.request_ids force row level security;
create policy tenant_wall on identity.request_ids as restrictive for all to bulkhead_identity_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy expiry_read on identity.request_ids for select to bulkhead_identity_worker
using (true);
create policy expiry_remove on identity.request_ids for delete to bulkhead_identity_worker
using (created_at < (now() - '24:00:00'::interval));
create policy own_calls on identity.request_ids for all to bulkhead_identity_app
using (principal = app.principal())
with check (principal = app.principal());
create policy owner_right on identity.request_ids for all to bulkhead_identity_owner
using (true)
with check (true);
grant
    select,
    insert (tenant_id, principal, request_id, rpc, request_digest),
    update (reply)
on identity.request_ids to bulkhead_identity_app;
grant
    select (tenant_id, principal, request_id, created_at),
    delete
on identity.request_ids to bulkhead_identity_worker;

-- identity.tenants

create table identity.tenants (
    tenant_id uuid not null,
    slug text not null,
    name text not null,
    domain text,
    status text default 'active' not null,
    status_reason text,
    status_changed_at timestamptz,
    status_changed_by uuid,
    plan_code text default 'free' not null,
    max_users_override integer,
    max_projects_override integer,
    max_storage_bytes_override bigint,
    branding jsonb default '{}'::jsonb not null,
    settings jsonb default '{}'::jsonb not null,
    description text default '' not null,
    logo_url text,
    website_url text,
    industry text,
    size text,
    deleted_at timestamptz,
    purge_after timestamptz,
    created_at timestamptz default now() not null,
    created_by uuid,
    updated_at timestamptz default now() not null,
    version integer default 1 not null,
    constraint tenants_pkey primary key (tenant_id),
    constraint tenants_slug_key unique (slug),
    constraint tenants_plan_code_fkey foreign key (plan_code) references identity.plans(code),
    constraint tenants_branding_check
    check (jsonb_typeof(branding) = 'object' and octet_length(branding::text) <= 16384),
    constraint tenants_branding_depth_check check (not jsonb_path_exists(branding, '$.**{33}'::jsonpath)),
    constraint tenants_deleted_at_check
    check ((status = 'deleted') = (deleted_at is not null) and (deleted_at is null) = (purge_after is null)),
    constraint tenants_description_check check (length(description) <= 2000),
    constraint tenants_domain_check check (length(domain) between 3 and 253),
    constraint tenants_industry_check check (length(industry) <= 100),
    constraint tenants_logo_url_check check (length(logo_url) <= 2000),
    constraint tenants_max_projects_override_check check (max_projects_override >= 0),
    constraint tenants_max_storage_bytes_override_check check (max_storage_bytes_override >= 0),
    constraint tenants_max_users_override_check check (max_users_override > 0),
    constraint tenants_name_check check (length(name) between 1 and 100),
    constraint tenants_settings_check
    check (jsonb_typeof(settings) = 'object' and octet_length(settings::text) <= 16384),
    constraint tenants_settings_depth_check check (not jsonb_path_exists(settings, '$.**{33}'::jsonpath)),
    constraint tenants_size_check check (size in ('1-10', '11-50', '51-200', '201-1000', '1001+')),
    constraint tenants_slug_check check (slug ~ '^[a-z0-9]([a-z0-9-]{1,61}[a-z0-9])$'),
    constraint tenants_status_check check (status in ('active', 'suspended', 'deleted')),
    constraint tenants_status_reason_check check (length(status_reason) <= 500),
    constraint tenants_tenant_id_check check (tenant_id <> '00000000-0000-0000-0000-000000000001'::uuid),
    constraint tenants_website_url_check check (length(website_url) <= 2000)
);
comment on table identity.tenants is
'Companies. tenant_id is a published key: other schemas refer to it and rows are never deleted.';
comment on column identity.tenants.slug is
'The tenant''s name in addresses; found before anybody has logged in.';
comment on column identity.tenants.domain is
'The company''s mail domain, as it states it.';
comment on column identity.tenants.status is
'active; suspended: only read, apart from what shuts somebody out; deleted: invisible, restorable by an owner until purge_after.';
comment on column identity.tenants.status_reason is
'Why the status is what it is, for people.';
comment on column identity.tenants.status_changed_at is
'When the status last changed; set by trigger.';
comment on column identity.tenants.status_changed_by is
'Who changed it; set by trigger.';
comment on column identity.tenants.plan_code is
'Its plan, whose limits hold where no override does.';
comment on column identity.tenants.max_users_override is
'In place of the plan''s limit, by contract.';
comment on column identity.tenants.max_projects_override is
'In place of the plan''s limit, by contract.';
comment on column identity.tenants.max_storage_bytes_override is
'In place of the plan''s limit, by contract.';
comment on column identity.tenants.branding is
'Colours and pictures for the tenant''s pages.';
comment on column identity.tenants.settings is
'What the tenant has chosen for itself.';
comment on column identity.tenants.logo_url is
'Address of its logo.';
comment on column identity.tenants.website_url is
'Address of its own site.';
comment on column identity.tenants.industry is
'What line of business it is in, as it says.';
comment on column identity.tenants.size is
'About how many people work there.';
comment on column identity.tenants.purge_after is
'A deleted tenant can be restored until then, and may be erased afterwards.';
create index tenants_created_by_idx on identity.tenants (created_by, created_at);
create index tenants_plan_code_idx on identity.tenants (plan_code);
alter table identity.tenants enable row level security;
alter table identity.tenants force row level security;
create policy tenant_wall on identity.tenants as restrictive for all to bulkhead_identity_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy definer_insert on identity.tenants for insert to bulkhead_identity_definer
with check (true);
create policy definer_read on identity.tenants for select to bulkhead_identity_definer
using (true);
create policy definer_update on identity.tenants for update to bulkhead_identity_definer
using (true)
with check (true);
create policy owner_right on identity.tenants for all to bulkhead_identity_owner
using (true)
with check (true);
create policy platform_read on identity.tenants for select to bulkhead_platform_app
using (( select app.current_tenant_id() is null and app.current_user_id() is not null));
create policy platform_update on identity.tenants for update to bulkhead_platform_app
using (app.current_tenant_id() is null and app.current_user_id() is not null and status <> 'deleted')
with check (app.current_tenant_id() is null and app.current_user_id() is not null and status <> 'deleted');
create policy read_right on identity.tenants for select to bulkhead_identity_app
using (app.role_level() >= 1);
create policy update_right on identity.tenants for update to bulkhead_identity_app
using (app.role_level() >= 4)
with check (app.role_level() >= 4);
grant
    select,
    update (slug, name, domain, branding, settings, description, logo_url, website_url, industry, size)
on identity.tenants to bulkhead_identity_app;
grant
    select,
    insert (tenant_id, slug, name),
    update (status, status_reason, deleted_at, purge_after)
on identity.tenants to bulkhead_identity_definer;
grant references (tenant_id) on identity.tenants to bulkhead_issues_owner;
grant
    select (tenant_id, slug, name, domain, status, status_reason, status_changed_at, plan_code, max_users_override,
        max_projects_override, max_storage_bytes_override, deleted_at, purge_after, created_at, version),
    update (status, status_reason, plan_code, max_users_override, max_projects_override, max_storage_bytes_override)
on identity.tenants to bulkhead_platform_app;

-- identity.support_grants

create table identity.support_grants (
    tenant_id uuid not null,
    grant_id uuid not null,
    role smallint not null,
    reason text not null,
    expires_at timestamptz not null,
    revoked_at timestamptz,
    revoked_by uuid,
    created_at timestamptz default now() not null,
    created_by uuid,
    updated_at timestamptz default now() not null,
    version integer default 1 not null,
    constraint support_grants_pkey primary key (tenant_id, grant_id),
    constraint support_grants_tenant_id_fkey foreign key (tenant_id) references identity.tenants(tenant_id),
    constraint support_grants_expires_at_check check (expires_at <= (created_at + '7 days 01:00:00'::interval)),
    constraint support_grants_reason_check check (length(reason) between 1 and 500),
    constraint support_grants_revoked_at_check check ((revoked_at is null) = (revoked_by is null)),
    constraint support_grants_role_check check (role between 1 and 4)
);
comment on table identity.support_grants is
'When a tenant''s owners have let the platform''s administrators in, for what, and until when.';
comment on column identity.support_grants.role is
'The role they get: 1 viewer .. 4 admin.';
comment on column identity.support_grants.reason is
'What help is needed with.';
comment on column identity.support_grants.expires_at is
'When it ends by itself.';
comment on column identity.support_grants.revoked_at is
'When an owner took it back; set by trigger.';
comment on column identity.support_grants.revoked_by is
'Who took it back; set by trigger.';
create index support_grants_open_idx on identity.support_grants (tenant_id, expires_at) where revoked_at is null;
alter table identity.support_grants enable row level security;
alter table identity.support_grants force row level security;
create policy tenant_wall on identity.support_grants as restrictive for all to bulkhead_identity_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy definer_read on identity.support_grants for select to bulkhead_identity_definer
using (true);
create policy insert_right on identity.support_grants for insert to bulkhead_identity_app
with check (app.role_level() >= 5);
create policy owner_right on identity.support_grants for all to bulkhead_identity_owner
using (true)
with check (true);
create policy read_right on identity.support_grants for select to bulkhead_identity_app
using (app.role_level() >= 5);
create policy update_right on identity.support_grants for update to bulkhead_identity_app
using (app.role_level() >= 5)
with check (app.role_level() >= 5);
grant
    select,
    insert (tenant_id, grant_id, role, reason, expires_at),
    update (revoked_at)
on identity.support_grants to bulkhead_identity_app;
grant select on identity.support_grants to bulkhead_identity_definer;

-- identity.teams

create table identity.teams (
    tenant_id uuid not null,
    team_id uuid not null,
    name text not null,
    description text default '' not null,
    archived_at timestamptz,
    created_at timestamptz default now() not null,
    created_by uuid,
    updated_at timestamptz default now() not null,
    version integer default 1 not null,
    name_key text generated always as (app.fold(name)) stored not null,
    constraint teams_pkey primary key (tenant_id, team_id),
    constraint teams_tenant_id_fkey foreign key (tenant_id) references identity.tenants(tenant_id),
    constraint teams_description_check check (length(description) <= 2000),
    constraint teams_name_check check (length(name) between 1 and 100),
    constraint teams_name_key_check check (name_key <> '')
);
comment on table identity.teams is
'Groups of members. (tenant_id, team_id) is a published key: other schemas refer to it and rows are never deleted.';
comment on column identity.teams.archived_at is
'Since when it has been archived: it keeps what it has, gets no project and no member, and its name is free.';
create unique index teams_name_key_key on identity.teams (tenant_id, name_key) where archived_at is null;
create index teams_tenant_id_name_key_team_id_idx on identity.teams (tenant_id, name_key, team_id);
alter table identity.teams enable row level security;
alter table identity.teams force row level security;
create policy tenant_wall on identity.teams as restrictive for all to bulkhead_identity_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy definer_read on identity.teams for select to bulkhead_identity_definer
using (true);
create policy insert_right on identity.teams for insert to bulkhead_identity_app
with check (app.role_level() >= 3);
create policy owner_right on identity.teams for all to bulkhead_identity_owner
using (true)
with check (true);
create policy read_right on identity.teams for select to bulkhead_identity_app
using (app.role_level() >= 1);
create policy update_right on identity.teams for update to bulkhead_identity_app
using (app.role_level() >= 3)
with check (app.role_level() >= 3);
grant
    select,
    insert (tenant_id, team_id, name, description),
    update (name, description, archived_at)
on identity.teams to bulkhead_identity_app;
grant select (tenant_id, team_id, archived_at) on identity.teams to bulkhead_identity_definer;
grant references (tenant_id, team_id) on identity.teams to bulkhead_issues_owner;

-- identity.tenant_usage

create table identity.tenant_usage (
    tenant_id uuid not null,
    active_members integer default 0 not null,
    open_invitations integer default 0 not null,
    projects integer default 0 not null,
    storage_bytes bigint default 0 not null,
    constraint tenant_usage_pkey primary key (tenant_id),
    constraint tenant_usage_tenant_id_fkey foreign key (tenant_id) references identity.tenants(tenant_id),
    constraint tenant_usage_active_members_check check (active_members >= 0),
    constraint tenant_usage_open_invitations_check check (open_invitations >= 0),
    constraint tenant_usage_projects_check check (projects >= 0),
    constraint tenant_usage_storage_bytes_check check (storage_bytes >= 0)
) with (fillfactor = 50);
comment on table identity.tenant_usage is
'What a tenant uses of its limits, counted by triggers. Its row is the first lock of every call that changes memberships or counts against a limit.';
comment on column identity.tenant_usage.active_members is
'Active persons; service accounts and placeholders take no seat.';
comment on column identity.tenant_usage.open_invitations is
'Invitations that hold a seat.';
comment on column identity.tenant_usage.projects is
'Projects that are not deleted.';
comment on column identity.tenant_usage.storage_bytes is
'Bytes of attachments.';
alter table identity.tenant_usage enable row level security;
alter table identity.tenant_usage force row level security;
create policy tenant_wall on identity.tenant_usage as restrictive for all to bulkhead_identity_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy definer_insert on identity.tenant_usage for insert to bulkhead_identity_definer
with check (true);
create policy definer_read on identity.tenant_usage for select to bulkhead_identity_definer
using (true);
create policy definer_update on identity.tenant_usage for update to bulkhead_identity_definer
using (true)
with check (true);
create policy owner_right on identity.tenant_usage for all to bulkhead_identity_owner
using (true)
with check (true);
create policy platform_read on identity.tenant_usage for select to bulkhead_platform_app
using (( select app.current_tenant_id() is null and app.current_user_id() is not null));
create policy read_right on identity.tenant_usage for select to bulkhead_identity_app
using (app.role_level() >= 1);
grant select on identity.tenant_usage to bulkhead_identity_app;
grant select, insert (tenant_id), update (projects) on identity.tenant_usage to bulkhead_identity_definer;
grant select on identity.tenant_usage to bulkhead_platform_app;

-- identity.user_request_ids

create table identity.user_request_ids (
    user_id uuid not null,
    request_id uuid not null,
    rpc text not null,
    request_digest bytea not null,
    reply bytea,
    created_at timestamptz default now() not null,
    constraint user_request_ids_pkey primary key (user_id, request_id),
    constraint user_request_ids_request_digest_check check (octet_length(request_digest) = 32)
);
comment on table identity.user_request_ids is
'As request_ids, for the calls of a person outside any tenant, such as CreateTenant.';
comment on column identity.user_request_ids.user_id is
'The person who called.';
create index user_request_ids_created_at_idx on identity.user_request_ids (created_at);
alter table identity.user_request_ids enable row level security;
alter table identity.user_request_ids force row level security;
create policy expiry_read on identity.user_request_ids for select to bulkhead_identity_worker
using (true);
create policy expiry_remove on identity.user_request_ids for delete to bulkhead_identity_worker
using (created_at < (now() - '24:00:00'::interval));
create policy own_calls on identity.user_request_ids for all to bulkhead_identity_app
using (user_id = app.current_user_id())
with check (user_id = app.current_user_id());
create policy owner_right on identity.user_request_ids for all to bulkhead_identity_owner
using (true)
with check (true);
create policy platform_calls on identity.user_request_ids for all to bulkhead_platform_app
using (user_id = app.current_user_id())
with check (user_id = app.current_user_id());
grant
    select,
    insert (user_id, request_id, rpc, request_digest),
    update (reply)
on identity.user_request_ids to bulkhead_identity_app;
grant select (user_id, request_id, created_at), delete on identity.user_request_ids to bulkhead_identity_worker;
grant
    select,
    insert (user_id, request_id, rpc, request_digest),
    update (reply)
on identity.user_request_ids to bulkhead_platform_app;

-- identity.users

create table identity.users (
    user_id uuid not null,
    kind text not null,
    email text,
    email_key text collate "C" generated always as (lower(email collate "C")) stored,
    email_verified_at timestamptz,
    full_name text not null,
    first_name text,
    last_name text,
    avatar_url text,
    status text default 'active' not null,
    is_platform_admin boolean default false not null,
    last_login_at timestamptz,
    created_at timestamptz default now() not null,
    created_by uuid,
    updated_at timestamptz default now() not null,
    version integer default 1 not null,
    constraint users_pkey primary key (user_id),
    constraint users_email_key_key unique (email_key),
    constraint users_user_id_kind_key unique (user_id, kind),
    constraint users_avatar_url_check check (length(avatar_url) <= 2000),
    constraint users_email_check
    check ((kind = 'person' and status <> 'erased') = (email is not null) and length(email) between 3 and 254),
    constraint users_email_verified_at_check check (email_verified_at is null or kind = 'person'),
    constraint users_first_name_check check (length(first_name) between 1 and 100),
    constraint users_full_name_check check (length(full_name) between 1 and 200),
    constraint users_is_platform_admin_check check (not is_platform_admin or kind = 'person'),
    constraint users_kind_check check (kind in ('person', 'service', 'placeholder')),
    constraint users_last_name_check check (length(last_name) between 1 and 100),
    constraint users_status_check check (status in ('active', 'disabled', 'erased'))
);
comment on table identity.users is
'Principals: persons, service accounts, and placeholders for imported authors. Global: what a tenant sees of one is on the membership, so a row here is seen by its own person only.';
comment on column identity.users.kind is
'person, service (an API key''s account) or placeholder (cannot log in, takes no seat).';
comment on column identity.users.email is
'As given, normalised once (NFC, domain in lower case).';
comment on column identity.users.email_key is
'What addresses are compared by: without regard to the case of a to z. Other letters have look-alikes that fall together (a dotted capital I and i), and belong to other mailboxes.';
comment on column identity.users.email_verified_at is
'When she proved that the address is hers; null: not yet.';
comment on column identity.users.first_name is
'As she writes it, if she does.';
comment on column identity.users.last_name is
'As she writes it, if she does.';
comment on column identity.users.status is
'active, disabled or erased, in every tenant at once.';
comment on column identity.users.is_platform_admin is
'May use the service of platform administrators.';
comment on column identity.users.last_login_at is
'When she last began a session.';
alter table identity.users enable row level security;
alter table identity.users force row level security;
create policy definer_insert on identity.users for insert to bulkhead_identity_definer
with check (true);
create policy definer_read on identity.users for select to bulkhead_identity_definer
using (true);
create policy definer_update on identity.users for update to bulkhead_identity_definer
using (true)
with check (true);
create policy own_change on identity.users for update to bulkhead_identity_app
using (user_id = app.current_user_id() and kind = 'person' and status = 'active')
with check (user_id = app.current_user_id() and kind = 'person' and status = 'active');
create policy own_row on identity.users for select to bulkhead_identity_app
using (user_id = app.current_user_id());
create policy owner_right on identity.users for all to bulkhead_identity_owner
using (true)
with check (true);
grant select, update (full_name, first_name, last_name, avatar_url) on identity.users to bulkhead_identity_app;
grant
    select,
    insert (user_id, kind, email, full_name, avatar_url),
    update (email, email_verified_at, full_name, first_name, last_name, avatar_url, status, is_platform_admin,
        last_login_at)
on identity.users to bulkhead_identity_definer;

-- identity.face_changes

create table identity.face_changes (
    user_id uuid not null,
    due_at timestamptz,
    done_at timestamptz,
    after_tenant_id uuid,
    rpc text,
    request_id text,
    constraint face_changes_pkey primary key (user_id),
    constraint face_changes_user_id_fkey foreign key (user_id) references identity.users(user_id)
);
comment on table identity.face_changes is
'New names and pictures on their way to the many tenants of a person. One row a person, however many changes.';
comment on column identity.face_changes.due_at is
'When the worker goes on; null: every tenant shows the latest.';
comment on column identity.face_changes.done_at is
'When every tenant last showed the latest.';
comment on column identity.face_changes.after_tenant_id is
'The last tenant of those that show the latest, in the order of their ids; null: none yet.';
comment on column identity.face_changes.rpc is
'The method of the change, for the events.';
comment on column identity.face_changes.request_id is
'The call of the change, for the events.';
create index face_changes_due_at_idx on identity.face_changes (due_at) where due_at is not null;
alter table identity.face_changes enable row level security;
alter table identity.face_changes force row level security;
create policy definer_read on identity.face_changes for select to bulkhead_identity_definer
using (true);
create policy definer_update on identity.face_changes for update to bulkhead_identity_definer
using (true)
with check (true);
create policy due_read on identity.face_changes for select to bulkhead_identity_worker
using (due_at is not null);
create policy owner_right on identity.face_changes for all to bulkhead_identity_owner
using (true)
with check (true);
grant select, update (due_at, done_at, after_tenant_id) on identity.face_changes to bulkhead_identity_definer;
grant select on identity.face_changes to bulkhead_identity_worker;

-- identity.memberships

create table identity.memberships (
    tenant_id uuid not null,
    user_id uuid not null,
    kind text not null,
    role smallint not null,
    status text default 'active' not null,
    display_name text not null,
    avatar_url text,
    joined_at timestamptz default now() not null,
    disabled_at timestamptz,
    disabled_by uuid,
    external_source text,
    external_id text,
    created_at timestamptz default now() not null,
    created_by uuid,
    updated_at timestamptz default now() not null,
    version integer default 1 not null,
    left_at timestamptz,
    support_until timestamptz,
    constraint memberships_pkey primary key (tenant_id, user_id),
    constraint memberships_external_id_key unique (tenant_id, external_source, external_id),
    constraint memberships_disabled_by_fkey
    foreign key (tenant_id, disabled_by)
    references identity.memberships(tenant_id, user_id),
    constraint memberships_tenant_id_fkey foreign key (tenant_id) references identity.tenants(tenant_id),
    constraint memberships_user_id_kind_fkey foreign key (user_id, kind) references identity.users(user_id, kind),
    constraint memberships_avatar_url_check check (length(avatar_url) <= 2000),
    constraint memberships_disabled_at_check
    check ((status = 'disabled') = (disabled_at is not null) and (disabled_at is null) = (disabled_by is null)),
    constraint memberships_display_name_check check (length(display_name) between 1 and 200),
    constraint memberships_external_check
    check ((external_source is null) = (external_id is null) and length(external_id) between 1 and 200),
    constraint memberships_external_source_check check (length(external_source) between 1 and 100),
    constraint memberships_kind_role_check check (role < 5 or kind = 'person'),
    constraint memberships_left_at_check check (left_at is null or status = 'disabled'),
    constraint memberships_placeholder_role_check check (role = 1 or kind <> 'placeholder'),
    constraint memberships_role_check check (role between 1 and 5),
    constraint memberships_status_check check (status in ('active', 'disabled')),
    constraint memberships_support_until_check check (support_until is null or kind = 'person' and role < 5)
);
comment on table identity.memberships is
'Who belongs to which tenant. (tenant_id, user_id) is a published key: other schemas refer to it and rows are never deleted.';
comment on column identity.memberships.kind is
'Copied from the user and held by the foreign key: person, service or placeholder.';
comment on column identity.memberships.role is
'1 viewer, 2 member, 3 manager, 4 admin, 5 owner.';
comment on column identity.memberships.status is
'active or disabled, in this tenant only.';
comment on column identity.memberships.display_name is
'What fellow members see of the person.';
comment on column identity.memberships.joined_at is
'Since when she has belonged to the tenant.';
comment on column identity.memberships.disabled_at is
'Since when she has been disabled; set by trigger.';
comment on column identity.memberships.disabled_by is
'Who disabled her; set by trigger.';
comment on column identity.memberships.version is
'Raised when role, status, left_at or support_until change, a key of the account is revoked or the maker of one may less, and only then: tokens carry it, and one with an older version is refused.';
comment on column identity.memberships.left_at is
'When she left the tenant or closed her account; set by trigger. She comes back by an invitation only.';
comment on column identity.memberships.support_until is
'Of a platform administrator whom the tenant let in: she is refused from then on. Null: a member like everybody.';
create index memberships_disabled_by_idx on identity.memberships (tenant_id, disabled_by) where disabled_by is not null;
create index memberships_display_name_idx on identity.memberships (tenant_id, display_name text_pattern_ops);
create index memberships_kind_idx on identity.memberships (tenant_id, kind, user_id);
create index memberships_role_status_idx on identity.memberships (tenant_id, role, status);
create index memberships_support_until_idx on identity.memberships (tenant_id) where support_until is not null;
create index memberships_user_id_idx on identity.memberships (user_id, kind, tenant_id);
alter table identity.memberships enable row level security;
alter table identity.memberships force row level security;
create policy tenant_wall on identity.memberships as restrictive for all to bulkhead_identity_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy definer_insert on identity.memberships for insert to bulkhead_identity_definer
with check (true);
create policy definer_read on identity.memberships for select to bulkhead_identity_definer
using (true);
create policy definer_update on identity.memberships for update to bulkhead_identity_definer
using (true)
with check (true);
create policy owner_right on identity.memberships for all to bulkhead_identity_owner
using (true)
with check (true);
create policy read_right on identity.memberships for select to bulkhead_identity_app
using (app.role_level() >= 1);
create policy update_right on identity.memberships for update to bulkhead_identity_app
using (app.role_level() >= 4 and role <= app.role_level())
with check (app.role_level() >= 4 and role <= app.role_level());
grant select, update (role, status) on identity.memberships to bulkhead_identity_app;
grant
    select,
    insert (tenant_id, user_id, kind, role, display_name, avatar_url, external_source, external_id, support_until),
    update (role, status, display_name, avatar_url, left_at, support_until)
on identity.memberships to bulkhead_identity_definer;
grant references (tenant_id, user_id) on identity.memberships to bulkhead_issues_owner;

-- identity.api_keys

create table identity.api_keys (
    tenant_id uuid not null,
    api_key_id uuid not null,
    user_id uuid not null,
    display_name text not null,
    prefix text not null,
    secret_hash bytea not null,
    ip_ranges cidr[] default '{}'::cidr[] not null,
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    revoked_by uuid,
    created_at timestamptz default now() not null,
    created_by uuid,
    updated_at timestamptz default now() not null,
    version integer default 1 not null,
    constraint api_keys_pkey primary key (tenant_id, api_key_id),
    constraint api_keys_secret_hash_key unique (secret_hash),
    constraint api_keys_user_id_fkey
    foreign key (tenant_id, user_id)
    references identity.memberships(tenant_id, user_id),
    constraint api_keys_display_name_check check (length(display_name) between 1 and 200),
    constraint api_keys_expires_at_check check (expires_at > created_at),
    constraint api_keys_ip_ranges_check
    check ( case when cardinality(ip_ranges) = 0 then true when array_ndims(ip_ranges) = 1 then cardinality(ip_ranges) <= 20 and array_position(ip_ranges, null::cidr) is null else false end),
    constraint api_keys_prefix_check check (prefix ~ '^bh_[a-z2-7]{8}$'),
    constraint api_keys_revoked_at_check check ((revoked_at is null) = (revoked_by is null)),
    constraint api_keys_secret_hash_check check (octet_length(secret_hash) = 32)
);
comment on table identity.api_keys is
'Keys of service accounts. What a key may do is what its account''s membership says and its maker''s allows; here is how it is known.';
comment on column identity.api_keys.user_id is
'The service account that acts by the key.';
comment on column identity.api_keys.display_name is
'What admins call it.';
comment on column identity.api_keys.prefix is
'How the key begins, so that people can tell keys apart.';
comment on column identity.api_keys.secret_hash is
'SHA-256 of the whole key.';
comment on column identity.api_keys.ip_ranges is
'The addresses it may be used from; empty: any.';
comment on column identity.api_keys.expires_at is
'From when on it is worth nothing; null: it lasts until it is revoked.';
comment on column identity.api_keys.last_used_at is
'When it was last used, to the minute.';
comment on column identity.api_keys.revoked_at is
'When it was revoked; set by trigger, once.';
comment on column identity.api_keys.revoked_by is
'Who revoked it; set by trigger.';
comment on column identity.api_keys.created_by is
'Who made it: a key opens at most what its maker may now, and nothing while she is no active member.';
create index api_keys_created_by_idx on identity.api_keys (tenant_id, created_by) where revoked_at is null;
create index api_keys_user_id_idx on identity.api_keys (tenant_id, user_id);
alter table identity.api_keys enable row level security;
alter table identity.api_keys force row level security;
create policy tenant_wall on identity.api_keys as restrictive for all to bulkhead_identity_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy definer_read on identity.api_keys for select to bulkhead_identity_definer
using (true);
create policy definer_update on identity.api_keys for update to bulkhead_identity_definer
using (revoked_at is null)
with check (revoked_at is null);
create policy insert_right on identity.api_keys for insert to bulkhead_identity_app
with check (app.role_level() >= 4);
create policy owner_right on identity.api_keys for all to bulkhead_identity_owner
using (true)
with check (true);
create policy read_right on identity.api_keys for select to bulkhead_identity_app
using (app.role_level() >= 4);
create policy update_right on identity.api_keys for update to bulkhead_identity_app
using (app.role_level() >= 4)
with check (app.role_level() >= 4);
grant
    select (tenant_id, api_key_id, user_id, display_name, prefix, ip_ranges, expires_at, last_used_at, revoked_at,
        revoked_by, created_at, created_by, updated_at, version),
    insert (tenant_id, api_key_id, user_id, display_name, prefix, secret_hash, ip_ranges, expires_at),
    update (revoked_at)
on identity.api_keys to bulkhead_identity_app;
grant
    select (tenant_id, api_key_id, user_id, secret_hash, ip_ranges, expires_at, last_used_at, revoked_at, created_by),
    update (last_used_at)
on identity.api_keys to bulkhead_identity_definer;

-- identity.invitations

create table identity.invitations (
    tenant_id uuid not null,
    invitation_id uuid not null,
    email text,
    email_key text collate "C" generated always as (lower(email collate "C")) stored,
    role smallint not null,
    token_hash bytea not null,
    status text default 'open' not null,
    expires_at timestamptz not null,
    accepted_at timestamptz,
    accepted_by uuid,
    revoked_at timestamptz,
    revoked_by uuid,
    created_at timestamptz default now() not null,
    created_by uuid,
    updated_at timestamptz default now() not null,
    version integer default 1 not null,
    constraint invitations_pkey primary key (tenant_id, invitation_id),
    constraint invitations_token_hash_key unique (token_hash),
    constraint invitations_accepted_by_fkey
    foreign key (tenant_id, accepted_by)
    references identity.memberships(tenant_id, user_id),
    constraint invitations_tenant_id_fkey foreign key (tenant_id) references identity.tenants(tenant_id),
    constraint invitations_accepted_check
    check ((status = 'accepted') = (accepted_at is not null) and (accepted_at is null) = (accepted_by is null)),
    constraint invitations_email_check check (length(email) between 3 and 254),
    constraint invitations_revoked_check check ((status = 'revoked') = (revoked_at is not null)),
    constraint invitations_role_check check (role between 1 and 5),
    constraint invitations_status_check check (status in ('open', 'accepted', 'revoked', 'expired')),
    constraint invitations_to_whom_check check (email is not null or status <> 'open'),
    constraint invitations_token_hash_check check (octet_length(token_hash) = 32)
);
comment on table identity.invitations is
'Invitations to a tenant. An open one holds a seat. The token is in the mail; here is its SHA-256.';
comment on column identity.invitations.email is
'Who is invited, as the inviter wrote it; null: whoever had the address has closed their account.';
comment on column identity.invitations.email_key is
'What addresses are compared by, as identity.users has it.';
comment on column identity.invitations.role is
'The role that is offered: 1 viewer .. 5 owner.';
comment on column identity.invitations.status is
'open, accepted, revoked or expired.';
comment on column identity.invitations.accepted_at is
'When she joined.';
comment on column identity.invitations.accepted_by is
'The member she became.';
comment on column identity.invitations.revoked_by is
'Who took it back.';
create index invitations_accepted_by_idx on identity.invitations (tenant_id, accepted_by) where accepted_by is not null;
create index invitations_email_key_idx on identity.invitations (tenant_id, email_key);
create index invitations_expires_at_idx on identity.invitations (expires_at) where status = 'open'::text;
create index invitations_of_address_idx on identity.invitations (email_key);
create unique index invitations_open_email_key on identity.invitations (tenant_id, email_key) where status = 'open'::text;
create index invitations_open_idx on identity.invitations (tenant_id, invitation_id) where status = 'open'::text;
alter table identity.invitations enable row level security;
alter table identity.invitations force row level security;
create policy tenant_wall on identity.invitations as restrictive for all to bulkhead_identity_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy definer_read on identity.invitations for select to bulkhead_identity_definer
using (true);
create policy definer_update on identity.invitations for update to bulkhead_identity_definer
using (true)
with check (true);
create policy expiry_read on identity.invitations for select to bulkhead_identity_worker
using (status = 'open' and expires_at <= now());
create policy insert_right on identity.invitations for insert to bulkhead_identity_app
with check (app.role_level() >= 4 and role <= app.role_level());
create policy owner_right on identity.invitations for all to bulkhead_identity_owner
using (true)
with check (true);
create policy read_right on identity.invitations for select to bulkhead_identity_app
using (app.role_level() >= 4);
create policy update_right on identity.invitations for update to bulkhead_identity_app
using (app.role_level() >= 4 and role <= app.role_level())
with check (app.role_level() >= 4 and role <= app.role_level());
grant
    select (tenant_id, invitation_id, email, email_key, role, status, expires_at, accepted_at, accepted_by,
        revoked_at, revoked_by, created_at, created_by, updated_at, version),
    insert (tenant_id, invitation_id, email, role, token_hash, expires_at),
    update (status)
on identity.invitations to bulkhead_identity_app;
grant select, update (status, accepted_at, accepted_by) on identity.invitations to bulkhead_identity_definer;
grant select (tenant_id, invitation_id, status, expires_at) on identity.invitations to bulkhead_identity_worker;

-- identity.one_time_tokens

create table identity.one_time_tokens (
    token_id uuid not null,
    purpose text not null,
    user_id uuid not null,
    token_hash bytea not null,
    expires_at timestamptz not null,
    attempts smallint default 0 not null,
    used_at timestamptz,
    used_by_request uuid,
    revoked_at timestamptz,
    password_hash text,
    full_name text,
    created_at timestamptz default now() not null,
    created_by uuid,
    updated_at timestamptz default now() not null,
    version integer default 1 not null,
    constraint one_time_tokens_pkey primary key (token_id),
    constraint one_time_tokens_token_hash_key unique (token_hash),
    constraint one_time_tokens_user_id_fkey foreign key (user_id) references identity.users(user_id),
    constraint one_time_tokens_attempts_check check (attempts between 0 and 5),
    constraint one_time_tokens_full_name_check
    check (full_name is null or purpose = 'verify_email' and length(full_name) between 1 and 200),
    constraint one_time_tokens_password_hash_check
    check (password_hash is null or purpose = 'verify_email' and used_at is null and revoked_at is null and password_hash ~~ '$argon2id$%'),
    constraint one_time_tokens_purpose_check check (purpose in ('verify_email', 'reset_password')),
    constraint one_time_tokens_token_hash_check check (octet_length(token_hash) = 32),
    constraint one_time_tokens_used_at_check check (used_at is null or revoked_at is null),
    constraint one_time_tokens_used_by_request_check check (used_by_request is null or used_at is not null)
);
comment on table identity.one_time_tokens is
'SHA-256 of the tokens in mails: single use, expiring, each for one purpose.';
comment on column identity.one_time_tokens.purpose is
'What it can be used for: verify_email or reset_password.';
comment on column identity.one_time_tokens.attempts is
'How often it was tried, with whatever password; after the fifth time it is worth nothing.';
comment on column identity.one_time_tokens.used_at is
'When it was used; it cannot be used again.';
comment on column identity.one_time_tokens.used_by_request is
'The request_id of the call that used it: a repeat gets its answer.';
comment on column identity.one_time_tokens.password_hash is
'The password of the sign-up that asked for the token: it becomes the account''s when the address is proved with this very token, so that a stranger''s sign-up with the same address cannot slip in another.';
create index one_time_tokens_expires_at_idx on identity.one_time_tokens (expires_at);
create unique index one_time_tokens_live_reset_key on identity.one_time_tokens (user_id) where purpose = 'reset_password'::text and used_at is null and revoked_at is null;
create index one_time_tokens_user_id_purpose_idx on identity.one_time_tokens (user_id, purpose);
alter table identity.one_time_tokens enable row level security;
alter table identity.one_time_tokens force row level security;
create policy definer_insert on identity.one_time_tokens for insert to bulkhead_identity_definer
with check (true);
create policy definer_read on identity.one_time_tokens for select to bulkhead_identity_definer
using (true);
create policy definer_update on identity.one_time_tokens for update to bulkhead_identity_definer
using (used_at is null and revoked_at is null)
with check (true);
create policy expiry_read on identity.one_time_tokens for select to bulkhead_identity_worker
using (true);
create policy expiry_remove on identity.one_time_tokens for delete to bulkhead_identity_worker
using (expires_at < (now() - '1 day'::interval));
create policy owner_right on identity.one_time_tokens for all to bulkhead_identity_owner
using (true)
with check (true);
grant
    select,
    insert (token_id, purpose, user_id, token_hash, expires_at, attempts, password_hash, full_name),
    update (attempts, used_at, used_by_request, revoked_at, password_hash)
on identity.one_time_tokens to bulkhead_identity_definer;
grant select (token_id, expires_at), delete on identity.one_time_tokens to bulkhead_identity_worker;

-- identity.sessions

create table identity.sessions (
    session_id uuid not null,
    user_id uuid not null,
    expires_at timestamptz not null,
    last_seen_at timestamptz default now() not null,
    ip inet,
    user_agent text,
    revoked_at timestamptz,
    revoked_reason text,
    created_at timestamptz default now() not null,
    created_by uuid,
    updated_at timestamptz default now() not null,
    version integer default 1 not null,
    constraint sessions_pkey primary key (session_id),
    constraint sessions_user_id_fkey foreign key (user_id) references identity.users(user_id),
    constraint sessions_revoked_at_check check ((revoked_at is null) = (revoked_reason is null)),
    constraint sessions_revoked_reason_check
    check (revoked_reason in ('logout', 'token_reused', 'revoked', 'password_changed', 'account_closed')),
    constraint sessions_user_agent_check check (length(user_agent) <= 512)
);
comment on table identity.sessions is
'Logins, each the family of its refresh tokens. Ended by logout, by reuse of a token, or at expires_at.';
comment on column identity.sessions.expires_at is
'The absolute end; no refresh moves it.';
comment on column identity.sessions.last_seen_at is
'Time of the login or of the last refresh.';
comment on column identity.sessions.revoked_reason is
'Why it ended before its time.';
create index sessions_expires_at_idx on identity.sessions (expires_at);
create index sessions_user_id_expires_at_idx on identity.sessions (user_id, expires_at);
alter table identity.sessions enable row level security;
alter table identity.sessions force row level security;
create policy definer_insert on identity.sessions for insert to bulkhead_identity_definer
with check (true);
create policy definer_read on identity.sessions for select to bulkhead_identity_definer
using (true);
create policy definer_update on identity.sessions for update to bulkhead_identity_definer
using (true)
with check (true);
create policy expiry_read on identity.sessions for select to bulkhead_identity_worker
using (true);
create policy expiry_remove on identity.sessions for delete to bulkhead_identity_worker
using (expires_at < (now() - '30 days'::interval));
create policy own_end on identity.sessions for update to bulkhead_identity_app
using (user_id = app.current_user_id() and revoked_at is null)
with check (user_id = app.current_user_id() and revoked_at is not null);
create policy own_read on identity.sessions for select to bulkhead_identity_app
using (user_id = app.current_user_id());
create policy owner_right on identity.sessions for all to bulkhead_identity_owner
using (true)
with check (true);
grant select, update (revoked_at, revoked_reason) on identity.sessions to bulkhead_identity_app;
grant
    select,
    insert (session_id, user_id, expires_at, ip, user_agent),
    update (last_seen_at, ip, user_agent, revoked_at, revoked_reason)
on identity.sessions to bulkhead_identity_definer;
grant select (session_id, expires_at), delete on identity.sessions to bulkhead_identity_worker;

-- identity.refresh_tokens

create table identity.refresh_tokens (
    refresh_token_id uuid not null,
    session_id uuid not null,
    parent_id uuid,
    token_hash bytea not null,
    expires_at timestamptz not null,
    created_at timestamptz default now() not null,
    constraint refresh_tokens_pkey primary key (refresh_token_id),
    constraint refresh_tokens_parent_id_key unique (parent_id),
    constraint refresh_tokens_token_hash_key unique (token_hash),
    constraint refresh_tokens_session_id_fkey foreign key (session_id) references identity.sessions(session_id),
    constraint refresh_tokens_parent_id_check check (parent_id <> refresh_token_id),
    constraint refresh_tokens_token_hash_check check (octet_length(token_hash) = 32)
);
comment on table identity.refresh_tokens is
'SHA-256 of each refresh token. Rows never change: a token has been used when another row names it as its parent.';
comment on column identity.refresh_tokens.parent_id is
'The token that was given in for this one; null for the first of a session.';
create index refresh_tokens_expires_at_idx on identity.refresh_tokens (expires_at);
create unique index refresh_tokens_first_key on identity.refresh_tokens (session_id) where parent_id is null;
create index refresh_tokens_session_id_idx on identity.refresh_tokens (session_id);
alter table identity.refresh_tokens enable row level security;
alter table identity.refresh_tokens force row level security;
create policy definer_insert on identity.refresh_tokens for insert to bulkhead_identity_definer
with check (true);
create policy definer_read on identity.refresh_tokens for select to bulkhead_identity_definer
using (true);
create policy expiry_read on identity.refresh_tokens for select to bulkhead_identity_worker
using (true);
create policy expiry_remove on identity.refresh_tokens for delete to bulkhead_identity_worker
using (expires_at < (now() - '1 day'::interval));
create policy owner_right on identity.refresh_tokens for all to bulkhead_identity_owner
using (true)
with check (true);
grant
    select,
    insert (refresh_token_id, session_id, parent_id, token_hash, expires_at)
on identity.refresh_tokens to bulkhead_identity_definer;
grant
    select (refresh_token_id, session_id, expires_at),
    delete
on identity.refresh_tokens to bulkhead_identity_worker;

-- identity.support_entries

create table identity.support_entries (
    tenant_id uuid not null,
    entry_id uuid not null,
    grant_id uuid not null,
    user_id uuid not null,
    created_at timestamptz default now() not null,
    constraint support_entries_pkey primary key (tenant_id, entry_id),
    constraint support_entries_grant_id_fkey
    foreign key (tenant_id, grant_id)
    references identity.support_grants(tenant_id, grant_id),
    constraint support_entries_user_id_fkey
    foreign key (tenant_id, user_id)
    references identity.memberships(tenant_id, user_id)
);
comment on table identity.support_entries is
'Each time somebody came in by a grant; no login reads it, the tenant''s log has it.';
comment on column identity.support_entries.grant_id is
'The grant that let her in.';
comment on column identity.support_entries.user_id is
'The platform administrator.';
create index support_entries_grant_id_idx on identity.support_entries (tenant_id, grant_id);
create index support_entries_user_id_idx on identity.support_entries (tenant_id, user_id);
alter table identity.support_entries enable row level security;
alter table identity.support_entries force row level security;
create policy definer_insert on identity.support_entries for insert to bulkhead_identity_definer
with check (true);
create policy definer_read on identity.support_entries for select to bulkhead_identity_definer
using (true);
create policy owner_right on identity.support_entries for all to bulkhead_identity_owner
using (true)
with check (true);
grant
    select,
    insert (tenant_id, entry_id, grant_id, user_id)
on identity.support_entries to bulkhead_identity_definer;

-- identity.team_members

create table identity.team_members (
    tenant_id uuid not null,
    team_id uuid not null,
    user_id uuid not null,
    is_lead boolean default false not null,
    removed_at timestamptz,
    created_at timestamptz default now() not null,
    created_by uuid,
    updated_at timestamptz default now() not null,
    version integer default 1 not null,
    added_at timestamptz default now() not null,
    constraint team_members_pkey primary key (tenant_id, team_id, user_id),
    constraint team_members_team_id_fkey
    foreign key (tenant_id, team_id)
    references identity.teams(tenant_id, team_id),
    constraint team_members_user_id_fkey
    foreign key (tenant_id, user_id)
    references identity.memberships(tenant_id, user_id),
    constraint team_members_is_lead_check check (not is_lead or removed_at is null)
);
comment on table identity.team_members is
'Who is in which team. A member who leaves the team keeps her row, with the time.';
comment on column identity.team_members.is_lead is
'Leads the team; gives no rights.';
comment on column identity.team_members.removed_at is
'When she left the team; null: she is in it.';
comment on column identity.team_members.added_at is
'When she was added, or added again; set by trigger.';
create index team_members_active_idx on identity.team_members (user_id, tenant_id) where removed_at is null;
create index team_members_user_id_idx on identity.team_members (tenant_id, user_id);
alter table identity.team_members enable row level security;
alter table identity.team_members force row level security;
create policy tenant_wall on identity.team_members as restrictive for all to bulkhead_identity_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy definer_read on identity.team_members for select to bulkhead_identity_definer
using (true);
create policy definer_update on identity.team_members for update to bulkhead_identity_definer
using (true)
with check (true);
create policy insert_right on identity.team_members for insert to bulkhead_identity_app
with check (app.role_level() >= 3);
create policy owner_right on identity.team_members for all to bulkhead_identity_owner
using (true)
with check (true);
create policy read_right on identity.team_members for select to bulkhead_identity_app
using (app.role_level() >= 1);
create policy update_right on identity.team_members for update to bulkhead_identity_app
using (app.role_level() >= 3)
with check (app.role_level() >= 3);
grant
    select,
    insert (tenant_id, team_id, user_id, is_lead),
    update (is_lead, removed_at)
on identity.team_members to bulkhead_identity_app;
grant select, update (is_lead, removed_at) on identity.team_members to bulkhead_identity_definer;

-- identity.tenant_allowances

create table identity.tenant_allowances (
    user_id uuid not null,
    max_tenants integer not null,
    created_at timestamptz default now() not null,
    created_by uuid,
    updated_at timestamptz default now() not null,
    version integer default 1 not null,
    constraint tenant_allowances_pkey primary key (user_id),
    constraint tenant_allowances_user_id_fkey foreign key (user_id) references identity.users(user_id),
    constraint tenant_allowances_max_tenants_check check (max_tenants between 0 and 100000)
);
comment on table identity.tenant_allowances is
'How many tenants a person may have made, where the platform has agreed on another number with them than everybody''s.';
comment on column identity.tenant_allowances.max_tenants is
'Of those they made, the ones that are not deleted for good.';
alter table identity.tenant_allowances enable row level security;
alter table identity.tenant_allowances force row level security;
create policy definer_insert on identity.tenant_allowances for insert to bulkhead_identity_definer
with check (true);
create policy definer_read on identity.tenant_allowances for select to bulkhead_identity_definer
using (true);
create policy definer_update on identity.tenant_allowances for update to bulkhead_identity_definer
using (true)
with check (true);
create policy owner_right on identity.tenant_allowances for all to bulkhead_identity_owner
using (true)
with check (true);
grant
    select,
    insert (user_id, max_tenants),
    update (max_tenants)
on identity.tenant_allowances to bulkhead_identity_definer;

-- identity.user_credentials

create table identity.user_credentials (
    user_id uuid not null,
    password_hash text not null,
    password_changed_at timestamptz default now() not null,
    created_at timestamptz default now() not null,
    created_by uuid,
    updated_at timestamptz default now() not null,
    version integer default 1 not null,
    constraint user_credentials_pkey primary key (user_id),
    constraint user_credentials_user_id_fkey foreign key (user_id) references identity.users(user_id),
    constraint user_credentials_password_hash_check
    check (password_hash ~~ '$argon2id$%' and length(password_hash) <= 200)
);
comment on table identity.user_credentials is
'Password hashes (argon2id in its own notation, with parameters and salt). Of logins only bulkhead_backup reads it.';
comment on column identity.user_credentials.password_hash is
'argon2id, with its parameters and salt.';
comment on column identity.user_credentials.password_changed_at is
'Since when it has been this password.';
alter table identity.user_credentials enable row level security;
alter table identity.user_credentials force row level security;
create policy definer_insert on identity.user_credentials for insert to bulkhead_identity_definer
with check (true);
create policy definer_read on identity.user_credentials for select to bulkhead_identity_definer
using (true);
create policy definer_update on identity.user_credentials for update to bulkhead_identity_definer
using (true)
with check (true);
create policy owner_right on identity.user_credentials for all to bulkhead_identity_owner
using (true)
with check (true);
grant
    select,
    insert (user_id, password_hash),
    update (password_hash, password_changed_at)
on identity.user_credentials to bulkhead_identity_definer;

-- identity.user_profiles

create table identity.user_profiles (
    user_id uuid not null,
    bio text,
    phone text,
    company text,
    department text,
    job_title text,
    time_zone text,
    locale text,
    preferences jsonb default '{}'::jsonb not null,
    is_onboarded boolean default false not null,
    created_at timestamptz default now() not null,
    created_by uuid,
    updated_at timestamptz default now() not null,
    version integer default 1 not null,
    constraint user_profiles_pkey primary key (user_id),
    constraint user_profiles_user_id_fkey foreign key (user_id) references identity.users(user_id),
    constraint user_profiles_bio_check check (length(bio) between 1 and 2000),
    constraint user_profiles_company_check check (length(company) between 1 and 200),
    constraint user_profiles_department_check check (length(department) between 1 and 200),
    constraint user_profiles_job_title_check check (length(job_title) between 1 and 200),
    constraint user_profiles_locale_check
    check (length(locale) <= 35 and locale ~ '^[a-z]{2,3}(-[a-z]{3}){0,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?(-([a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*(-[a-wyz0-9](-[a-z0-9]{2,8})+)*(-x(-[a-z0-9]{1,8})+)?$'),
    constraint user_profiles_phone_check check (phone ~ '^[+]?[0-9(][0-9 ()./-]{2,38}$'),
    constraint user_profiles_preferences_check
    check (jsonb_typeof(preferences) = 'object' and octet_length(preferences::text) <= 16384),
    constraint user_profiles_preferences_depth_check check (not jsonb_path_exists(preferences, '$.**{33}'::jsonpath)),
    constraint user_profiles_time_zone_check check (time_zone ~ '^[A-Za-z][A-Za-z0-9_+/-]{0,63}$')
);
comment on table identity.user_profiles is
'What a person says of herself, made when she first does; seen by her alone. What fellow members see of her is on the membership.';
comment on column identity.user_profiles.bio is
'About her, in her words.';
comment on column identity.user_profiles.phone is
'Digits and what people write between them.';
comment on column identity.user_profiles.company is
'Where she works, as she says it.';
comment on column identity.user_profiles.department is
'In which part of it.';
comment on column identity.user_profiles.job_title is
'As what.';
comment on column identity.user_profiles.time_zone is
'Name in the IANA database, such as Europe/Berlin.';
comment on column identity.user_profiles.locale is
'Language tag of the form of BCP 47, such as de-AT.';
comment on column identity.user_profiles.preferences is
'What clients remember for her.';
comment on column identity.user_profiles.is_onboarded is
'Whether she is done with what clients show to newcomers.';
alter table identity.user_profiles enable row level security;
alter table identity.user_profiles force row level security;
create policy definer_read on identity.user_profiles for select to bulkhead_identity_definer
using (true);
create policy definer_update on identity.user_profiles for update to bulkhead_identity_definer
using (true)
with check (true);
create policy own_change on identity.user_profiles for update to bulkhead_identity_app
using (user_id = app.current_user_id())
with check (user_id = app.current_user_id());
create policy own_read on identity.user_profiles for select to bulkhead_identity_app
using (user_id = app.current_user_id());
create policy own_write on identity.user_profiles for insert to bulkhead_identity_app
with check (user_id = app.current_user_id());
create policy owner_right on identity.user_profiles for all to bulkhead_identity_owner
using (true)
with check (true);
grant
    select,
    insert (user_id, bio, phone, company, department, job_title, time_zone, locale, preferences, is_onboarded),
    update (bio, phone, company, department, job_title, time_zone, locale, preferences, is_onboarded)
on identity.user_profiles to bulkhead_identity_app;
grant
    select (user_id),
    update (bio, phone, company, department, job_title, time_zone, locale, preferences, is_onboarded)
on identity.user_profiles to bulkhead_identity_definer;

create or replace function identity.admit_api_key()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_status text;
    v_role smallint;
    v_live integer;
    v_limit constant integer := 100;
begin
    -- The lock of everything that changes members: the account can not be disabled or lifted meanwhile.
    perform 1 from identity.tenant_usage where tenant_id = new.tenant_id for no key update;
    select m.status, m.role into v_status, v_role from identity.memberships as m
    where m.tenant_id = new.tenant_id and m.user_id = new.user_id and m.kind = 'service';
    if not found then
        perform app.refuse(
            3, 'REFERENCE_NOT_FOUND', 'user_id: no such service account in this tenant', '{"field": "user_id"}'
        );
    elsif v_status <> 'active' then
        perform app.refuse(
            9, 'STATE_NOT_ALLOWED', 'the service account is ' || v_status, jsonb_build_object('state', v_status)
        );
    elsif v_role > app.role_level() then
        perform app.refuse(7, 'ROLE_ABOVE_OWN', 'the service account''s role is above the caller''s own');
    end if;
    select count(*) - 1 into v_live from identity.api_keys as k
    where k.tenant_id = new.tenant_id and k.revoked_at is null and (k.expires_at is null or k.expires_at > now());
    if v_live >= v_limit then
        perform app.refuse(
            8, 'PLAN_LIMIT_REACHED', format('a tenant may have %s keys, %s are in use', v_limit, v_live),
            jsonb_build_object('limit', 'api_keys', 'value', v_limit::text, 'used', v_live::text)
        );
    end if;
    return null;
end
$function$;
revoke all on function identity.admit_api_key() from public;
comment on function identity.admit_api_key() is
'A key is made for an active service account up to the maker''s own role, one of at most 100 live ones. After the row: before it, the wall has not been asked yet, and a refusal would tell of another tenant''s accounts.';

create or replace function identity.admit_to_team()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_kind text;
    v_status text;
begin
    if tg_op = 'UPDATE' then
        new.added_at := old.added_at;
        if new.removed_at is not null or old.removed_at is null then
            return new;
        end if;
    end if;
    -- First the locks, then the look: whoever archives the team or disables the member waits, or is seen.
    perform
        pg_advisory_xact_lock_shared(identity.membership_key(new.tenant_id, new.user_id)),
        pg_advisory_xact_lock_shared(identity.team_key(new.tenant_id, new.team_id));
    if exists (
        select from identity.teams as t
        where t.tenant_id = new.tenant_id and t.team_id = new.team_id and t.archived_at is not null
    ) then
        perform app.refuse(9, 'ARCHIVED', 'the team is archived', '{"resource": "team"}');
    end if;
    select m.kind, m.status into v_kind, v_status from identity.memberships as m
    where m.tenant_id = new.tenant_id and m.user_id = new.user_id;
    if v_status = 'disabled' then
        perform app.refuse(9, 'STATE_NOT_ALLOWED', 'a disabled member joins no team', '{"state": "disabled"}');
    elsif v_kind = 'placeholder' then
        perform app.refuse(9, 'STATE_NOT_ALLOWED', 'a placeholder joins no team', '{"state": "placeholder"}');
    end if;
    new.added_at := now();
    return new;
end
$function$;
revoke all on function identity.admit_to_team() from public;
comment on function identity.admit_to_team() is
'Only an active member who can act joins a team, and only one that is not archived.';

create or replace function identity.capture_api_keys()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r identity.api_keys;
            v_changes jsonb := '{}';
            v_verb text;
        begin
            if tg_op = 'DELETE' then
                -- Erasure: that it happened is kept, what was erased is not.
                r := old;
                v_verb := 'erased';
            elsif tg_op = 'INSERT' then
                r := new;
                v_verb := 'created';
                v_changes := jsonb_build_object('user_id', jsonb_build_array(null, r.user_id), 'display_name', jsonb_build_array(null, r.display_name), 'prefix', jsonb_build_array(null, r.prefix), 'ip_ranges', jsonb_build_array(null, r.ip_ranges)); if r.expires_at is not null then v_changes := v_changes || jsonb_build_object('expire_time', jsonb_build_array(null, app.time_text(r.expires_at))); end if; if r.revoked_at is not null then v_changes := v_changes || jsonb_build_object('revoke_time', jsonb_build_array(null, app.time_text(r.revoked_at))); end if; if r.revoked_by is not null then v_changes := v_changes || jsonb_build_object('revoked_by', jsonb_build_array(null, r.revoked_by)); end if; 
            else
                r := new;
                if r.user_id is distinct from old.user_id then v_changes := v_changes || jsonb_build_object('user_id', jsonb_build_array(old.user_id, r.user_id)); end if; if r.display_name is distinct from old.display_name then v_changes := v_changes || jsonb_build_object('display_name', jsonb_build_array(old.display_name, r.display_name)); end if; if r.prefix is distinct from old.prefix then v_changes := v_changes || jsonb_build_object('prefix', jsonb_build_array(old.prefix, r.prefix)); end if; if r.ip_ranges is distinct from old.ip_ranges then v_changes := v_changes || jsonb_build_object('ip_ranges', jsonb_build_array(old.ip_ranges, r.ip_ranges)); end if; if r.expires_at is distinct from old.expires_at then v_changes := v_changes || jsonb_build_object('expire_time', jsonb_build_array(app.time_text(old.expires_at), app.time_text(r.expires_at))); end if; if r.revoked_at is distinct from old.revoked_at then v_changes := v_changes || jsonb_build_object('revoke_time', jsonb_build_array(app.time_text(old.revoked_at), app.time_text(r.revoked_at))); end if; if r.revoked_by is distinct from old.revoked_by then v_changes := v_changes || jsonb_build_object('revoked_by', jsonb_build_array(old.revoked_by, r.revoked_by)); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := case when r.revoked_at is not null and old.revoked_at is null then 'revoked' when r.revoked_at is null and old.revoked_at is not null then 'granted' else 'updated' end;
            end if;
            insert into identity.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                r.tenant_id, 'api_key' || '.' || v_verb, 'api_key', r.api_key_id, null::uuid, null::uuid, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function identity.capture_api_keys() from public;
comment on function identity.capture_api_keys() is
'Capture: leaves an outbox row for every change of identity.api_keys.';

create or replace function identity.capture_invitations()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r identity.invitations;
            v_changes jsonb := '{}';
            v_verb text;
        begin
            if tg_op = 'DELETE' then
                -- Erasure: that it happened is kept, what was erased is not.
                r := old;
                v_verb := 'erased';
            elsif tg_op = 'INSERT' then
                r := new;
                v_verb := 'created';
                v_changes := jsonb_build_object('role', jsonb_build_array(null, case r.role when '1' then 'ROLE_VIEWER' when '2' then 'ROLE_MEMBER' when '3' then 'ROLE_MANAGER' when '4' then 'ROLE_ADMIN' when '5' then 'ROLE_OWNER' else r.role::text end), 'state', jsonb_build_array(null, case r.status when 'open' then 'STATE_OPEN' when 'expired' then 'STATE_EXPIRED' when 'revoked' then 'STATE_REVOKED' when 'accepted' then 'STATE_ACCEPTED' else r.status::text end), 'expire_time', jsonb_build_array(null, app.time_text(r.expires_at))); if r.email is not null then v_changes := v_changes || jsonb_build_object('email', jsonb_build_array(null, r.email)); end if; if r.accepted_at is not null then v_changes := v_changes || jsonb_build_object('accept_time', jsonb_build_array(null, app.time_text(r.accepted_at))); end if; if r.accepted_by is not null then v_changes := v_changes || jsonb_build_object('accepted_by', jsonb_build_array(null, r.accepted_by)); end if; if r.revoked_at is not null then v_changes := v_changes || jsonb_build_object('revoke_time', jsonb_build_array(null, app.time_text(r.revoked_at))); end if; if r.revoked_by is not null then v_changes := v_changes || jsonb_build_object('revoked_by', jsonb_build_array(null, r.revoked_by)); end if; 
            else
                r := new;
                if r.email is distinct from old.email then v_changes := v_changes || jsonb_build_object('email', jsonb_build_array(old.email, r.email)); end if; if r.role is distinct from old.role then v_changes := v_changes || jsonb_build_object('role', jsonb_build_array(case old.role when '1' then 'ROLE_VIEWER' when '2' then 'ROLE_MEMBER' when '3' then 'ROLE_MANAGER' when '4' then 'ROLE_ADMIN' when '5' then 'ROLE_OWNER' else old.role::text end, case r.role when '1' then 'ROLE_VIEWER' when '2' then 'ROLE_MEMBER' when '3' then 'ROLE_MANAGER' when '4' then 'ROLE_ADMIN' when '5' then 'ROLE_OWNER' else r.role::text end)); end if; if r.status is distinct from old.status then v_changes := v_changes || jsonb_build_object('state', jsonb_build_array(case old.status when 'open' then 'STATE_OPEN' when 'expired' then 'STATE_EXPIRED' when 'revoked' then 'STATE_REVOKED' when 'accepted' then 'STATE_ACCEPTED' else old.status::text end, case r.status when 'open' then 'STATE_OPEN' when 'expired' then 'STATE_EXPIRED' when 'revoked' then 'STATE_REVOKED' when 'accepted' then 'STATE_ACCEPTED' else r.status::text end)); end if; if r.expires_at is distinct from old.expires_at then v_changes := v_changes || jsonb_build_object('expire_time', jsonb_build_array(app.time_text(old.expires_at), app.time_text(r.expires_at))); end if; if r.accepted_at is distinct from old.accepted_at then v_changes := v_changes || jsonb_build_object('accept_time', jsonb_build_array(app.time_text(old.accepted_at), app.time_text(r.accepted_at))); end if; if r.accepted_by is distinct from old.accepted_by then v_changes := v_changes || jsonb_build_object('accepted_by', jsonb_build_array(old.accepted_by, r.accepted_by)); end if; if r.revoked_at is distinct from old.revoked_at then v_changes := v_changes || jsonb_build_object('revoke_time', jsonb_build_array(app.time_text(old.revoked_at), app.time_text(r.revoked_at))); end if; if r.revoked_by is distinct from old.revoked_by then v_changes := v_changes || jsonb_build_object('revoked_by', jsonb_build_array(old.revoked_by, r.revoked_by)); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := case when r.revoked_at is not null and old.revoked_at is null then 'revoked' when r.revoked_at is null and old.revoked_at is not null then 'granted' else 'updated' end;
            end if;
            insert into identity.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                r.tenant_id, 'invitation' || '.' || v_verb, 'invitation', r.invitation_id, null::uuid, null::uuid, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function identity.capture_invitations() from public;
comment on function identity.capture_invitations() is
'Capture: leaves an outbox row for every change of identity.invitations.';

create or replace function identity.capture_mail_asks()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r identity.mail_asks;
            v_changes jsonb := '{}';
            v_verb text;
        begin
            if tg_op = 'DELETE' then
                -- Erasure: that it happened is kept, what was erased is not.
                r := old;
                v_verb := 'erased';
            elsif tg_op = 'INSERT' then
                r := new;
                v_verb := 'created';
                v_changes := jsonb_build_object('purpose', jsonb_build_array(null, r.purpose), 'email', jsonb_build_array(null, r.email)); 
            else
                r := new;
                if r.purpose is distinct from old.purpose then v_changes := v_changes || jsonb_build_object('purpose', jsonb_build_array(old.purpose, r.purpose)); end if; if r.email is distinct from old.email then v_changes := v_changes || jsonb_build_object('email', jsonb_build_array(old.email, r.email)); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := 'updated';
            end if;
            insert into identity.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                app.platform_log_id(), 'mail_ask' || '.' || v_verb, 'mail_ask', r.ask_id, null::uuid, null::uuid, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function identity.capture_mail_asks() from public;
comment on function identity.capture_mail_asks() is
'Capture: leaves an outbox row for every change of identity.mail_asks.';

create or replace function identity.capture_memberships()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r identity.memberships;
            v_changes jsonb := '{}';
            v_verb text;
        begin
            if tg_op = 'DELETE' then
                -- Erasure: that it happened is kept, what was erased is not.
                r := old;
                v_verb := 'erased';
            elsif tg_op = 'INSERT' then
                r := new;
                v_verb := 'created';
                v_changes := jsonb_build_object('kind', jsonb_build_array(null, case r.kind when 'person' then 'KIND_PERSON' when 'service' then 'KIND_SERVICE_ACCOUNT' when 'placeholder' then 'KIND_PLACEHOLDER' else r.kind::text end), 'role', jsonb_build_array(null, case r.role when '1' then 'ROLE_VIEWER' when '2' then 'ROLE_MEMBER' when '3' then 'ROLE_MANAGER' when '4' then 'ROLE_ADMIN' when '5' then 'ROLE_OWNER' else r.role::text end), 'state', jsonb_build_array(null, case r.status when 'active' then 'STATE_ACTIVE' when 'disabled' then 'STATE_DISABLED' else r.status::text end), 'display_name', jsonb_build_array(null, r.display_name), 'join_time', jsonb_build_array(null, app.time_text(r.joined_at))); if r.avatar_url is not null then v_changes := v_changes || jsonb_build_object('avatar_url', jsonb_build_array(null, r.avatar_url)); end if; if r.disabled_at is not null then v_changes := v_changes || jsonb_build_object('disable_time', jsonb_build_array(null, app.time_text(r.disabled_at))); end if; if r.disabled_by is not null then v_changes := v_changes || jsonb_build_object('disabled_by', jsonb_build_array(null, r.disabled_by)); end if; if r.external_source is not null then v_changes := v_changes || jsonb_build_object('external_source', jsonb_build_array(null, r.external_source)); end if; if r.external_id is not null then v_changes := v_changes || jsonb_build_object('external_id', jsonb_build_array(null, r.external_id)); end if; if r.left_at is not null then v_changes := v_changes || jsonb_build_object('leave_time', jsonb_build_array(null, app.time_text(r.left_at))); end if; if r.support_until is not null then v_changes := v_changes || jsonb_build_object('support_end_time', jsonb_build_array(null, app.time_text(r.support_until))); end if; 
            else
                r := new;
                if r.kind is distinct from old.kind then v_changes := v_changes || jsonb_build_object('kind', jsonb_build_array(case old.kind when 'person' then 'KIND_PERSON' when 'service' then 'KIND_SERVICE_ACCOUNT' when 'placeholder' then 'KIND_PLACEHOLDER' else old.kind::text end, case r.kind when 'person' then 'KIND_PERSON' when 'service' then 'KIND_SERVICE_ACCOUNT' when 'placeholder' then 'KIND_PLACEHOLDER' else r.kind::text end)); end if; if r.role is distinct from old.role then v_changes := v_changes || jsonb_build_object('role', jsonb_build_array(case old.role when '1' then 'ROLE_VIEWER' when '2' then 'ROLE_MEMBER' when '3' then 'ROLE_MANAGER' when '4' then 'ROLE_ADMIN' when '5' then 'ROLE_OWNER' else old.role::text end, case r.role when '1' then 'ROLE_VIEWER' when '2' then 'ROLE_MEMBER' when '3' then 'ROLE_MANAGER' when '4' then 'ROLE_ADMIN' when '5' then 'ROLE_OWNER' else r.role::text end)); end if; if r.status is distinct from old.status then v_changes := v_changes || jsonb_build_object('state', jsonb_build_array(case old.status when 'active' then 'STATE_ACTIVE' when 'disabled' then 'STATE_DISABLED' else old.status::text end, case r.status when 'active' then 'STATE_ACTIVE' when 'disabled' then 'STATE_DISABLED' else r.status::text end)); end if; if r.display_name is distinct from old.display_name then v_changes := v_changes || jsonb_build_object('display_name', jsonb_build_array(old.display_name, r.display_name)); end if; if r.avatar_url is distinct from old.avatar_url then v_changes := v_changes || jsonb_build_object('avatar_url', jsonb_build_array(old.avatar_url, r.avatar_url)); end if; if r.joined_at is distinct from old.joined_at then v_changes := v_changes || jsonb_build_object('join_time', jsonb_build_array(app.time_text(old.joined_at), app.time_text(r.joined_at))); end if; if r.disabled_at is distinct from old.disabled_at then v_changes := v_changes || jsonb_build_object('disable_time', jsonb_build_array(app.time_text(old.disabled_at), app.time_text(r.disabled_at))); end if; if r.disabled_by is distinct from old.disabled_by then v_changes := v_changes || jsonb_build_object('disabled_by', jsonb_build_array(old.disabled_by, r.disabled_by)); end if; if r.external_source is distinct from old.external_source then v_changes := v_changes || jsonb_build_object('external_source', jsonb_build_array(old.external_source, r.external_source)); end if; if r.external_id is distinct from old.external_id then v_changes := v_changes || jsonb_build_object('external_id', jsonb_build_array(old.external_id, r.external_id)); end if; if r.left_at is distinct from old.left_at then v_changes := v_changes || jsonb_build_object('leave_time', jsonb_build_array(app.time_text(old.left_at), app.time_text(r.left_at))); end if; if r.support_until is distinct from old.support_until then v_changes := v_changes || jsonb_build_object('support_end_time', jsonb_build_array(app.time_text(old.support_until), app.time_text(r.support_until))); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := 'updated';
            end if;
            insert into identity.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                r.tenant_id, 'member' || '.' || v_verb, 'member', r.user_id, null::uuid, null::uuid, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function identity.capture_memberships() from public;
comment on function identity.capture_memberships() is
'Capture: leaves an outbox row for every change of identity.memberships.';

create or replace function identity.capture_one_time_tokens()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r identity.one_time_tokens;
            v_changes jsonb := '{}';
            v_verb text;
        begin
            if tg_op = 'DELETE' then
                -- Erasure: that it happened is kept, what was erased is not.
                r := old;
                v_verb := 'erased';
            elsif tg_op = 'INSERT' then
                r := new;
                v_verb := 'created';
                v_changes := jsonb_build_object('purpose', jsonb_build_array(null, r.purpose), 'user_id', jsonb_build_array(null, r.user_id), 'expire_time', jsonb_build_array(null, app.time_text(r.expires_at)), 'attempts', jsonb_build_array(null, r.attempts)); if r.used_at is not null then v_changes := v_changes || jsonb_build_object('use_time', jsonb_build_array(null, app.time_text(r.used_at))); end if; if r.revoked_at is not null then v_changes := v_changes || jsonb_build_object('revoke_time', jsonb_build_array(null, app.time_text(r.revoked_at))); end if; 
            else
                r := new;
                if r.purpose is distinct from old.purpose then v_changes := v_changes || jsonb_build_object('purpose', jsonb_build_array(old.purpose, r.purpose)); end if; if r.user_id is distinct from old.user_id then v_changes := v_changes || jsonb_build_object('user_id', jsonb_build_array(old.user_id, r.user_id)); end if; if r.expires_at is distinct from old.expires_at then v_changes := v_changes || jsonb_build_object('expire_time', jsonb_build_array(app.time_text(old.expires_at), app.time_text(r.expires_at))); end if; if r.attempts is distinct from old.attempts then v_changes := v_changes || jsonb_build_object('attempts', jsonb_build_array(old.attempts, r.attempts)); end if; if r.used_at is distinct from old.used_at then v_changes := v_changes || jsonb_build_object('use_time', jsonb_build_array(app.time_text(old.used_at), app.time_text(r.used_at))); end if; if r.revoked_at is distinct from old.revoked_at then v_changes := v_changes || jsonb_build_object('revoke_time', jsonb_build_array(app.time_text(old.revoked_at), app.time_text(r.revoked_at))); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := case when r.revoked_at is not null and old.revoked_at is null then 'revoked' when r.revoked_at is null and old.revoked_at is not null then 'granted' else 'updated' end;
            end if;
            insert into identity.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                app.platform_log_id(), 'one_time_token' || '.' || v_verb, 'one_time_token', r.token_id, null::uuid, null::uuid, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function identity.capture_one_time_tokens() from public;
comment on function identity.capture_one_time_tokens() is
'Capture: leaves an outbox row for every change of identity.one_time_tokens.';

create or replace function identity.capture_plans()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r identity.plans;
            v_changes jsonb := '{}';
            v_verb text;
        begin
            if tg_op = 'DELETE' then
                -- Erasure: that it happened is kept, what was erased is not.
                r := old;
                v_verb := 'erased';
            elsif tg_op = 'INSERT' then
                r := new;
                v_verb := 'created';
                v_changes := jsonb_build_object('code', jsonb_build_array(null, r.code), 'name', jsonb_build_array(null, r.name)); if r.max_users is not null then v_changes := v_changes || jsonb_build_object('max_users', jsonb_build_array(null, r.max_users)); end if; if r.max_projects is not null then v_changes := v_changes || jsonb_build_object('max_projects', jsonb_build_array(null, r.max_projects)); end if; if r.max_storage_bytes is not null then v_changes := v_changes || jsonb_build_object('max_storage_bytes', jsonb_build_array(null, r.max_storage_bytes)); end if; 
            else
                r := new;
                if r.code is distinct from old.code then v_changes := v_changes || jsonb_build_object('code', jsonb_build_array(old.code, r.code)); end if; if r.name is distinct from old.name then v_changes := v_changes || jsonb_build_object('name', jsonb_build_array(old.name, r.name)); end if; if r.max_users is distinct from old.max_users then v_changes := v_changes || jsonb_build_object('max_users', jsonb_build_array(old.max_users, r.max_users)); end if; if r.max_projects is distinct from old.max_projects then v_changes := v_changes || jsonb_build_object('max_projects', jsonb_build_array(old.max_projects, r.max_projects)); end if; if r.max_storage_bytes is distinct from old.max_storage_bytes then v_changes := v_changes || jsonb_build_object('max_storage_bytes', jsonb_build_array(old.max_storage_bytes, r.max_storage_bytes)); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := 'updated';
            end if;
            insert into identity.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                app.platform_log_id(), 'plan' || '.' || v_verb, 'plan', r.plan_id, null::uuid, null::uuid, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function identity.capture_plans() from public;
comment on function identity.capture_plans() is
'Capture: leaves an outbox row for every change of identity.plans.';

create or replace function identity.capture_refresh_tokens()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r identity.refresh_tokens;
            v_changes jsonb := '{}';
            v_verb text;
        begin
            if tg_op = 'DELETE' then
                -- Erasure: that it happened is kept, what was erased is not.
                r := old;
                v_verb := 'erased';
            elsif tg_op = 'INSERT' then
                r := new;
                v_verb := 'created';
                v_changes := jsonb_build_object('session_id', jsonb_build_array(null, r.session_id), 'expire_time', jsonb_build_array(null, app.time_text(r.expires_at))); if r.parent_id is not null then v_changes := v_changes || jsonb_build_object('parent_id', jsonb_build_array(null, r.parent_id)); end if; 
            else
                r := new;
                if r.session_id is distinct from old.session_id then v_changes := v_changes || jsonb_build_object('session_id', jsonb_build_array(old.session_id, r.session_id)); end if; if r.parent_id is distinct from old.parent_id then v_changes := v_changes || jsonb_build_object('parent_id', jsonb_build_array(old.parent_id, r.parent_id)); end if; if r.expires_at is distinct from old.expires_at then v_changes := v_changes || jsonb_build_object('expire_time', jsonb_build_array(app.time_text(old.expires_at), app.time_text(r.expires_at))); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := 'updated';
            end if;
            insert into identity.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                app.platform_log_id(), 'refresh_token' || '.' || v_verb, 'refresh_token', r.refresh_token_id, null::uuid, null::uuid, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function identity.capture_refresh_tokens() from public;
comment on function identity.capture_refresh_tokens() is
'Capture: leaves an outbox row for every change of identity.refresh_tokens.';

create or replace function identity.capture_sessions()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r identity.sessions;
            v_changes jsonb := '{}';
            v_verb text;
        begin
            if tg_op = 'DELETE' then
                -- Erasure: that it happened is kept, what was erased is not.
                r := old;
                v_verb := 'erased';
            elsif tg_op = 'INSERT' then
                r := new;
                v_verb := 'created';
                v_changes := jsonb_build_object('user_id', jsonb_build_array(null, r.user_id), 'expire_time', jsonb_build_array(null, app.time_text(r.expires_at))); if r.ip is not null then v_changes := v_changes || jsonb_build_object('ip', jsonb_build_array(null, r.ip)); end if; if r.user_agent is not null then v_changes := v_changes || jsonb_build_object('user_agent', jsonb_build_array(null, r.user_agent)); end if; if r.revoked_at is not null then v_changes := v_changes || jsonb_build_object('revoke_time', jsonb_build_array(null, app.time_text(r.revoked_at))); end if; if r.revoked_reason is not null then v_changes := v_changes || jsonb_build_object('revoke_reason', jsonb_build_array(null, r.revoked_reason)); end if; 
            else
                r := new;
                if r.user_id is distinct from old.user_id then v_changes := v_changes || jsonb_build_object('user_id', jsonb_build_array(old.user_id, r.user_id)); end if; if r.expires_at is distinct from old.expires_at then v_changes := v_changes || jsonb_build_object('expire_time', jsonb_build_array(app.time_text(old.expires_at), app.time_text(r.expires_at))); end if; if r.ip is distinct from old.ip then v_changes := v_changes || jsonb_build_object('ip', jsonb_build_array(old.ip, r.ip)); end if; if r.user_agent is distinct from old.user_agent then v_changes := v_changes || jsonb_build_object('user_agent', jsonb_build_array(old.user_agent, r.user_agent)); end if; if r.revoked_at is distinct from old.revoked_at then v_changes := v_changes || jsonb_build_object('revoke_time', jsonb_build_array(app.time_text(old.revoked_at), app.time_text(r.revoked_at))); end if; if r.revoked_reason is distinct from old.revoked_reason then v_changes := v_changes || jsonb_build_object('revoke_reason', jsonb_build_array(old.revoked_reason, r.revoked_reason)); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := case when r.revoked_at is not null and old.revoked_at is null then 'revoked' when r.revoked_at is null and old.revoked_at is not null then 'granted' else 'updated' end;
            end if;
            insert into identity.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                app.platform_log_id(), 'session' || '.' || v_verb, 'session', r.session_id, null::uuid, null::uuid, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function identity.capture_sessions() from public;
comment on function identity.capture_sessions() is
'Capture: leaves an outbox row for every change of identity.sessions.';

create or replace function identity.capture_support_entries()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r identity.support_entries;
            v_changes jsonb := '{}';
            v_verb text;
        begin
            if tg_op = 'DELETE' then
                -- Erasure: that it happened is kept, what was erased is not.
                r := old;
                v_verb := 'erased';
            elsif tg_op = 'INSERT' then
                r := new;
                v_verb := 'created';
                v_changes := jsonb_build_object('grant_id', jsonb_build_array(null, r.grant_id), 'user_id', jsonb_build_array(null, r.user_id)); 
            else
                r := new;
                if r.grant_id is distinct from old.grant_id then v_changes := v_changes || jsonb_build_object('grant_id', jsonb_build_array(old.grant_id, r.grant_id)); end if; if r.user_id is distinct from old.user_id then v_changes := v_changes || jsonb_build_object('user_id', jsonb_build_array(old.user_id, r.user_id)); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := 'updated';
            end if;
            insert into identity.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                r.tenant_id, 'support_entry' || '.' || v_verb, 'support_entry', r.entry_id, null::uuid, null::uuid, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function identity.capture_support_entries() from public;
comment on function identity.capture_support_entries() is
'Capture: leaves an outbox row for every change of identity.support_entries.';

create or replace function identity.capture_support_grants()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r identity.support_grants;
            v_changes jsonb := '{}';
            v_verb text;
        begin
            if tg_op = 'DELETE' then
                -- Erasure: that it happened is kept, what was erased is not.
                r := old;
                v_verb := 'erased';
            elsif tg_op = 'INSERT' then
                r := new;
                v_verb := 'created';
                v_changes := jsonb_build_object('role', jsonb_build_array(null, case r.role when '1' then 'ROLE_VIEWER' when '2' then 'ROLE_MEMBER' when '3' then 'ROLE_MANAGER' when '4' then 'ROLE_ADMIN' when '5' then 'ROLE_OWNER' else r.role::text end), 'reason', jsonb_build_array(null, r.reason), 'expire_time', jsonb_build_array(null, app.time_text(r.expires_at))); if r.revoked_at is not null then v_changes := v_changes || jsonb_build_object('revoke_time', jsonb_build_array(null, app.time_text(r.revoked_at))); end if; if r.revoked_by is not null then v_changes := v_changes || jsonb_build_object('revoked_by', jsonb_build_array(null, r.revoked_by)); end if; 
            else
                r := new;
                if r.role is distinct from old.role then v_changes := v_changes || jsonb_build_object('role', jsonb_build_array(case old.role when '1' then 'ROLE_VIEWER' when '2' then 'ROLE_MEMBER' when '3' then 'ROLE_MANAGER' when '4' then 'ROLE_ADMIN' when '5' then 'ROLE_OWNER' else old.role::text end, case r.role when '1' then 'ROLE_VIEWER' when '2' then 'ROLE_MEMBER' when '3' then 'ROLE_MANAGER' when '4' then 'ROLE_ADMIN' when '5' then 'ROLE_OWNER' else r.role::text end)); end if; if r.reason is distinct from old.reason then v_changes := v_changes || jsonb_build_object('reason', jsonb_build_array(old.reason, r.reason)); end if; if r.expires_at is distinct from old.expires_at then v_changes := v_changes || jsonb_build_object('expire_time', jsonb_build_array(app.time_text(old.expires_at), app.time_text(r.expires_at))); end if; if r.revoked_at is distinct from old.revoked_at then v_changes := v_changes || jsonb_build_object('revoke_time', jsonb_build_array(app.time_text(old.revoked_at), app.time_text(r.revoked_at))); end if; if r.revoked_by is distinct from old.revoked_by then v_changes := v_changes || jsonb_build_object('revoked_by', jsonb_build_array(old.revoked_by, r.revoked_by)); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := case when r.revoked_at is not null and old.revoked_at is null then 'revoked' when r.revoked_at is null and old.revoked_at is not null then 'granted' else 'updated' end;
            end if;
            insert into identity.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                r.tenant_id, 'support_grant' || '.' || v_verb, 'support_grant', r.grant_id, null::uuid, null::uuid, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function identity.capture_support_grants() from public;
comment on function identity.capture_support_grants() is
'Capture: leaves an outbox row for every change of identity.support_grants.';

create or replace function identity.capture_team_members()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r identity.team_members;
            v_changes jsonb := '{}';
            v_verb text;
        begin
            if tg_op = 'DELETE' then
                -- Erasure: that it happened is kept, what was erased is not.
                r := old;
                v_verb := 'erased';
            elsif tg_op = 'INSERT' then
                r := new;
                v_verb := 'created';
                v_changes := jsonb_build_object('is_lead', jsonb_build_array(null, r.is_lead), 'add_time', jsonb_build_array(null, app.time_text(r.added_at))); if r.removed_at is not null then v_changes := v_changes || jsonb_build_object('remove_time', jsonb_build_array(null, app.time_text(r.removed_at))); end if; 
            else
                r := new;
                if r.is_lead is distinct from old.is_lead then v_changes := v_changes || jsonb_build_object('is_lead', jsonb_build_array(old.is_lead, r.is_lead)); end if; if r.removed_at is distinct from old.removed_at then v_changes := v_changes || jsonb_build_object('remove_time', jsonb_build_array(app.time_text(old.removed_at), app.time_text(r.removed_at))); end if; if r.added_at is distinct from old.added_at then v_changes := v_changes || jsonb_build_object('add_time', jsonb_build_array(app.time_text(old.added_at), app.time_text(r.added_at))); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := case when r.removed_at is not null and old.removed_at is null then 'removed' when r.removed_at is null and old.removed_at is not null then 'added' else 'updated' end;
            end if;
            insert into identity.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                r.tenant_id, 'team_member' || '.' || v_verb, 'team_member', r.team_id, r.user_id, null::uuid, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function identity.capture_team_members() from public;
comment on function identity.capture_team_members() is
'Capture: leaves an outbox row for every change of identity.team_members.';

create or replace function identity.capture_teams()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r identity.teams;
            v_changes jsonb := '{}';
            v_verb text;
        begin
            if tg_op = 'DELETE' then
                -- Erasure: that it happened is kept, what was erased is not.
                r := old;
                v_verb := 'erased';
            elsif tg_op = 'INSERT' then
                r := new;
                v_verb := 'created';
                v_changes := jsonb_build_object('name', jsonb_build_array(null, r.name), 'description', jsonb_build_array(null, r.description)); if r.archived_at is not null then v_changes := v_changes || jsonb_build_object('archive_time', jsonb_build_array(null, app.time_text(r.archived_at))); end if; 
            else
                r := new;
                if r.name is distinct from old.name then v_changes := v_changes || jsonb_build_object('name', jsonb_build_array(old.name, r.name)); end if; if r.description is distinct from old.description then v_changes := v_changes || jsonb_build_object('description', jsonb_build_array(old.description, r.description)); end if; if r.archived_at is distinct from old.archived_at then v_changes := v_changes || jsonb_build_object('archive_time', jsonb_build_array(app.time_text(old.archived_at), app.time_text(r.archived_at))); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := case when r.archived_at is not null and old.archived_at is null then 'archived' when r.archived_at is null and old.archived_at is not null then 'unarchived' else 'updated' end;
            end if;
            insert into identity.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                r.tenant_id, 'team' || '.' || v_verb, 'team', r.team_id, null::uuid, null::uuid, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function identity.capture_teams() from public;
comment on function identity.capture_teams() is
'Capture: leaves an outbox row for every change of identity.teams.';

create or replace function identity.capture_tenant_allowances()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r identity.tenant_allowances;
            v_changes jsonb := '{}';
            v_verb text;
        begin
            if tg_op = 'DELETE' then
                -- Erasure: that it happened is kept, what was erased is not.
                r := old;
                v_verb := 'erased';
            elsif tg_op = 'INSERT' then
                r := new;
                v_verb := 'created';
                v_changes := jsonb_build_object('max_tenants', jsonb_build_array(null, r.max_tenants)); 
            else
                r := new;
                if r.max_tenants is distinct from old.max_tenants then v_changes := v_changes || jsonb_build_object('max_tenants', jsonb_build_array(old.max_tenants, r.max_tenants)); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := 'updated';
            end if;
            insert into identity.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                app.platform_log_id(), 'tenant_allowance' || '.' || v_verb, 'tenant_allowance', r.user_id, null::uuid, null::uuid, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function identity.capture_tenant_allowances() from public;
comment on function identity.capture_tenant_allowances() is
'Capture: leaves an outbox row for every change of identity.tenant_allowances.';

create or replace function identity.capture_tenants()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r identity.tenants;
            v_changes jsonb := '{}';
            v_verb text;
        begin
            if tg_op = 'DELETE' then
                -- Erasure: that it happened is kept, what was erased is not.
                r := old;
                v_verb := 'erased';
            elsif tg_op = 'INSERT' then
                r := new;
                v_verb := 'created';
                v_changes := jsonb_build_object('slug', jsonb_build_array(null, r.slug), 'name', jsonb_build_array(null, r.name), 'state', jsonb_build_array(null, case r.status when 'active' then 'STATE_ACTIVE' when 'deleted' then 'STATE_DELETED' when 'suspended' then 'STATE_SUSPENDED' else r.status::text end), 'plan_code', jsonb_build_array(null, r.plan_code), 'branding', jsonb_build_array(null, r.branding), 'settings', jsonb_build_array(null, r.settings), 'description', jsonb_build_array(null, r.description)); if r.domain is not null then v_changes := v_changes || jsonb_build_object('domain', jsonb_build_array(null, r.domain)); end if; if r.status_reason is not null then v_changes := v_changes || jsonb_build_object('state_reason', jsonb_build_array(null, r.status_reason)); end if; if r.status_changed_at is not null then v_changes := v_changes || jsonb_build_object('state_change_time', jsonb_build_array(null, app.time_text(r.status_changed_at))); end if; if r.status_changed_by is not null then v_changes := v_changes || jsonb_build_object('state_changed_by', jsonb_build_array(null, r.status_changed_by)); end if; if r.max_users_override is not null then v_changes := v_changes || jsonb_build_object('overrides.max_users', jsonb_build_array(null, r.max_users_override)); end if; if r.max_projects_override is not null then v_changes := v_changes || jsonb_build_object('overrides.max_projects', jsonb_build_array(null, r.max_projects_override)); end if; if r.max_storage_bytes_override is not null then v_changes := v_changes || jsonb_build_object('overrides.max_storage_bytes', jsonb_build_array(null, r.max_storage_bytes_override)); end if; if r.logo_url is not null then v_changes := v_changes || jsonb_build_object('logo_url', jsonb_build_array(null, r.logo_url)); end if; if r.website_url is not null then v_changes := v_changes || jsonb_build_object('website_url', jsonb_build_array(null, r.website_url)); end if; if r.industry is not null then v_changes := v_changes || jsonb_build_object('industry', jsonb_build_array(null, r.industry)); end if; if r.size is not null then v_changes := v_changes || jsonb_build_object('size', jsonb_build_array(null, case r.size when '1-10' then 'SIZE_1_TO_10' when '1001+' then 'SIZE_OVER_1000' when '11-50' then 'SIZE_11_TO_50' when '51-200' then 'SIZE_51_TO_200' when '201-1000' then 'SIZE_201_TO_1000' else r.size::text end)); end if; if r.deleted_at is not null then v_changes := v_changes || jsonb_build_object('delete_time', jsonb_build_array(null, app.time_text(r.deleted_at))); end if; if r.purge_after is not null then v_changes := v_changes || jsonb_build_object('purge_time', jsonb_build_array(null, app.time_text(r.purge_after))); end if; 
            else
                r := new;
                if r.slug is distinct from old.slug then v_changes := v_changes || jsonb_build_object('slug', jsonb_build_array(old.slug, r.slug)); end if; if r.name is distinct from old.name then v_changes := v_changes || jsonb_build_object('name', jsonb_build_array(old.name, r.name)); end if; if r.domain is distinct from old.domain then v_changes := v_changes || jsonb_build_object('domain', jsonb_build_array(old.domain, r.domain)); end if; if r.status is distinct from old.status then v_changes := v_changes || jsonb_build_object('state', jsonb_build_array(case old.status when 'active' then 'STATE_ACTIVE' when 'deleted' then 'STATE_DELETED' when 'suspended' then 'STATE_SUSPENDED' else old.status::text end, case r.status when 'active' then 'STATE_ACTIVE' when 'deleted' then 'STATE_DELETED' when 'suspended' then 'STATE_SUSPENDED' else r.status::text end)); end if; if r.status_reason is distinct from old.status_reason then v_changes := v_changes || jsonb_build_object('state_reason', jsonb_build_array(old.status_reason, r.status_reason)); end if; if r.status_changed_at is distinct from old.status_changed_at then v_changes := v_changes || jsonb_build_object('state_change_time', jsonb_build_array(app.time_text(old.status_changed_at), app.time_text(r.status_changed_at))); end if; if r.status_changed_by is distinct from old.status_changed_by then v_changes := v_changes || jsonb_build_object('state_changed_by', jsonb_build_array(old.status_changed_by, r.status_changed_by)); end if; if r.plan_code is distinct from old.plan_code then v_changes := v_changes || jsonb_build_object('plan_code', jsonb_build_array(old.plan_code, r.plan_code)); end if; if r.max_users_override is distinct from old.max_users_override then v_changes := v_changes || jsonb_build_object('overrides.max_users', jsonb_build_array(old.max_users_override, r.max_users_override)); end if; if r.max_projects_override is distinct from old.max_projects_override then v_changes := v_changes || jsonb_build_object('overrides.max_projects', jsonb_build_array(old.max_projects_override, r.max_projects_override)); end if; if r.max_storage_bytes_override is distinct from old.max_storage_bytes_override then v_changes := v_changes || jsonb_build_object('overrides.max_storage_bytes', jsonb_build_array(old.max_storage_bytes_override, r.max_storage_bytes_override)); end if; if r.branding is distinct from old.branding then v_changes := v_changes || jsonb_build_object('branding', jsonb_build_array(old.branding, r.branding)); end if; if r.settings is distinct from old.settings then v_changes := v_changes || jsonb_build_object('settings', jsonb_build_array(old.settings, r.settings)); end if; if r.description is distinct from old.description then v_changes := v_changes || jsonb_build_object('description', jsonb_build_array(old.description, r.description)); end if; if r.logo_url is distinct from old.logo_url then v_changes := v_changes || jsonb_build_object('logo_url', jsonb_build_array(old.logo_url, r.logo_url)); end if; if r.website_url is distinct from old.website_url then v_changes := v_changes || jsonb_build_object('website_url', jsonb_build_array(old.website_url, r.website_url)); end if; if r.industry is distinct from old.industry then v_changes := v_changes || jsonb_build_object('industry', jsonb_build_array(old.industry, r.industry)); end if; if r.size is distinct from old.size then v_changes := v_changes || jsonb_build_object('size', jsonb_build_array(case old.size when '1-10' then 'SIZE_1_TO_10' when '1001+' then 'SIZE_OVER_1000' when '11-50' then 'SIZE_11_TO_50' when '51-200' then 'SIZE_51_TO_200' when '201-1000' then 'SIZE_201_TO_1000' else old.size::text end, case r.size when '1-10' then 'SIZE_1_TO_10' when '1001+' then 'SIZE_OVER_1000' when '11-50' then 'SIZE_11_TO_50' when '51-200' then 'SIZE_51_TO_200' when '201-1000' then 'SIZE_201_TO_1000' else r.size::text end)); end if; if r.deleted_at is distinct from old.deleted_at then v_changes := v_changes || jsonb_build_object('delete_time', jsonb_build_array(app.time_text(old.deleted_at), app.time_text(r.deleted_at))); end if; if r.purge_after is distinct from old.purge_after then v_changes := v_changes || jsonb_build_object('purge_time', jsonb_build_array(app.time_text(old.purge_after), app.time_text(r.purge_after))); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := case when r.deleted_at is not null and old.deleted_at is null then 'deleted' when r.deleted_at is null and old.deleted_at is not null then 'undeleted' else 'updated' end;
            end if;
            insert into identity.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                r.tenant_id, 'tenant' || '.' || v_verb, 'tenant', r.tenant_id, null::uuid, null::uuid, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function identity.capture_tenants() from public;
comment on function identity.capture_tenants() is
'Capture: leaves an outbox row for every change of identity.tenants.';

create or replace function identity.capture_user_credentials()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r identity.user_credentials;
            v_changes jsonb := '{}';
            v_verb text;
        begin
            if tg_op = 'DELETE' then
                -- Erasure: that it happened is kept, what was erased is not.
                r := old;
                v_verb := 'erased';
            elsif tg_op = 'INSERT' then
                r := new;
                v_verb := 'created';
                v_changes := jsonb_build_object('password_change_time', jsonb_build_array(null, app.time_text(r.password_changed_at))); 
            else
                r := new;
                if r.password_changed_at is distinct from old.password_changed_at then v_changes := v_changes || jsonb_build_object('password_change_time', jsonb_build_array(app.time_text(old.password_changed_at), app.time_text(r.password_changed_at))); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := 'updated';
            end if;
            insert into identity.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                app.platform_log_id(), 'credential' || '.' || v_verb, 'credential', r.user_id, null::uuid, null::uuid, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function identity.capture_user_credentials() from public;
comment on function identity.capture_user_credentials() is
'Capture: leaves an outbox row for every change of identity.user_credentials.';

create or replace function identity.capture_user_profiles()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r identity.user_profiles;
            v_changes jsonb := '{}';
            v_verb text;
        begin
            if tg_op = 'DELETE' then
                -- Erasure: that it happened is kept, what was erased is not.
                r := old;
                v_verb := 'erased';
            elsif tg_op = 'INSERT' then
                r := new;
                v_verb := 'created';
                v_changes := jsonb_build_object('preferences', jsonb_build_array(null, r.preferences), 'onboarded', jsonb_build_array(null, r.is_onboarded)); if r.bio is not null then v_changes := v_changes || jsonb_build_object('bio', jsonb_build_array(null, r.bio)); end if; if r.phone is not null then v_changes := v_changes || jsonb_build_object('phone', jsonb_build_array(null, r.phone)); end if; if r.company is not null then v_changes := v_changes || jsonb_build_object('company', jsonb_build_array(null, r.company)); end if; if r.department is not null then v_changes := v_changes || jsonb_build_object('department', jsonb_build_array(null, r.department)); end if; if r.job_title is not null then v_changes := v_changes || jsonb_build_object('job_title', jsonb_build_array(null, r.job_title)); end if; if r.time_zone is not null then v_changes := v_changes || jsonb_build_object('time_zone', jsonb_build_array(null, r.time_zone)); end if; if r.locale is not null then v_changes := v_changes || jsonb_build_object('locale', jsonb_build_array(null, r.locale)); end if; 
            else
                r := new;
                if r.bio is distinct from old.bio then v_changes := v_changes || jsonb_build_object('bio', jsonb_build_array(old.bio, r.bio)); end if; if r.phone is distinct from old.phone then v_changes := v_changes || jsonb_build_object('phone', jsonb_build_array(old.phone, r.phone)); end if; if r.company is distinct from old.company then v_changes := v_changes || jsonb_build_object('company', jsonb_build_array(old.company, r.company)); end if; if r.department is distinct from old.department then v_changes := v_changes || jsonb_build_object('department', jsonb_build_array(old.department, r.department)); end if; if r.job_title is distinct from old.job_title then v_changes := v_changes || jsonb_build_object('job_title', jsonb_build_array(old.job_title, r.job_title)); end if; if r.time_zone is distinct from old.time_zone then v_changes := v_changes || jsonb_build_object('time_zone', jsonb_build_array(old.time_zone, r.time_zone)); end if; if r.locale is distinct from old.locale then v_changes := v_changes || jsonb_build_object('locale', jsonb_build_array(old.locale, r.locale)); end if; if r.preferences is distinct from old.preferences then v_changes := v_changes || jsonb_build_object('preferences', jsonb_build_array(old.preferences, r.preferences)); end if; if r.is_onboarded is distinct from old.is_onboarded then v_changes := v_changes || jsonb_build_object('onboarded', jsonb_build_array(old.is_onboarded, r.is_onboarded)); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := 'updated';
            end if;
            insert into identity.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                app.platform_log_id(), 'user_profile' || '.' || v_verb, 'user_profile', r.user_id, null::uuid, null::uuid, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function identity.capture_user_profiles() from public;
comment on function identity.capture_user_profiles() is
'Capture: leaves an outbox row for every change of identity.user_profiles.';

create or replace function identity.capture_users()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r identity.users;
            v_changes jsonb := '{}';
            v_verb text;
        begin
            if tg_op = 'DELETE' then
                -- Erasure: that it happened is kept, what was erased is not.
                r := old;
                v_verb := 'erased';
            elsif tg_op = 'INSERT' then
                r := new;
                v_verb := 'created';
                v_changes := jsonb_build_object('kind', jsonb_build_array(null, case r.kind when 'person' then 'KIND_PERSON' when 'service' then 'KIND_SERVICE_ACCOUNT' when 'placeholder' then 'KIND_PLACEHOLDER' else r.kind::text end), 'full_name', jsonb_build_array(null, r.full_name), 'state', jsonb_build_array(null, r.status), 'is_platform_admin', jsonb_build_array(null, r.is_platform_admin)); if r.email is not null then v_changes := v_changes || jsonb_build_object('email', jsonb_build_array(null, r.email)); end if; if r.email_verified_at is not null then v_changes := v_changes || jsonb_build_object('email_verify_time', jsonb_build_array(null, app.time_text(r.email_verified_at))); end if; if r.first_name is not null then v_changes := v_changes || jsonb_build_object('first_name', jsonb_build_array(null, r.first_name)); end if; if r.last_name is not null then v_changes := v_changes || jsonb_build_object('last_name', jsonb_build_array(null, r.last_name)); end if; if r.avatar_url is not null then v_changes := v_changes || jsonb_build_object('avatar_url', jsonb_build_array(null, r.avatar_url)); end if; 
            else
                r := new;
                if r.kind is distinct from old.kind then v_changes := v_changes || jsonb_build_object('kind', jsonb_build_array(case old.kind when 'person' then 'KIND_PERSON' when 'service' then 'KIND_SERVICE_ACCOUNT' when 'placeholder' then 'KIND_PLACEHOLDER' else old.kind::text end, case r.kind when 'person' then 'KIND_PERSON' when 'service' then 'KIND_SERVICE_ACCOUNT' when 'placeholder' then 'KIND_PLACEHOLDER' else r.kind::text end)); end if; if r.email is distinct from old.email then v_changes := v_changes || jsonb_build_object('email', jsonb_build_array(old.email, r.email)); end if; if r.email_verified_at is distinct from old.email_verified_at then v_changes := v_changes || jsonb_build_object('email_verify_time', jsonb_build_array(app.time_text(old.email_verified_at), app.time_text(r.email_verified_at))); end if; if r.full_name is distinct from old.full_name then v_changes := v_changes || jsonb_build_object('full_name', jsonb_build_array(old.full_name, r.full_name)); end if; if r.first_name is distinct from old.first_name then v_changes := v_changes || jsonb_build_object('first_name', jsonb_build_array(old.first_name, r.first_name)); end if; if r.last_name is distinct from old.last_name then v_changes := v_changes || jsonb_build_object('last_name', jsonb_build_array(old.last_name, r.last_name)); end if; if r.avatar_url is distinct from old.avatar_url then v_changes := v_changes || jsonb_build_object('avatar_url', jsonb_build_array(old.avatar_url, r.avatar_url)); end if; if r.status is distinct from old.status then v_changes := v_changes || jsonb_build_object('state', jsonb_build_array(old.status, r.status)); end if; if r.is_platform_admin is distinct from old.is_platform_admin then v_changes := v_changes || jsonb_build_object('is_platform_admin', jsonb_build_array(old.is_platform_admin, r.is_platform_admin)); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := 'updated';
            end if;
            insert into identity.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                app.platform_log_id(), 'user' || '.' || v_verb, 'user', r.user_id, null::uuid, null::uuid, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function identity.capture_users() from public;
comment on function identity.capture_users() is
'Capture: leaves an outbox row for every change of identity.users.';

create or replace function identity.claim_mails(p_rows integer, p_lease_until timestamp with time zone, p_urgent_after bytea, p_others_after bytea)
 returns table(mail_id uuid, kind text, to_address text, subject_id uuid, details jsonb, created_at timestamp with time zone, attempts smallint, is_urgent boolean, cause bytea)
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
#variable_conflict use_column
declare
    v_pass integer;
    v_urgent boolean;
    v_left integer := p_rows;
    v_kept integer := p_rows / 5;
    v_cause bytea;
    v_found boolean;
begin
    -- Those that were put off, or left by a worker that died: the trigger sees that their time has come.
    update identity.mails as m set due_at = m.due_at
    where m.mail_id in (
        select s.mail_id from identity.mails as s
        where not s.is_due and s.cause is not null and s.due_at <= now()
        order by s.due_at limit 100 for update skip locked
    );
    -- Urgent ones, the others, and with what places are left urgent ones again.
    foreach v_pass in array array[1, 2, 3] loop
        v_urgent := v_pass <> 2;
        v_cause := case when v_urgent then p_urgent_after else p_others_after end;
        -- The first round begins where the last claim ended; a whole one that finds nothing is the last.
        v_found := true;
        -- A few places are kept: urgent ones without end must not stop the others.
        while v_left > case when v_pass = 1 then v_kept else 0 end loop
            select m.cause into v_cause from identity.mails as m
            where m.is_due and m.is_urgent = v_urgent and m.cause > v_cause order by m.cause limit 1;
            if not found then
                exit when not v_found;
                v_found := false;
                v_cause := '';
                continue;
            end if;
            for mail_id, kind, to_address, subject_id, details, created_at, attempts, is_urgent, cause in
                update identity.mails as m set due_at = p_lease_until, attempts = m.attempts + 1
                where m.mail_id = (
                    select f.mail_id from identity.mails as f
                    where f.is_due and f.is_urgent = v_urgent and f.cause = v_cause and f.due_at <= now()
                    order by f.due_at limit 1 for update skip locked
                )
                returning
                    m.mail_id, m.kind, m.to_address, m.subject_id, m.details, m.created_at, m.attempts, m.is_urgent,
                    m.cause
            loop
                v_found := true;
                v_left := v_left - 1;
                return next;
            end loop;
        end loop;
    end loop;
end
$function$;
revoke all on function identity.claim_mails(integer, timestamp with time zone, bytea, bytea) from public;
grant execute on function identity.claim_mails(integer, timestamp with time zone, bytea, bytea) to
    bulkhead_identity_worker;
comment on function identity.claim_mails(integer, timestamp with time zone, bytea, bytea) is
'The next mails to be sent, nobody else''s until the lease ends: of the next cause the longest due, then of the one after, and round again. Urgent ones first, up to four fifths. With the rights of who calls it.';

create or replace function identity.count_invitation()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_change constant integer := case tg_op when 'INSERT' then 1 else -1 end;
    v_used bigint;
    v_limit bigint;
begin
    update identity.tenant_usage set open_invitations = open_invitations + v_change
    where tenant_id = new.tenant_id
    returning active_members + open_invitations - 1 into strict v_used;
    v_limit := identity.limit_of(new.tenant_id, 'users');
    if v_change = 1 and v_used >= v_limit then
        perform app.refuse(
            8, 'PLAN_LIMIT_REACHED', format('the plan allows %s users, %s are in use', v_limit, v_used),
            jsonb_build_object('limit', 'users', 'value', v_limit::text, 'used', v_used::text)
        );
    end if;
    return null;
end
$function$;
revoke all on function identity.count_invitation() from public;
comment on function identity.count_invitation() is
'An open invitation holds a seat until it is settled.';

create or replace function identity.count_member()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_before integer := 0;
    v_after integer := (new.kind = 'person' and new.status = 'active' and new.support_until is null)::integer;
    v_active integer;
    v_open integer;
    v_limit bigint;
    v_used bigint;
begin
    if tg_op = 'UPDATE' then
        v_before := (old.kind = 'person' and old.status = 'active' and old.support_until is null)::integer;
    end if;
    if v_before = v_after then
        return null;
    end if;
    update identity.tenant_usage set active_members = active_members + v_after - v_before
    where tenant_id = new.tenant_id
    returning active_members, open_invitations into strict v_active, v_open;
    if v_after = 1 then
        -- A new member comes by an invitation, which has held the seat and is about to give it up.
        v_used := v_active + case tg_op when 'INSERT' then 0 else v_open end - 1;
        v_limit := identity.limit_of(new.tenant_id, 'users');
        if v_used >= v_limit then
            perform app.refuse(
                8, 'PLAN_LIMIT_REACHED', format('the plan allows %s users, %s are in use', v_limit, v_used),
                jsonb_build_object('limit', 'users', 'value', v_limit::text, 'used', v_used::text)
            );
        end if;
    end if;
    return null;
end
$function$;
revoke all on function identity.count_member() from public;
comment on function identity.count_member() is
'Never more active persons than the plan allows; counts them under the lock of the tenant''s usage.';

create or replace function identity.demand_colleague()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_kind text;
    v_is_support boolean;
begin
    -- After the row: before it, the wall has not been asked yet.
    select m.kind, m.support_until is not null into v_kind, v_is_support from identity.memberships as m
    where m.tenant_id = new.tenant_id and m.user_id = app.current_user_id();
    if v_is_support then
        perform app.refuse(
            9, 'STATE_NOT_ALLOWED', 'support access lets nobody in and gives nobody more', '{"state": "support"}'
        );
    elsif v_kind = 'service' then
        perform app.refuse(7, 'CALLER_NOT_ALLOWED', 'an API key lets nobody in and gives nobody more');
    end if;
    return null;
end
$function$;
revoke all on function identity.demand_colleague() from public;
comment on function identity.demand_colleague() is
'Neither who comes to help nor a key leaves a door open behind: no invitation, no key, no member who may more than before. Or an admin who is disabled would come back by a key she made.';

create or replace function identity.demand_platform_admin()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    if not exists (
        select from identity.users as u
        where u.user_id = app.current_user_id() and u.is_platform_admin and u.status = 'active'
    ) then
        perform app.refuse(7, 'CALLER_NOT_ALLOWED', 'only platform administrators may do this');
    end if;
    return new;
end
$function$;
revoke all on function identity.demand_platform_admin() from public;
comment on function identity.demand_platform_admin() is
'A change by the platform names somebody who administers it now.';

create or replace function identity.end_administration()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_tenant uuid;
begin
    -- In the order of ids, like everybody who needs the limits of several tenants.
    for v_tenant in
        select m.tenant_id from identity.memberships as m
        where m.user_id = new.user_id and m.support_until > now()
        order by m.tenant_id
    loop
        update identity.memberships set support_until = now() where tenant_id = v_tenant and user_id = new.user_id;
    end loop;
    return null;
end
$function$;
revoke all on function identity.end_administration() from public;
comment on function identity.end_administration() is
'Who does not administer the platform any more is in no tenant by it.';

create or replace function identity.end_support()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    update identity.memberships set status = 'disabled'
    where tenant_id = new.tenant_id and support_until is not null and status = 'active';
    return null;
end
$function$;
revoke all on function identity.end_support() from public;
comment on function identity.end_support() is
'Whoever came in by a grant goes out with it; the membership''s own trigger waits for her writes and lets no more in.';

create or replace function identity.fence_api_key()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    update identity.memberships set version = version + 1 where tenant_id = new.tenant_id and user_id = new.user_id;
    return null;
end
$function$;
revoke all on function identity.fence_api_key() from public;
comment on function identity.fence_api_key() is
'No write by a key commits after it was revoked: its account''s membership gets another version, behind the lock that every write of the account holds.';

create or replace function identity.fence_makings()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    -- The limits are locked, by aa_stamp at the latest. A write that was let in by a key has long ended a day after it.
    update identity.memberships as m set version = m.version + 1
    where m.tenant_id = new.tenant_id and m.kind = 'service' and m.user_id in (
        select k.user_id from identity.api_keys as k
        where
            k.tenant_id = new.tenant_id and k.created_by = new.user_id and k.revoked_at is null
            and (k.expires_at is null or k.expires_at > now() - interval '1 day')
    );
    if old.role = 5 then
        update identity.support_grants as g set revoked_at = now()
        where
            g.tenant_id = new.tenant_id and g.created_by = new.user_id and g.revoked_at is null
            and g.expires_at > now();
    end if;
    return null;
end
$function$;
revoke all on function identity.fence_makings() from public;
comment on function identity.fence_makings() is
'Whoever may less from now on has given no more by keys: their accounts get another version, behind the lock that every write by them holds. Support access that an owner granted ends with her ownership.';

create or replace function identity.fence_own_person()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    -- Before the row: an update locks it so hard, for its generated column, that a membership's foreign key would wait
    -- for it, with the person's lock in hand.
    if app.current_user_id() is not null then
        perform pg_advisory_xact_lock(identity.person_key(app.current_user_id()));
    end if;
    return null;
end
$function$;
revoke all on function identity.fence_own_person() from public;
comment on function identity.fence_own_person() is
'As fence_person, in time for nobody to deadlock, where it is the person in context who changes.';

create or replace function identity.fence_person()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    -- Waits for memberships that are being made with what is known of her now.
    perform pg_advisory_xact_lock(identity.person_key(new.user_id));
    return new;
end
$function$;
revoke all on function identity.fence_person() from public;
comment on function identity.fence_person() is
'No membership is made with a name, picture or status that is being changed.';

create or replace function identity.fence_team()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    -- Waits for what was let in before, and keeps the rest out until this commits.
    perform pg_advisory_xact_lock(identity.team_key(new.tenant_id, new.team_id));
    return new;
end
$function$;
revoke all on function identity.fence_team() from public;
comment on function identity.fence_team() is
'Once a team is archived, no project or member that was about to come to it comes any more.';

create or replace function identity.fence_tenant()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    perform 1 from identity.tenant_usage where tenant_id = new.tenant_id for no key update;
    -- Waits for every write that was let in before, and keeps later ones out until this commits.
    perform pg_advisory_xact_lock(identity.tenant_key(new.tenant_id));
    new.status_changed_at := now();
    new.status_changed_by := app.current_user_id();
    return new;
end
$function$;
revoke all on function identity.fence_tenant() from public;
comment on function identity.fence_tenant() is
'No write of a tenant commits after the change of its status has: the writers'' lock, taken alone.';

create or replace function identity.forget_person()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_address constant bytea := convert_to(old.email, 'UTF8');
    v_name constant bytea := convert_to(old.full_name, 'UTF8');
    v_tenants uuid[];
begin
    v_tenants := array(
        select m.tenant_id from identity.memberships as m where m.user_id = new.user_id
        union
        select i.tenant_id from identity.invitations as i where i.email_key = old.email_key
    );
    -- The open ones end: whoever has the address one day is somebody else.
    update identity.invitations as i set status = 'revoked' where i.email_key = old.email_key and i.status = 'open';
    update identity.invitations as i set email = null where i.email_key = old.email_key;
    -- Those that she accepted under an older address.
    update identity.invitations as i set email = null
    where i.tenant_id = any(v_tenants) and i.accepted_by = new.user_id and i.email is not null;
    -- But for the one that tells of this, which forgets the address when it is sent.
    update identity.mails as m
    set
        to_address = null, details = '{}', last_error = 'the account was closed',
        failed_at = case when m.sent_at is null then coalesce(m.failed_at, now()) end
    where lower(m.to_address collate "C") = old.email_key
    and not (m.kind = 'account_closed' and m.sent_at is null and m.failed_at is null);
    -- Those she has caused to others name her, and nobody joins by her invitations any more.
    update identity.mails as m
    set
        details = '{}', failed_at = case when m.sent_at is null then coalesce(m.failed_at, now()) end,
        last_error = case when m.sent_at is null then coalesce(m.last_error, 'who invited has closed the account') end
    where
        m.kind = 'invitation' and m.details <> '{}'
        and m.subject_id in (
            select i.invitation_id from identity.invitations as i
            where i.tenant_id = any(v_tenants) and i.created_by = new.user_id
        );
    delete from identity.mail_asks as a where a.email_key collate "C" = old.email_key;
    update identity.one_time_tokens as t set full_name = null
    where t.user_id = new.user_id and t.full_name is not null;
    -- Answers that are kept for repeats: her own, and those that show her to others.
    update identity.user_request_ids as r set reply = null where r.user_id = new.user_id and r.reply is not null;
    update identity.request_ids as r set reply = null
    where
        r.tenant_id = any(v_tenants)
        and (
            r.principal = new.user_id::text
            or position(v_address in r.reply) > 0 or position(v_name in r.reply) > 0
        );
    return null;
end
$function$;
revoke all on function identity.forget_person() from public;
comment on function identity.forget_person() is
'Clears what says elsewhere whose an erased account was: the address in invitations and mails, the name in mails and tokens, both in answers that are kept for repeats.';

create or replace function identity.forget_the_last_mail()
 returns trigger
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    new.to_address := null;
    -- The words of a mail server like to name the address.
    new.last_error := case when new.last_error is not null then 'not sent' end;
    return new;
end
$function$;
revoke all on function identity.forget_the_last_mail() from public;
comment on function identity.forget_the_last_mail() is
'The mail that tells of a closed account is the last that needs its address.';

create or replace function identity.give_face()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_name text;
    v_avatar_url text;
    v_status text;
begin
    if tg_op = 'INSERT' then
        perform pg_advisory_xact_lock_shared(identity.person_key(new.user_id));
    end if;
    -- After the lock, or in an update after that of the row: what whoever made the statement has read may be old.
    select u.full_name, u.avatar_url, u.status into v_name, v_avatar_url, v_status
    from identity.users as u where u.user_id = new.user_id;
    if found then
        if v_status <> 'active' then
            perform app.refuse(16, 'SESSION_ENDED', 'the account is closed, log in again');
        end if;
        new.display_name := v_name;
        new.avatar_url := v_avatar_url;
    end if;
    return new;
end
$function$;
revoke all on function identity.give_face() from public;
comment on function identity.give_face() is
'Who joins or comes back is seen as she is now, and nobody joins whose account is closed.';

create or replace function identity.give_turn()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_ip inet;
begin
    new.is_urgent := new.kind <> 'invitation';
    if new.sent_at is not null or new.failed_at is not null then
        new.cause := null;
        new.is_due := false;
        return new;
    end if;
    new.is_due := new.due_at <= now();
    if tg_op = 'INSERT' then
        -- Callers have no say in it.
        new.cause := null;
    end if;
    if new.cause is null then
        v_ip := nullif(current_setting('app.ip', true), '')::inet;
        if v_ip is null and app.current_user_id() is null then
            -- A mail that was asked for: the worker answers, in the place of whoever asked.
            select a.ip into v_ip from identity.mail_asks as a
            where a.email_key collate "C" = lower(new.to_address collate "C") and a.answered_at = now()
            limit 1;
        end if;
        -- Whoever has one address of IPv6 has its whole /64.
        new.cause := substring(sha256(convert_to(coalesce(
            'person ' || app.current_user_id()::text,
            'address ' || network(set_masklen(v_ip, least(masklen(v_ip), 64)))::text,
            'recipient ' || lower(new.to_address collate "C")
        ), 'UTF8')) for 16);
    end if;
    return new;
end
$function$;
revoke all on function identity.give_turn() from public;
comment on function identity.give_turn() is
'Notes whose turn a mail is sent in, and whether its time has come. Of a mail that is settled nothing is kept of it.';

create or replace function identity.guard_slug()
 returns trigger
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    if app.role_level() < 5 then
        perform app.refuse(
            7, 'ROLE_TOO_LOW', 'only an owner changes the name in the addresses', '{"least_role": "OWNER"}'
        );
    end if;
    return new;
end
$function$;
revoke all on function identity.guard_slug() from public;
comment on function identity.guard_slug() is
'A tenant''s address is its owners'' to change.';

create or replace function identity.guard_support()
 returns trigger
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    perform app.refuse(
        9, 'STATE_NOT_ALLOWED', 'support access is changed by granting and revoking it', '{"state": "support"}'
    );
    return null;
end
$function$;
revoke all on function identity.guard_support() from public;
comment on function identity.guard_support() is
'No admin of the tenant gives support access another role, or a life of its own.';

create or replace function identity.keep_one_support_grant()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    -- First the lock, then the look, and after the policies: they have let the row pass.
    perform 1 from identity.tenant_usage where tenant_id = new.tenant_id for no key update;
    if exists (
        select from identity.support_grants as g
        where
            g.tenant_id = new.tenant_id and g.grant_id <> new.grant_id and g.revoked_at is null
            and g.expires_at > now()
    ) then
        perform app.refuse(
            6, 'ALREADY_TAKEN', 'support_access: a grant is open, revoke it first', '{"field": "support_access"}'
        );
    end if;
    return null;
end
$function$;
revoke all on function identity.keep_one_support_grant() from public;
comment on function identity.keep_one_support_grant() is
'One open grant a tenant, so that revoking it closes the door.';

create or replace function identity.keep_support_from_joining()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    if exists (
        select from identity.memberships as m
        where m.tenant_id = new.tenant_id and m.user_id = new.accepted_by and m.support_until is not null
    ) then
        perform app.refuse(9, 'INVITATION_INVALID', 'the invitation is used, revoked, expired or for another address');
    end if;
    return null;
end
$function$;
revoke all on function identity.keep_support_from_joining() from public;
comment on function identity.keep_support_from_joining() is
'No invitation gives support access another role than the owner granted, or a life without a seat.';

create or replace function identity.keep_suspended()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    -- Outside any tenant write the platform, the workers and each person for herself.
    if exists (
        select from identity.tenants as t where t.tenant_id = app.current_tenant_id() and t.status = 'suspended'
    ) then
        perform app.refuse(9, 'TENANT_SUSPENDED', 'the tenant is suspended: reads work, writes are refused');
    end if;
    return null;
end
$function$;
revoke all on function identity.keep_suspended() from public;
comment on function identity.keep_suspended() is
'In a suspended tenant nothing is made or changed but what shuts somebody out, however the transaction was let in.';

create or replace function identity.limit_of(p_tenant uuid, p_limit text)
 returns bigint
 language sql
 stable
as $function$
    select
        case p_limit
            when 'users' then coalesce(t.max_users_override, p.max_users)
            when 'projects' then coalesce(t.max_projects_override, p.max_projects)
            when 'storage_bytes' then coalesce(t.max_storage_bytes_override, p.max_storage_bytes)
        end
    from identity.tenants as t
    inner join identity.plans as p on p.code = t.plan_code
    where t.tenant_id = p_tenant;
$function$;
revoke all on function identity.limit_of(uuid, text) from public;
grant execute on function identity.limit_of(uuid, text) to bulkhead_identity_definer;
comment on function identity.limit_of(uuid, text) is
'The limit that holds for a tenant, its own before its plan''s; null: none.';

create or replace function identity.mark_support()
 returns trigger
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    if right(new.display_name, 19) <> ' (Bulkhead support)' then
        new.display_name := left(new.display_name, 181) || ' (Bulkhead support)';
    end if;
    return new;
end
$function$;
revoke all on function identity.mark_support() from public;
comment on function identity.mark_support() is
'Whoever comes to help is seen to be no colleague, whatever she is called.';

create or replace function identity.membership_key(p_tenant uuid, p_user uuid)
 returns bigint
 language sql
 immutable parallel safe
return uuid_hash_extended(p_user, uuid_hash_extended(p_tenant, (0)::bigint));
revoke all on function identity.membership_key(uuid, uuid) from public;
grant execute on function identity.membership_key(uuid, uuid) to bulkhead_identity_definer;
comment on function identity.membership_key(uuid, uuid) is
'Advisory lock of a membership: shared by every write of the member, taken alone when role or status change.';

create or replace function identity.note_platform_act()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    -- The tenant's own log has it from the capture of the row; this is the same for those who watch the platform.
    insert into identity.outbox (tenant_id, action, entity_type, entity_id, changes)
    select
        app.platform_log_id(), tg_argv[0], 'tenant', new.tenant_id,
        coalesce(jsonb_object_agg(n.key, jsonb_build_array(o.value, n.value)), '{}')
    from jsonb_each(app.told('identity.tenants', to_jsonb(new))) as n
    left join jsonb_each(app.told('identity.tenants', to_jsonb(old))) as o on o.key = n.key
    where n.value is distinct from coalesce(o.value, 'null');
    return null;
end
$function$;
revoke all on function identity.note_platform_act() from public;
comment on function identity.note_platform_act() is
'What a platform administrator did to a tenant, for the platform''s own log.';

create or replace function identity.person_key(p_user uuid)
 returns bigint
 language sql
 immutable parallel safe
return uuid_hash_extended(p_user, (3)::bigint);
revoke all on function identity.person_key(uuid) from public;
grant execute on function identity.person_key(uuid) to bulkhead_identity_definer;
comment on function identity.person_key(uuid) is
'Advisory lock of a person: shared by what makes her a member, taken alone when name, picture or status change.';

create or replace function identity.raise_version()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    perform 1 from identity.tenant_usage where tenant_id = new.tenant_id for no key update;
    perform pg_advisory_xact_lock(identity.membership_key(new.tenant_id, new.user_id));
    new.version := old.version + 1;
    return new;
end
$function$;
revoke all on function identity.raise_version() from public;
comment on function identity.raise_version() is
'Who sets the version by hand, which only the owner''s triggers can, means that what was let in with the old one is to end: waits for its writes and keeps later ones out.';

create or replace function identity.reads_like_support(p_name text)
 returns boolean
 language plpgsql
 immutable parallel safe
as $function$
begin
    if octet_length(p_name) = length(p_name) then
        return octet_length(p_name) >= 15 and position(
        'bulkheadsupport' in regexp_replace(lower(p_name collate "C"), '[^a-z]+', '', 'g')
        ) > 0;
    end if;
    return position(
    'bulkheadsupport' in regexp_replace(normalize(app.fold(p_name), nfkd) collate "C", '[^a-z]+', '', 'g')
    ) > 0;
end
$function$;
revoke all on function identity.reads_like_support(text) from public;
grant execute on function identity.reads_like_support(text) to bulkhead_identity_app, bulkhead_identity_definer,
    bulkhead_identity_worker;
comment on function identity.reads_like_support(text) is
'Whether it reads "Bulkhead support", whatever stands between and above its letters. lookalikes.py knows more letters.';

create or replace function identity.refuse_name()
 returns trigger
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    perform app.refuse(
        3, 'INVALID_FIELD', tg_argv[0] || ': must not read like the names of those who come to help',
        jsonb_build_object('field', tg_argv[0])
    );
    return null;
end
$function$;
revoke all on function identity.refuse_name() from public;
comment on function identity.refuse_name() is
'Nobody is called like those who come to help.';

create or replace function identity.require_owner()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    -- First the lock, then the look: without it two owners who demote each other both see the other.
    perform 1 from identity.tenant_usage where tenant_id = new.tenant_id for no key update;
    if not exists (
        select from identity.memberships as m
        where m.tenant_id = new.tenant_id and m.role = 5 and m.status = 'active'
    ) and not exists (
        select from identity.tenants as t
        where t.tenant_id = new.tenant_id and t.status = 'deleted' and t.purge_after <= now()
    ) then
        perform app.refuse(9, 'LAST_OWNER', 'the tenant would be left without an active owner');
    end if;
    return null;
end
$function$;
revoke all on function identity.require_owner() from public;
comment on function identity.require_owner() is
'At COMMIT: a tenant has at least one active owner, as long as there is a tenant or one can come back.';

create or replace function identity.settle_api_key()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    if old.revoked_at is not null then
        perform app.refuse(9, 'STATE_NOT_ALLOWED', 'the key is revoked', '{"state": "revoked"}');
    end if;
    perform 1 from identity.tenant_usage where tenant_id = new.tenant_id for no key update;
    new.revoked_at := now();
    new.revoked_by := app.current_user_id();
    return new;
end
$function$;
revoke all on function identity.settle_api_key() from public;
comment on function identity.settle_api_key() is
'A key is revoked once; who did it and when is not left to the caller.';

create or replace function identity.settle_invitation()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    if tg_op = 'INSERT' then
        if new.status <> 'open' then
            perform app.refuse(9, 'STATE_NOT_ALLOWED', 'an invitation begins open', '{"state": "open"}');
        end if;
        return new;
    end if;
    if new.status is distinct from old.status then
        perform 1 from identity.tenant_usage where tenant_id = new.tenant_id for no key update;
        if old.status <> 'open' then
            perform app.refuse(9, 'INVITATION_INVALID', 'the invitation is not open any more');
        end if;
        if new.status = 'expired' and new.expires_at > now() then
            perform app.refuse(9, 'STATE_NOT_ALLOWED', 'the invitation can still be accepted', '{"state": "open"}');
        end if;
        if new.status = 'revoked' then
            new.revoked_at := now();
            new.revoked_by := app.current_user_id();
        end if;
    end if;
    return new;
end
$function$;
revoke all on function identity.settle_invitation() from public;
comment on function identity.settle_invitation() is
'An invitation is open once and settled once; who revoked it and when is not left to the caller.';

create or replace function identity.settle_support_grant()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    if old.revoked_at is not null or new.revoked_at is null then
        -- Taken back once and for good.
        new.revoked_at := old.revoked_at;
        new.revoked_by := old.revoked_by;
        return new;
    end if;
    -- Whoever is coming in by it waits, or has come in and is ended below.
    perform 1 from identity.tenant_usage where tenant_id = new.tenant_id for no key update;
    new.revoked_at := now();
    new.revoked_by := app.current_user_id();
    return new;
end
$function$;
revoke all on function identity.settle_support_grant() from public;
comment on function identity.settle_support_grant() is
'A grant is taken back once; by whom and when is not left to the caller.';

create or replace function identity.show_face()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_now constant integer := 10;
    v_pause constant interval := interval '10 seconds';
    v_tenants uuid[];
begin
    -- Those they joined last. Memberships are counted here without a lock: one that comes takes the new name itself.
    select array_agg(l.tenant_id order by l.joined_at desc, l.tenant_id desc) into v_tenants from (
        select m.tenant_id, m.joined_at from identity.memberships as m
        where m.user_id = new.user_id order by m.joined_at desc, m.tenant_id desc limit v_now + 1
    ) as l;
    if cardinality(v_tenants) > v_now then
        insert into identity.face_changes as f (user_id, due_at, rpc, request_id) values (
            new.user_id, now(), nullif(current_setting('app.rpc', true), ''),
            nullif(current_setting('app.request_id', true), '')
        )
        -- Who changes it again and again is shown everywhere every ten seconds at most.
        on conflict (user_id) do update set
            due_at = case
                when f.due_at is not null and f.after_tenant_id is null then f.due_at
                else greatest(now(), f.done_at + v_pause, f.due_at + v_pause)
            end,
            after_tenant_id = null, rpc = excluded.rpc, request_id = excluded.request_id;
    end if;
    -- In one order for everybody, also those they have left: they may be coming back just now.
    perform 1 from identity.memberships as m
    where m.user_id = new.user_id and m.tenant_id = any (v_tenants[:v_now]) order by m.tenant_id for no key update;
    update identity.memberships as m set display_name = new.full_name, avatar_url = new.avatar_url
    where m.user_id = new.user_id and m.tenant_id = any (v_tenants[:v_now]) and m.left_at is null;
    return null;
end
$function$;
revoke all on function identity.show_face() from public;
comment on function identity.show_face() is
'Fellow members of the ten tenants joined last see a new name and picture with the change itself, of the others soon after, by the worker; tenants the person has left do not.';

create or replace function identity.stamp_membership()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    if tg_op = 'INSERT' then
        new.created_at := now();
        new.created_by := app.current_user_id();
        new.updated_at := new.created_at;
        new.version := 1;
        return new;
    end if;
    new.created_at := old.created_at;
    new.created_by := old.created_by;
    new.updated_at := greatest(now(), old.updated_at);
    new.version := old.version;
    new.disabled_at := old.disabled_at;
    new.disabled_by := old.disabled_by;
    if (new.support_until is null) <> (old.support_until is null) then
        perform app.refuse(
            9, 'STATE_NOT_ALLOWED', 'who comes to help does not become a member by it', '{"state": "support"}'
        );
    end if;
    if (new.left_at is null) <> (old.left_at is null) then
        new.left_at := case when new.left_at is not null then now() end;
    else
        new.left_at := old.left_at;
    end if;
    if new.status = 'active' and new.left_at is not null then
        perform app.refuse(
            9, 'STATE_NOT_ALLOWED', 'she has left the tenant and comes back by an invitation', '{"state": "left"}'
        );
    end if;
    if new.role is distinct from old.role or new.status is distinct from old.status
        or new.left_at is distinct from old.left_at or new.support_until is distinct from old.support_until
    then
        perform 1 from identity.tenant_usage where tenant_id = new.tenant_id for no key update;
        -- Waits for the member's writes that were let in before, and keeps later ones out until this commits.
        perform pg_advisory_xact_lock(identity.membership_key(new.tenant_id, new.user_id));
        new.version := old.version + 1;
    end if;
    if new.status is distinct from old.status then
        new.disabled_at := case new.status when 'disabled' then now() end;
        new.disabled_by := case new.status when 'disabled' then app.current_user_id() end;
    end if;
    return new;
end
$function$;
revoke all on function identity.stamp_membership() from public;
comment on function identity.stamp_membership() is
'In place of app.stamp: the version is the one that tokens carry. No write of a member commits after her rights have changed.';

create or replace function identity.team_key(p_tenant uuid, p_team uuid)
 returns bigint
 language sql
 immutable parallel safe
return uuid_hash_extended(p_team, uuid_hash_extended(p_tenant, (2)::bigint));
revoke all on function identity.team_key(uuid, uuid) from public;
grant execute on function identity.team_key(uuid, uuid) to bulkhead_identity_definer;
comment on function identity.team_key(uuid, uuid) is
'Advisory lock of a team: shared by whatever gives it a project or a member, taken alone when it is archived.';

create or replace function identity.tenant_key(p_tenant uuid)
 returns bigint
 language sql
 immutable parallel safe
return uuid_hash_extended(p_tenant, (1)::bigint);
revoke all on function identity.tenant_key(uuid) from public;
grant execute on function identity.tenant_key(uuid) to bulkhead_identity_definer;
comment on function identity.tenant_key(uuid) is
'Advisory lock of a tenant: shared by every write in it, taken alone when its status changes.';

create trigger zz_capture after insert or update on identity.mail_asks for each row execute function identity.capture_mail_asks('mail_ask', '{"email": {"field": "email"}, "purpose": {"field": "purpose"}}');

create trigger aa_turn before insert or update on identity.mails for each row execute function identity.give_turn();
create trigger forget_the_last before update on identity.mails for each row when (new.kind = 'account_closed'::text and (new.sent_at is not null or new.failed_at is not null)) execute function identity.forget_the_last_mail();

create trigger aa_stamp before insert or update on identity.plans for each row execute function app.stamp();
create trigger zz_capture after insert or delete or update on identity.plans for each row execute function identity.capture_plans('plan', '{"code": {"field": "code"}, "name": {"field": "name"}, "max_users": {"field": "max_users"}, "max_projects": {"field": "max_projects"}, "max_storage_bytes": {"field": "max_storage_bytes"}}');

create trigger aa_stamp before insert or update on identity.tenants for each row execute function app.stamp();
create trigger ab_demand_admin before update on identity.tenants for each row when (current_user = 'bulkhead_platform_app'::name) execute function identity.demand_platform_admin();
create trigger ab_fence before update on identity.tenants for each row when (old.status is distinct from new.status) execute function identity.fence_tenant();
create trigger ab_guard_slug before update on identity.tenants for each row when (old.slug is distinct from new.slug) execute function identity.guard_slug();
create trigger ab_keep_suspended before update on identity.tenants for each statement execute function identity.keep_suspended();
create trigger ae_demand_own_name before insert or update of name on identity.tenants for each row when (identity.reads_like_support(new.name)) execute function identity.refuse_name('name');
create constraint trigger need_owner after insert on identity.tenants deferrable initially deferred for each row execute function identity.require_owner();
create trigger note_platform_act after update on identity.tenants for each row when (current_user = 'bulkhead_platform_app'::name) execute function identity.note_platform_act('tenant.administered');
create trigger zz_capture after insert or delete or update on identity.tenants for each row execute function identity.capture_tenants('tenant', '{"name": {"field": "name"}, "size": {"field": "size", "values": {"1-10": "SIZE_1_TO_10", "1001+": "SIZE_OVER_1000", "11-50": "SIZE_11_TO_50", "51-200": "SIZE_51_TO_200", "201-1000": "SIZE_201_TO_1000"}}, "slug": {"field": "slug"}, "domain": {"field": "domain"}, "status": {"field": "state", "values": {"active": "STATE_ACTIVE", "deleted": "STATE_DELETED", "suspended": "STATE_SUSPENDED"}}, "branding": {"field": "branding"}, "industry": {"field": "industry"}, "logo_url": {"field": "logo_url"}, "settings": {"field": "settings"}, "plan_code": {"field": "plan_code"}, "deleted_at": {"form": "time", "field": "delete_time"}, "description": {"field": "description"}, "purge_after": {"form": "time", "field": "purge_time"}, "website_url": {"field": "website_url"}, "status_reason": {"field": "state_reason"}, "status_changed_at": {"form": "time", "field": "state_change_time"}, "status_changed_by": {"field": "state_changed_by"}, "max_users_override": {"field": "overrides.max_users"}, "max_projects_override": {"field": "overrides.max_projects"}, "max_storage_bytes_override": {"field": "overrides.max_storage_bytes"}}');

create trigger aa_stamp before insert or update on identity.support_grants for each row execute function app.stamp();
create trigger ab_keep_suspended after insert or update on identity.support_grants for each row when (new.revoked_at is null) execute function identity.keep_suspended();
create trigger ab_settle before update on identity.support_grants for each row execute function identity.settle_support_grant();
create trigger end_support after update on identity.support_grants for each row when (old.revoked_at is null and new.revoked_at is not null) execute function identity.end_support();
create trigger keep_one after insert on identity.support_grants for each row execute function identity.keep_one_support_grant();
create trigger zz_capture after insert or delete or update on identity.support_grants for each row execute function identity.capture_support_grants('support_grant', '{"role": {"field": "role", "values": {"1": "ROLE_VIEWER", "2": "ROLE_MEMBER", "3": "ROLE_MANAGER", "4": "ROLE_ADMIN", "5": "ROLE_OWNER"}}, "reason": {"field": "reason"}, "expires_at": {"form": "time", "field": "expire_time"}, "revoked_at": {"form": "time", "field": "revoke_time"}, "revoked_by": {"field": "revoked_by"}}');

create trigger aa_stamp before insert or update on identity.teams for each row execute function app.stamp();
create trigger ab_fence before update on identity.teams for each row when (old.archived_at is null and new.archived_at is not null) execute function identity.fence_team();
create trigger ab_keep_suspended before insert or update on identity.teams for each statement execute function identity.keep_suspended();
create trigger ae_demand_own_name before insert or update of name on identity.teams for each row when (identity.reads_like_support(new.name)) execute function identity.refuse_name('name');
create trigger zz_capture after insert or delete or update on identity.teams for each row execute function identity.capture_teams('team', '{"name": {"field": "name"}, "archived_at": {"form": "time", "field": "archive_time"}, "description": {"field": "description"}}');

create trigger aa_stamp before insert or update of kind, email, email_verified_at, full_name, first_name, last_name, avatar_url, status, is_platform_admin on identity.users for each row execute function app.stamp();
create trigger ab_fence before update on identity.users for each row when (old.full_name is distinct from new.full_name or old.avatar_url is distinct from new.avatar_url or old.status is distinct from new.status) execute function identity.fence_person();
create trigger ab_fence_own before update of full_name, avatar_url, status on identity.users for each statement execute function identity.fence_own_person();
create trigger ae_demand_own_name before insert or update of full_name, first_name, last_name on identity.users for each row when (identity.reads_like_support(new.full_name) or identity.reads_like_support(new.first_name) or identity.reads_like_support(new.last_name)) execute function identity.refuse_name('full_name');
create trigger end_administration after update on identity.users for each row when (old.is_platform_admin and not new.is_platform_admin) execute function identity.end_administration();
create trigger forget after update on identity.users for each row when (old.kind = 'person'::text and old.status <> 'erased'::text and new.status = 'erased'::text) execute function identity.forget_person();
create trigger show_face after update on identity.users for each row when (new.kind = 'person'::text and new.status <> 'erased'::text and (old.full_name is distinct from new.full_name or old.avatar_url is distinct from new.avatar_url)) execute function identity.show_face();
create trigger zz_capture after insert or delete or update on identity.users for each row execute function identity.capture_users('user', '{"kind": {"field": "kind", "values": {"person": "KIND_PERSON", "service": "KIND_SERVICE_ACCOUNT", "placeholder": "KIND_PLACEHOLDER"}}, "email": {"field": "email"}, "status": {"field": "state"}, "full_name": {"field": "full_name"}, "last_name": {"field": "last_name"}, "avatar_url": {"field": "avatar_url"}, "first_name": {"field": "first_name"}, "email_verified_at": {"form": "time", "field": "email_verify_time"}, "is_platform_admin": {"field": "is_platform_admin"}}');

create trigger aa_stamp before insert or update on identity.memberships for each row execute function identity.stamp_membership();
create trigger ab_fence before update of version on identity.memberships for each row execute function identity.raise_version();
create trigger ab_guard_support before update on identity.memberships for each row when (old.support_until is not null and current_user = 'bulkhead_identity_app'::name) execute function identity.guard_support();
create trigger ab_keep_suspended before insert on identity.memberships for each statement execute function identity.keep_suspended();
create trigger ab_keep_suspended_change after update on identity.memberships for each row when (new.role <> old.role or new.status <> old.status and new.status <> 'disabled'::text) execute function identity.keep_suspended();
create trigger ac_face_of_new before insert on identity.memberships for each row when (new.kind = 'person'::text) execute function identity.give_face();
create trigger ac_face_of_returning before update on identity.memberships for each row when (new.kind = 'person'::text and old.left_at is not null and new.left_at is null) execute function identity.give_face();
create trigger ad_mark_support before insert or update on identity.memberships for each row when (new.support_until is not null) execute function identity.mark_support();
create trigger ae_demand_own_name before insert or update of display_name on identity.memberships for each row when (new.support_until is null and identity.reads_like_support(new.display_name)) execute function identity.refuse_name('display_name');
create trigger count_seats after insert or update on identity.memberships for each row execute function identity.count_member();
create trigger demand_colleague after insert on identity.memberships for each row when (new.kind = 'service'::text) execute function identity.demand_colleague();
create trigger demand_colleague_to_lift after update on identity.memberships for each row when (new.support_until is null and (new.role > old.role or old.status = 'disabled'::text and new.status = 'active'::text)) execute function identity.demand_colleague();
create trigger fence_makings after update on identity.memberships for each row when (old.kind = 'person'::text and old.status = 'active'::text and (new.status <> 'active'::text or new.role < old.role)) execute function identity.fence_makings();
create constraint trigger keep_owner after update on identity.memberships deferrable initially deferred for each row when (old.role = 5 and old.status = 'active'::text and (new.role <> 5 or new.status <> 'active'::text)) execute function identity.require_owner();
create trigger zz_capture after insert or delete or update on identity.memberships for each row execute function identity.capture_memberships('member', '{"kind": {"field": "kind", "values": {"person": "KIND_PERSON", "service": "KIND_SERVICE_ACCOUNT", "placeholder": "KIND_PLACEHOLDER"}}, "role": {"field": "role", "values": {"1": "ROLE_VIEWER", "2": "ROLE_MEMBER", "3": "ROLE_MANAGER", "4": "ROLE_ADMIN", "5": "ROLE_OWNER"}}, "status": {"field": "state", "values": {"active": "STATE_ACTIVE", "disabled": "STATE_DISABLED"}}, "left_at": {"form": "time", "field": "leave_time"}, "joined_at": {"form": "time", "field": "join_time"}, "avatar_url": {"field": "avatar_url"}, "disabled_at": {"form": "time", "field": "disable_time"}, "disabled_by": {"field": "disabled_by"}, "external_id": {"field": "external_id"}, "display_name": {"field": "display_name"}, "support_until": {"form": "time", "field": "support_end_time"}, "external_source": {"field": "external_source"}}');

create trigger aa_stamp before insert or update of tenant_id, api_key_id, user_id, display_name, prefix, secret_hash, ip_ranges, expires_at, revoked_at, revoked_by on identity.api_keys for each row execute function app.stamp();
create trigger ab_keep_suspended after insert or update on identity.api_keys for each row when (new.revoked_at is null) execute function identity.keep_suspended();
create trigger ab_settle before update of revoked_at, revoked_by on identity.api_keys for each row execute function identity.settle_api_key();
create trigger admit after insert on identity.api_keys for each row execute function identity.admit_api_key();
create trigger ae_demand_own_name before insert or update of display_name on identity.api_keys for each row when (identity.reads_like_support(new.display_name)) execute function identity.refuse_name('display_name');
create trigger demand_colleague after insert on identity.api_keys for each row execute function identity.demand_colleague();
create trigger fence after update on identity.api_keys for each row when (old.revoked_at is null and new.revoked_at is not null) execute function identity.fence_api_key();
create trigger zz_capture after insert or delete or update on identity.api_keys for each row execute function identity.capture_api_keys('api_key', '{"prefix": {"field": "prefix"}, "user_id": {"field": "user_id"}, "ip_ranges": {"field": "ip_ranges"}, "expires_at": {"form": "time", "field": "expire_time"}, "revoked_at": {"form": "time", "field": "revoke_time"}, "revoked_by": {"field": "revoked_by"}, "display_name": {"field": "display_name"}}');

create trigger aa_stamp before insert or update on identity.invitations for each row execute function app.stamp();
create trigger ab_keep_suspended after insert or update on identity.invitations for each row when (new.status <> all (array['revoked'::text, 'expired'::text])) execute function identity.keep_suspended();
create trigger ab_settle before insert or update on identity.invitations for each row execute function identity.settle_invitation();
create trigger count_seats after insert on identity.invitations for each row execute function identity.count_invitation();
create trigger demand_colleague after insert on identity.invitations for each row execute function identity.demand_colleague();
create trigger give_seat_back after update on identity.invitations for each row when (old.status = 'open'::text and new.status <> 'open'::text) execute function identity.count_invitation();
create trigger keep_support_from_joining after update on identity.invitations for each row when (old.status <> 'accepted'::text and new.status = 'accepted'::text) execute function identity.keep_support_from_joining();
create trigger zz_capture after insert or delete or update on identity.invitations for each row execute function identity.capture_invitations('invitation', '{"role": {"field": "role", "values": {"1": "ROLE_VIEWER", "2": "ROLE_MEMBER", "3": "ROLE_MANAGER", "4": "ROLE_ADMIN", "5": "ROLE_OWNER"}}, "email": {"field": "email"}, "status": {"field": "state", "values": {"open": "STATE_OPEN", "expired": "STATE_EXPIRED", "revoked": "STATE_REVOKED", "accepted": "STATE_ACCEPTED"}}, "expires_at": {"form": "time", "field": "expire_time"}, "revoked_at": {"form": "time", "field": "revoke_time"}, "revoked_by": {"field": "revoked_by"}, "accepted_at": {"form": "time", "field": "accept_time"}, "accepted_by": {"field": "accepted_by"}}');

create trigger aa_stamp before insert or update on identity.one_time_tokens for each row execute function app.stamp();
create trigger ae_demand_own_name before insert or update of full_name on identity.one_time_tokens for each row when (identity.reads_like_support(new.full_name)) execute function identity.refuse_name('full_name');
create trigger zz_capture after insert or update on identity.one_time_tokens for each row execute function identity.capture_one_time_tokens('one_time_token', '{"purpose": {"field": "purpose"}, "used_at": {"form": "time", "field": "use_time"}, "user_id": {"field": "user_id"}, "attempts": {"field": "attempts"}, "expires_at": {"form": "time", "field": "expire_time"}, "revoked_at": {"form": "time", "field": "revoke_time"}}');

create trigger aa_stamp before insert or update on identity.sessions for each row execute function app.stamp();
create trigger zz_capture after insert or update on identity.sessions for each row execute function identity.capture_sessions('session', '{"ip": {"field": "ip"}, "user_id": {"field": "user_id"}, "expires_at": {"form": "time", "field": "expire_time"}, "revoked_at": {"form": "time", "field": "revoke_time"}, "user_agent": {"field": "user_agent"}, "revoked_reason": {"field": "revoke_reason"}}');

create trigger zz_capture after insert or update on identity.refresh_tokens for each row execute function identity.capture_refresh_tokens('refresh_token', '{"parent_id": {"field": "parent_id"}, "expires_at": {"form": "time", "field": "expire_time"}, "session_id": {"field": "session_id"}}');

create trigger note_platform_act after insert on identity.support_entries for each row execute function identity.note_platform_act('tenant.support_entered');
create trigger zz_capture after insert or delete or update on identity.support_entries for each row execute function identity.capture_support_entries('support_entry', '{"user_id": {"field": "user_id"}, "grant_id": {"field": "grant_id"}}');

create trigger aa_stamp before insert or update on identity.team_members for each row execute function app.stamp();
create trigger ab_admit before insert or update on identity.team_members for each row execute function identity.admit_to_team();
create trigger ab_keep_suspended before insert or update on identity.team_members for each statement execute function identity.keep_suspended();
create trigger zz_capture after insert or delete or update on identity.team_members for each row execute function identity.capture_team_members('team_member', '{"is_lead": {"field": "is_lead"}, "added_at": {"form": "time", "field": "add_time"}, "removed_at": {"form": "time", "field": "remove_time"}}');

create trigger aa_stamp before insert or update on identity.tenant_allowances for each row execute function app.stamp();
create trigger zz_capture after insert or delete or update on identity.tenant_allowances for each row execute function identity.capture_tenant_allowances('tenant_allowance', '{"max_tenants": {"field": "max_tenants"}}');

create trigger aa_stamp before insert or update on identity.user_credentials for each row execute function app.stamp();
create trigger zz_capture after insert or delete or update on identity.user_credentials for each row execute function identity.capture_user_credentials('credential', '{"password_changed_at": {"form": "time", "field": "password_change_time"}}');

create trigger aa_stamp before insert or update on identity.user_profiles for each row execute function app.stamp();
create trigger zz_capture after insert or delete or update on identity.user_profiles for each row execute function identity.capture_user_profiles('user_profile', '{"bio": {"field": "bio"}, "phone": {"field": "phone"}, "locale": {"field": "locale"}, "company": {"field": "company"}, "job_title": {"field": "job_title"}, "time_zone": {"field": "time_zone"}, "department": {"field": "department"}, "preferences": {"field": "preferences"}, "is_onboarded": {"field": "onboarded"}}');

reset role;

create or replace function identity.accept_invitation(p_token_hash bytea)
 returns table(tenant_id uuid, role smallint)
 language plpgsql
 security definer rows 1
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
#variable_conflict use_column
declare
    v_tenant_id uuid;
    v_invitation_id uuid;
    v_email_key text;
    v_role smallint;
    v_status text;
    v_in_time boolean;
    v_accepted_by uuid;
    v_invited_by uuid;
    v_user_id uuid;
    v_full_name text;
    v_avatar_url text;
    v_tenant_status text;
    v_member_status text;
    v_left boolean;
begin
    select i.tenant_id, i.invitation_id into v_tenant_id, v_invitation_id
    from identity.invitations as i where i.token_hash = p_token_hash;
    perform identity.lock_limits(v_tenant_id);
    perform pg_advisory_xact_lock_shared(identity.tenant_key(v_tenant_id));
    select i.email_key, i.role, i.status, i.expires_at > now(), i.accepted_by, i.created_by
    into v_email_key, v_role, v_status, v_in_time, v_accepted_by, v_invited_by
    from identity.invitations as i where i.tenant_id = v_tenant_id and i.invitation_id = v_invitation_id;
    select u.user_id, u.full_name, u.avatar_url into v_user_id, v_full_name, v_avatar_url from identity.users as u
    where u.user_id = app.current_user_id() and u.kind = 'person' and u.status = 'active'
    and u.email_verified_at is not null and u.email_key = v_email_key;
    select t.status into v_tenant_status from identity.tenants as t
    where t.tenant_id = v_tenant_id and t.status <> 'deleted';
    select m.status, m.left_at is not null into v_member_status, v_left from identity.memberships as m
    where m.tenant_id = v_tenant_id and m.user_id = v_user_id;
    accept_invitation.tenant_id := v_tenant_id;
    accept_invitation.role := v_role;
    if v_user_id is null or v_tenant_status is null
        or v_member_status = 'disabled' and not (v_left and v_status = 'open')
        or not (v_status = 'open' and v_in_time or v_status = 'accepted' and v_accepted_by = v_user_id)
    then
        perform app.refuse(9, 'INVITATION_INVALID', 'the invitation is used, revoked, expired or for another address');
    elsif v_status = 'accepted' then
        -- Her own second try.
        return next;
        return;
    elsif not exists (
        -- An invitation is worth what its sender may do now: who has lost a right does not keep it in a drawer. The
        -- lock
        -- on the limits holds her role and status still.
        select from identity.memberships as m
        inner join identity.users as u on u.user_id = m.user_id
        where m.tenant_id = v_tenant_id and m.user_id = v_invited_by and m.status = 'active' and u.status = 'active'
        and m.role >= greatest(v_role, 4)
    ) then
        perform app.refuse(9, 'INVITATION_INVALID', 'the invitation is used, revoked, expired or for another address');
    elsif v_tenant_status = 'suspended' then
        perform app.refuse(9, 'TENANT_SUSPENDED', 'the tenant is suspended: reads work, writes are refused');
    end if;
    if v_left then
        -- The invitation first: the seat it gives up is hers.
        update identity.invitations as i set status = 'accepted', accepted_at = now(), accepted_by = v_user_id
        where i.tenant_id = v_tenant_id and i.invitation_id = v_invitation_id;
        update identity.memberships as m
        set role = v_role, status = 'active', left_at = null, display_name = v_full_name, avatar_url = v_avatar_url
        where m.tenant_id = v_tenant_id and m.user_id = v_user_id;
        return next;
        return;
    elsif v_member_status is null then
        insert into identity.memberships (tenant_id, user_id, kind, role, display_name, avatar_url)
        values (v_tenant_id, v_user_id, 'person', v_role, v_full_name, v_avatar_url);
    end if;
    update identity.invitations as i set status = 'accepted', accepted_at = now(), accepted_by = v_user_id
    where i.tenant_id = v_tenant_id and i.invitation_id = v_invitation_id;
    return next;
end
$function$;
alter function identity.accept_invitation(bytea) owner to bulkhead_identity_definer;
revoke all on function identity.accept_invitation(bytea) from public;
grant execute on function identity.accept_invitation(bytea) to bulkhead_identity_app;
comment on function identity.accept_invitation(bytea) is
'The person in context joins the tenant that invited her address, while who invited her still may.';

create or replace function identity.answer_mail_ask(p_ask_id uuid, p_token_id uuid, p_token_hash bytea, p_token_life interval, p_mail_id uuid)
 returns void
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_purpose text;
    v_email_key text;
    v_ip inet;
    v_mails boolean;
    v_user_id uuid;
    v_email text;
    v_verified boolean;
    v_before uuid;
    v_attempts smallint;
    v_password_hash text;
    v_full_name text;
begin
    select a.purpose, a.email_key, a.ip into v_purpose, v_email_key, v_ip
    from identity.mail_asks as a where a.ask_id = p_ask_id and a.answered_at is null for no key update;
    -- Another worker was first.
    if not found then
        return;
    end if;
    -- Locks the person: two asks of hers make their tokens one after the other.
    select u.user_id, u.email, u.email_verified_at is not null into v_user_id, v_email, v_verified
    from identity.users as u
    where u.email_key = v_email_key and u.kind = 'person' and u.status = 'active'
    and (v_purpose = 'verify_email' or u.email_verified_at is not null) for no key update;
    if v_purpose = 'verify_email' and not v_verified then
        -- The sign-up that was made last.
        select s.token_id into v_before from identity.one_time_tokens as s
        where s.user_id = v_user_id and s.purpose = 'verify_email' and s.used_at is null and s.revoked_at is null
        and s.attempts < 5
        order by s.created_at desc, s.token_id desc limit 1;
    end if;
    v_mails := v_user_id is not null and (v_purpose = 'reset_password' or v_verified or v_before is not null)
    and not exists (
        select from identity.mail_asks as b
        where b.email_key = v_email_key and b.purpose = v_purpose and b.mailed_at > now() - interval '1 minute'
    -- Each makes the one before worthless: who asks every minute would leave her none to use. The third one lives until
    -- there may be another.
    ) and (
        select count(*) from identity.mail_asks as b
        where b.email_key = v_email_key and b.purpose = v_purpose and b.mailed_at > now() - p_token_life
    ) < 3;
    if v_mails then
        -- One too many leaves the mail before as good as it was.
        v_mails := identity.claim_mail(
            case when v_purpose = 'verify_email' and v_verified then 'already_registered' else v_purpose end,
            v_email_key, null
        ) is null;
    end if;
    update identity.mail_asks as a set answered_at = now(), mailed_at = case when v_mails then now() end
    where a.ask_id = p_ask_id;
    if not v_mails then
        return;
    end if;
    if v_purpose = 'reset_password' then
        update identity.one_time_tokens as t set revoked_at = now()
        where t.user_id = v_user_id and t.purpose = 'reset_password' and t.used_at is null and t.revoked_at is null;
        insert into identity.one_time_tokens (token_id, purpose, user_id, token_hash, expires_at)
        values (p_token_id, 'reset_password', v_user_id, p_token_hash, now() + p_token_life);
        insert into identity.mails (mail_id, kind, to_address, subject_id, details) values (
            p_mail_id, 'reset_password', v_email, p_token_id,
            jsonb_strip_nulls(jsonb_build_object('ip', host(v_ip)))
        );
    elsif v_verified then
        insert into identity.mails (mail_id, kind, to_address, subject_id)
        values (p_mail_id, 'already_registered', v_email, v_user_id);
    else
        -- What was tried of it in vain counts on.
        update identity.one_time_tokens as t set revoked_at = now(), password_hash = null
        from identity.one_time_tokens as before
        where t.token_id = before.token_id and before.token_id = v_before
        returning before.attempts, before.password_hash, before.full_name into v_attempts, v_password_hash, v_full_name;
        -- Unless it has been removed as expired in this moment.
        if found then
            insert into identity.one_time_tokens (
                token_id, purpose, user_id, token_hash, expires_at, attempts, password_hash, full_name
            ) values (
                p_token_id, 'verify_email', v_user_id, p_token_hash, now() + p_token_life, v_attempts,
                v_password_hash, v_full_name
            );
            insert into identity.mails (mail_id, kind, to_address, subject_id)
            values (p_mail_id, 'verify_email', v_email, p_token_id);
        end if;
    end if;
end
$function$;
alter function identity.answer_mail_ask(uuid, uuid, bytea, interval, uuid) owner to bulkhead_identity_definer;
revoke all on function identity.answer_mail_ask(uuid, uuid, bytea, interval, uuid) from public;
grant execute on function identity.answer_mail_ask(uuid, uuid, bytea, interval, uuid) to bulkhead_identity_worker;
comment on function identity.answer_mail_ask(uuid, uuid, bytea, interval, uuid) is
'Queues the mail that was asked for, if there is anybody to send it to and she has had none of the kind this minute, less than three in the life of a token, and not too many today.';

create or replace function identity.ask_for_mail(p_ask_id uuid, p_purpose text, p_email text, p_request_digest bytea)
 returns void
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    insert into identity.mail_asks (ask_id, purpose, email, request_digest, ip)
    values (p_ask_id, p_purpose, p_email, p_request_digest, nullif(current_setting('app.ip', true), '')::inet)
    on conflict (ask_id) do nothing;
    if not found and not exists (
        select from identity.mail_asks as a where a.ask_id = p_ask_id and a.request_digest = p_request_digest
    ) then
        perform app.refuse(3, 'REQUEST_ID_REUSED', 'the request_id was used with another request');
    end if;
end
$function$;
alter function identity.ask_for_mail(uuid, text, text, bytea) owner to bulkhead_identity_definer;
revoke all on function identity.ask_for_mail(uuid, text, text, bytea) from public;
grant execute on function identity.ask_for_mail(uuid, text, text, bytea) to bulkhead_identity_app;
comment on function identity.ask_for_mail(uuid, text, text, bytea) is
'One and the same row for every address, known or not.';

create or replace function identity.change_password(p_session_id uuid, p_checked_hash text, p_password_hash text, p_mail_id uuid)
 returns void
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    perform from identity.users as u where u.user_id = app.current_user_id() and u.status = 'active' for no key update;
    if not found or not exists (
        select from identity.sessions as s
        where s.session_id = p_session_id and s.user_id = app.current_user_id()
        and s.revoked_at is null and s.expires_at > now()
    ) then
        perform app.refuse(16, 'SESSION_ENDED', 'the session has ended, log in again');
    end if;
    if not exists (
        select from identity.user_credentials as c
        where c.user_id = app.current_user_id() and c.password_hash = p_checked_hash
    ) then
        perform app.refuse(10, 'CONFLICT', 'the password was changed by another call meanwhile, try again');
    end if;
    perform identity.replace_password(app.current_user_id(), p_password_hash, p_session_id, p_mail_id);
end
$function$;
alter function identity.change_password(uuid, text, text, uuid) owner to bulkhead_identity_definer;
revoke all on function identity.change_password(uuid, text, text, uuid) from public;
grant execute on function identity.change_password(uuid, text, text, uuid) to bulkhead_identity_app;
comment on function identity.change_password(uuid, text, text, uuid) is
'Another password for the person in context, who has proved that she knows the one that p_checked_hash is of. Her other sessions are ended.';

create or replace function identity.check_closing(p_tenant uuid, p_user uuid, p_role smallint, p_version integer)
 returns table(role smallint, status text, team_ids uuid[])
 language plpgsql
 security definer rows 1
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'a write looks at its right as it is now, so its transaction is read committed'
            using errcode = 'invalid_transaction_state';
    end if;
    -- The locks of every write, and then the look of a read, which a suspended tenant passes and a deleted one does
    -- not.
    perform
        pg_advisory_xact_lock_shared(identity.tenant_key(p_tenant)),
        pg_advisory_xact_lock_shared(identity.membership_key(p_tenant, p_user));
    return query
    select m.role, m.status, m.team_ids
    from identity.check_membership(p_tenant, p_user, p_role, p_version, false) as m;
end
$function$;
alter function identity.check_closing(uuid, uuid, smallint, integer) owner to bulkhead_identity_definer;
revoke all on function identity.check_closing(uuid, uuid, smallint, integer) from public;
grant execute on function identity.check_closing(uuid, uuid, smallint, integer) to bulkhead_identity_app;
comment on function identity.check_closing(uuid, uuid, smallint, integer) is
'check_membership for a call that shuts somebody out, in a suspended tenant too; what else it might write there is refused by the tables. Other services have no such calls.';

create or replace function identity.check_membership(p_tenant uuid, p_user uuid, p_role smallint, p_version integer, p_write boolean)
 returns table(role smallint, status text, team_ids uuid[])
 language plpgsql
 security definer rows 1
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_kind text;
    v_version integer;
    v_tenant_status text;
    v_support_until timestamptz;
begin
    -- Whoever does not say what they are about to do writes.
    if p_write is distinct from false then
        if current_setting('transaction_isolation') <> 'read committed' then
            raise exception 'a write looks at its right as it is now, so its transaction is read committed'
                using errcode = 'invalid_transaction_state';
        end if;
        -- First the locks, then the look: whoever changes these rows waits for us, or we see what was changed.
        perform
            pg_advisory_xact_lock_shared(identity.tenant_key(p_tenant)),
            pg_advisory_xact_lock_shared(identity.membership_key(p_tenant, p_user));
    end if;
    select
        m.kind, m.role, m.status, m.version, m.support_until, t.status,
        array(
            select tm.team_id from identity.team_members as tm
            where tm.tenant_id = p_tenant and tm.user_id = p_user and tm.removed_at is null
        )
    into v_kind, check_membership.role, check_membership.status, v_version, v_support_until,
        v_tenant_status, check_membership.team_ids
    from identity.memberships as m
    inner join identity.tenants as t on t.tenant_id = m.tenant_id
    where m.tenant_id = p_tenant and m.user_id = p_user;
    if v_kind = 'service' and p_role < check_membership.role then
        -- By a key whose maker may less by now; what she may less from now on raises the version.
        check_membership.role := p_role;
    end if;
    if not found or check_membership.status <> 'active' or check_membership.role <> p_role or v_version <> p_version
        -- By the clock, not by the transaction's beginning: it may have waited for a lock.
        or v_support_until <= clock_timestamp()
    then
        perform app.refuse(16, 'MEMBERSHIP_CHANGED', 'the membership has changed, get a new token');
    end if;
    if v_tenant_status <> 'active' then
        if v_tenant_status = 'deleted' then
            perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
        elsif p_write is distinct from false then
            perform app.refuse(9, 'TENANT_SUSPENDED', 'the tenant is suspended: reads work, writes are refused');
        end if;
    end if;
    return next;
end
$function$;
alter function identity.check_membership(uuid, uuid, smallint, integer, boolean) owner to bulkhead_identity_definer;
revoke all on function identity.check_membership(uuid, uuid, smallint, integer, boolean) from public;
grant execute on function identity.check_membership(uuid, uuid, smallint, integer, boolean) to bulkhead_audit_app,
    bulkhead_identity_app, bulkhead_issues_app;
comment on function identity.check_membership(uuid, uuid, smallint, integer, boolean) is
'First step of every transaction of a member: is the membership still what her token says, and is the tenant open.';

create or replace function identity.check_platform_admin()
 returns void
 language plpgsql
 stable security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    if not exists (
        select from identity.users as u
        where u.user_id = app.current_user_id() and u.is_platform_admin and u.status = 'active'
    ) then
        perform app.refuse(7, 'CALLER_NOT_ALLOWED', 'only platform administrators may call the method');
    end if;
end
$function$;
alter function identity.check_platform_admin() owner to bulkhead_identity_definer;
revoke all on function identity.check_platform_admin() from public;
grant execute on function identity.check_platform_admin() to bulkhead_platform_app;
comment on function identity.check_platform_admin() is
'First step of every transaction of a platform administrator: whether she is one now, whatever her token says.';

create or replace function identity.check_tenant(p_tenant uuid, p_write boolean)
 returns void
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_status text;
begin
    if p_write is distinct from false then
        if current_setting('transaction_isolation') <> 'read committed' then
            raise exception 'a write looks at its right as it is now, so its transaction is read committed'
                using errcode = 'invalid_transaction_state';
        end if;
        perform pg_advisory_xact_lock_shared(identity.tenant_key(p_tenant));
    end if;
    select t.status into v_status from identity.tenants as t where t.tenant_id = p_tenant;
    if v_status is null or v_status = 'deleted' then
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
    elsif v_status = 'suspended' and p_write is distinct from false then
        perform app.refuse(9, 'TENANT_SUSPENDED', 'the tenant is suspended: reads work, writes are refused');
    end if;
end
$function$;
alter function identity.check_tenant(uuid, boolean) owner to bulkhead_identity_definer;
revoke all on function identity.check_tenant(uuid, boolean) from public;
grant execute on function identity.check_tenant(uuid, boolean) to bulkhead_audit_app, bulkhead_identity_app,
    bulkhead_issues_app;
comment on function identity.check_tenant(uuid, boolean) is
'First step of every transaction of a service in a tenant: is the tenant open.';

create or replace function identity.claim_attempt(p_bucket bytea, p_email text)
 returns table(wait double precision, claimed_at timestamp with time zone)
 language plpgsql
 security definer rows 1
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    -- By the clock, not by now(): who has waited for the row looks at it as it is then.
    insert into identity.login_throttles as t (bucket, last_at, retry_at)
    values (p_bucket, clock_timestamp(), clock_timestamp())
    on conflict (bucket) do update set
        failures = case when t.last_at < clock_timestamp() - interval '1 day' then 1 else t.failures + 1 end,
        last_at = clock_timestamp(),
        retry_at = clock_timestamp() + case
            when t.failures + 1 < 5 or t.last_at < clock_timestamp() - interval '1 day' then interval '0'
            else make_interval(secs => least(900, power(2, least(t.failures - 4, 10))))
        end
    where t.retry_at <= clock_timestamp()
    returning t.last_at into claim_attempt.claimed_at;
    if found then
        return next;
        return;
    end if;
    select greatest(extract(epoch from t.retry_at - clock_timestamp()), 0.001) into claim_attempt.wait
    from identity.login_throttles as t where t.bucket = p_bucket;
    update identity.login_throttles as t set reported_at = clock_timestamp()
    where t.bucket = p_bucket
    and (t.reported_at is null or t.reported_at < clock_timestamp() - interval '1 minute');
    if found then
        perform identity.record_event(
            'session.login_throttled', 'user', coalesce(app.current_user_id(), '00000000-0000-0000-0000-000000000000'),
            'denied', jsonb_build_object('email', jsonb_build_array(null, p_email))
        );
    end if;
    return next;
end
$function$;
alter function identity.claim_attempt(bytea, text) owner to bulkhead_identity_definer;
revoke all on function identity.claim_attempt(bytea, text) from public;
grant execute on function identity.claim_attempt(bytea, text) to bulkhead_identity_app;
comment on function identity.claim_attempt(bytea, text) is
'Counts one try of a password before it is looked at, so that many at once count one by one, and tells when; or the seconds to wait. The first five are free, then 1 s, 2 s, 4 s ... 15 min.';

create or replace function identity.claim_mail(p_kind text, p_email text, p_tenant_id uuid)
 returns double precision
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_each constant interval := interval '96 minutes';
    v_bucket constant bytea := sha256(
        convert_to(concat_ws(' ', p_kind, p_tenant_id, lower(p_email collate "C")), 'UTF8')
    );
    v_next_at timestamptz;
begin
    -- By the clock, not by now(): who has waited for the row looks at it as it is then.
    insert into identity.mail_limits as l (bucket, free_at) values (v_bucket, clock_timestamp() + v_each)
    on conflict (bucket) do update set free_at = greatest(l.free_at, clock_timestamp()) + v_each
    where l.free_at <= clock_timestamp() + 4 * v_each;
    if found then
        return null;
    end if;
    select l.free_at - 4 * v_each into v_next_at from identity.mail_limits as l where l.bucket = v_bucket;
    return greatest(extract(epoch from v_next_at - clock_timestamp()), 1);
end
$function$;
alter function identity.claim_mail(text, text, uuid) owner to bulkhead_identity_definer;
revoke all on function identity.claim_mail(text, text, uuid) from public;
comment on function identity.claim_mail(text, text, uuid) is
'Counts a mail of a kind to an address before it is queued. Null: it may be; else the seconds until the next one may. Five at once, then one every 96 minutes: twenty in any day. With the rights of who calls it, and nobody else may.';

create or replace function identity.claim_project(p_tenant uuid)
 returns void
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_used bigint;
    v_limit bigint;
begin
    if p_tenant is distinct from app.current_tenant_id() then
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
    end if;
    update identity.tenant_usage as u set projects = u.projects + 1 where u.tenant_id = p_tenant
    returning u.projects - 1 into strict v_used;
    v_limit := identity.limit_of(p_tenant, 'projects');
    if v_used >= v_limit then
        perform app.refuse(
            8, 'PLAN_LIMIT_REACHED', format('the plan allows %s projects, %s are in use', v_limit, v_used),
            jsonb_build_object('limit', 'projects', 'value', v_limit::text, 'used', v_used::text)
        );
    end if;
end
$function$;
alter function identity.claim_project(uuid) owner to bulkhead_identity_definer;
revoke all on function identity.claim_project(uuid) from public;
grant execute on function identity.claim_project(uuid) to bulkhead_issues_app;
comment on function identity.claim_project(uuid) is
'Counts one more project of the tenant in context, or refuses with the plan''s limit.';

create or replace function identity.claim_room(p_bucket bytea, p_each interval, p_at_once integer)
 returns double precision
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_next_at timestamptz;
begin
    -- By the clock, not by now(): who has waited for the row looks at it as it is then.
    insert into identity.mail_limits as l (bucket, free_at) values (p_bucket, clock_timestamp() + p_each)
    on conflict (bucket) do update set free_at = greatest(l.free_at, clock_timestamp()) + p_each
    where l.free_at <= clock_timestamp() + (p_at_once - 1) * p_each;
    if found then
        return null;
    end if;
    select l.free_at - (p_at_once - 1) * p_each into v_next_at
    from identity.mail_limits as l where l.bucket = p_bucket;
    return greatest(extract(epoch from v_next_at - clock_timestamp()), 1);
end
$function$;
alter function identity.claim_room(bytea, interval, integer) owner to bulkhead_identity_definer;
revoke all on function identity.claim_room(bytea, interval, integer) from public;
comment on function identity.claim_room(bytea, interval, integer) is
'Counts a mail in one bucket before it is queued: so many at once, then one after each interval. Null: it may be; else the seconds until it may. With the rights of who calls it, and nobody else may.';

create or replace function identity.close_account(p_session_id uuid, p_checked_hash text, p_unknown_hash text, p_mail_id uuid)
 returns void
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_user_id constant uuid := app.current_user_id();
    v_tenant_id uuid;
begin
    -- First the person, as UpdateMe takes her; then the limits of her tenants in the order of their ids, then the rest.
    perform 1 from identity.users as u
    where u.user_id = v_user_id and u.kind = 'person' and u.status = 'active' for no key update;
    if not found or not exists (
        select from identity.sessions as s
        where s.session_id = p_session_id and s.user_id = v_user_id and s.revoked_at is null and s.expires_at > now()
    ) then
        perform app.refuse(16, 'SESSION_ENDED', 'the session has ended, log in again');
    end if;
    if not exists (
        select from identity.user_credentials as c where c.user_id = v_user_id and c.password_hash = p_checked_hash
    ) then
        perform app.refuse(10, 'CONFLICT', 'the password was changed by another call meanwhile, try again');
    end if;
    perform pg_advisory_xact_lock(identity.person_key(v_user_id));
    -- Those that have invited her too: her invitations are taken back below.
    perform 1 from identity.tenant_usage as t
    where t.tenant_id in (
        select m.tenant_id from identity.memberships as m where m.user_id = v_user_id
        union all
        select i.tenant_id from identity.invitations as i
        inner join identity.users as u on u.email_key = i.email_key
        where u.user_id = v_user_id and i.status = 'open'
    )
    order by t.tenant_id for no key update;
    select m.tenant_id into v_tenant_id from identity.memberships as m
    inner join identity.tenants as t on t.tenant_id = m.tenant_id
    where m.user_id = v_user_id and m.role = 5 and m.status = 'active' and not exists (
        select from identity.memberships as o
        where o.tenant_id = m.tenant_id and o.user_id <> v_user_id and o.role = 5 and o.status = 'active'
    )
    -- Who comes back to nothing answers for nothing.
    and not (t.status = 'deleted' and t.purge_after <= now())
    order by m.tenant_id limit 1;
    if found then
        perform app.refuse(
            9, 'LAST_OWNER', 'a tenant would be left without an active owner',
            jsonb_build_object('tenant_id', v_tenant_id)
        );
    end if;
    update identity.memberships as m
    set status = 'disabled', left_at = now(), display_name = 'Deleted user', avatar_url = null
    where m.user_id = v_user_id;
    update identity.team_members as t set is_lead = false, removed_at = now()
    where t.user_id = v_user_id and t.removed_at is null;
    update identity.sessions as s set revoked_at = now(), revoked_reason = 'account_closed'
    where s.user_id = v_user_id and s.revoked_at is null;
    update identity.one_time_tokens as t set revoked_at = now(), password_hash = null
    where t.user_id = v_user_id and t.used_at is null and t.revoked_at is null;
    -- Nobody knows the password of this one, and nobody finds it: the address is gone.
    update identity.user_credentials as c set password_hash = p_unknown_hash, password_changed_at = now()
    where c.user_id = v_user_id;
    update identity.user_profiles as p
    set bio = null, phone = null, company = null, department = null, job_title = null, time_zone = null, locale = null,
        preferences = '{}', is_onboarded = false
    where p.user_id = v_user_id;
    insert into identity.mails (mail_id, kind, to_address, subject_id)
    select p_mail_id, 'account_closed', u.email, u.user_id from identity.users as u where u.user_id = v_user_id;
    update identity.users as u
    set status = 'erased', email = null, email_verified_at = null, full_name = 'Deleted user', first_name = null,
        last_name = null, avatar_url = null, is_platform_admin = false
    where u.user_id = v_user_id;
end
$function$;
alter function identity.close_account(uuid, text, text, uuid) owner to bulkhead_identity_definer;
revoke all on function identity.close_account(uuid, text, text, uuid) from public;
grant execute on function identity.close_account(uuid, text, text, uuid) to bulkhead_identity_app;
comment on function identity.close_account(uuid, text, text, uuid) is
'Ends the account of the person in context, who has proved that she knows the password that p_checked_hash is of: nothing of her is left but a member without a name, to whom references lead.';

create or replace function identity.create_service_account(p_user_id uuid, p_display_name text, p_role smallint)
 returns void
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    if app.current_tenant_id() is null or app.role_level() not in (4, 5) then
        perform app.refuse(7, 'ROLE_TOO_LOW', 'only admins make service accounts', '{"least_role": "ADMIN"}');
    elsif p_role > app.role_level() then
        perform app.refuse(7, 'ROLE_ABOVE_OWN', 'the role is above the caller''s own');
    end if;
    perform identity.lock_limits(app.current_tenant_id());
    insert into identity.users (user_id, kind, full_name) values (p_user_id, 'service', p_display_name);
    insert into identity.memberships (tenant_id, user_id, kind, role, display_name)
    values (app.current_tenant_id(), p_user_id, 'service', p_role, p_display_name);
end
$function$;
alter function identity.create_service_account(uuid, text, smallint) owner to bulkhead_identity_definer;
revoke all on function identity.create_service_account(uuid, text, smallint) from public;
grant execute on function identity.create_service_account(uuid, text, smallint) to bulkhead_identity_app;
comment on function identity.create_service_account(uuid, text, smallint) is
'A member of the tenant in context that is no person: it acts by API keys, takes no seat and is never an owner.';

create or replace function identity.create_tenant(p_tenant_id uuid, p_slug text, p_name text)
 returns setof identity.tenants
 language plpgsql
 security definer rows 1
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_user_id constant uuid := app.current_user_id();
    v_an_hour integer;
    v_full_name text;
    v_avatar_url text;
    v_limit integer;
    v_used bigint;
    v_oldest timestamptz;
begin
    -- First the person, as UpdateMe and CloseAccount take them: of many calls at once each counts what the others made.
    select u.full_name, u.avatar_url into v_full_name, v_avatar_url from identity.users as u
    where u.user_id = v_user_id and u.kind = 'person' and u.status = 'active' and u.email_verified_at is not null
    for no key update;
    if not found then
        perform app.refuse(16, 'SESSION_ENDED', 'the account is closed, log in again');
    end if;
    select a.max_tenants into v_limit from identity.tenant_allowances as a where a.user_id = v_user_id;
    v_limit := coalesce(v_limit, 10);
    v_an_hour := greatest(20, v_limit / 10);
    v_used := identity.tenants_of(v_user_id);
    if v_used >= v_limit then
        perform app.refuse(
            8, 'PLAN_LIMIT_REACHED', format('a person may have made %s tenants, %s are in use', v_limit, v_used),
            jsonb_build_object('limit', 'tenants', 'value', v_limit::text, 'used', v_used::text)
        );
    end if;
    select t.created_at into v_oldest from identity.tenants as t
    where t.created_by = v_user_id and t.created_at > now() - interval '1 hour'
    order by t.created_at desc offset v_an_hour - 1 limit 1;
    if found then
        perform app.refuse(
            8, 'RATE_LIMITED', format('a person makes %s tenants an hour, wait before the next', v_an_hour),
            jsonb_build_object(
                'limit', 'tenants', 'rate', v_an_hour || '/3600s',
                'retry_after', extract(epoch from v_oldest + interval '1 hour' - now())::text
            )
        );
    end if;
    return query
    insert into identity.tenants as t (tenant_id, slug, name) values (p_tenant_id, p_slug, p_name)
    returning t.*;
    insert into identity.tenant_usage (tenant_id) values (p_tenant_id);
    insert into identity.memberships (tenant_id, user_id, kind, role, display_name, avatar_url)
    values (p_tenant_id, v_user_id, 'person', 5, v_full_name, v_avatar_url);
end
$function$;
alter function identity.create_tenant(uuid, text, text) owner to bulkhead_identity_definer;
revoke all on function identity.create_tenant(uuid, text, text) from public;
grant execute on function identity.create_tenant(uuid, text, text) to bulkhead_identity_app;
comment on function identity.create_tenant(uuid, text, text) is
'A tenant with the person in context as its owner, if they have made fewer than they may.';

create or replace function identity.delete_tenant(p_tenant uuid, p_slug text, p_role smallint, p_version integer)
 returns setof identity.tenants
 language plpgsql
 security definer rows 1
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    -- The limits first, as everywhere; then the writers' lock alone, before any other: whoever holds it shared and then
    -- waits for the tenant's row would else be in our way, and we in hers.
    perform identity.lock_limits(p_tenant);
    perform pg_advisory_xact_lock(identity.tenant_key(p_tenant));
    perform 1 from identity.check_membership(p_tenant, app.current_user_id(), p_role, p_version, true);
    if p_role < 5 then
        perform app.refuse(7, 'ROLE_TOO_LOW', 'only an owner deletes the tenant', '{"least_role": "OWNER"}');
    end if;
    if not exists (select from identity.tenants as t where t.tenant_id = p_tenant and t.slug = p_slug) then
        perform app.refuse(3, 'INVALID_FIELD', 'slug: must be that of the tenant', '{"field": "slug"}');
    end if;
    return query
    update identity.tenants as t
    set status = 'deleted', status_reason = null, deleted_at = now(), purge_after = now() + interval '30 days'
    where t.tenant_id = p_tenant
    returning t.*;
end
$function$;
alter function identity.delete_tenant(uuid, text, smallint, integer) owner to bulkhead_identity_definer;
revoke all on function identity.delete_tenant(uuid, text, smallint, integer) from public;
grant execute on function identity.delete_tenant(uuid, text, smallint, integer) to bulkhead_identity_app;
comment on function identity.delete_tenant(uuid, text, smallint, integer) is
'Ends a tenant, by one of its owners: after COMMIT nothing in it is read or written. Role and version are those of her token, which are checked as for every other call.';

create or replace function identity.enter_support(p_tenant uuid, p_session uuid, p_entry uuid)
 returns table(role smallint, version integer, support_until timestamp with time zone)
 language plpgsql
 security definer rows 1
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
#variable_conflict use_column
declare
    v_user constant uuid := app.current_user_id();
    v_grant uuid;
    v_role smallint;
    v_until timestamptz;
begin
    -- Before the look and before any other lock: who stops to administer the platform, or closes her account, has this
    -- row first and then looks for what she has to be shown out of.
    perform 1 from identity.users as u where u.user_id = v_user for share;
    perform identity.check_platform_admin();
    if not exists (
        select from identity.sessions as s
        where s.session_id = p_session and s.user_id = v_user and s.revoked_at is null and s.expires_at > now()
    ) then
        perform app.refuse(16, 'SESSION_ENDED', 'the session has ended, log in again');
    end if;
    perform identity.lock_limits(p_tenant);
    if not exists (select from identity.tenants as t where t.tenant_id = p_tenant and t.status <> 'deleted') then
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
    end if;
    if exists (
        select from identity.memberships as m
        where m.tenant_id = p_tenant and m.user_id = v_user and m.support_until is null
    ) then
        perform app.refuse(
            9, 'STATE_NOT_ALLOWED', 'she is or was a member of the tenant by herself', '{"state": "member"}'
        );
    end if;
    select g.grant_id, g.role, g.expires_at into v_grant, v_role, v_until
    from identity.support_grants as g
    where g.tenant_id = p_tenant and g.revoked_at is null and g.expires_at > clock_timestamp();
    if not found then
        perform app.refuse(
            9, 'STATE_NOT_ALLOWED', 'the tenant has not granted support access', '{"state": "not_granted"}'
        );
    end if;
    insert into identity.memberships as m (tenant_id, user_id, kind, role, display_name, avatar_url, support_until)
    select p_tenant, u.user_id, u.kind, v_role, u.full_name, u.avatar_url, v_until
    from identity.users as u where u.user_id = v_user
    on conflict (tenant_id, user_id) do nothing;
    update identity.memberships as m set role = v_role, status = 'active', left_at = null, support_until = v_until
    where
        m.tenant_id = p_tenant and m.user_id = v_user
        and (m.role, m.status, m.support_until) is distinct from (v_role, 'active', v_until);
    insert into identity.support_entries (tenant_id, entry_id, grant_id, user_id)
    values (p_tenant, p_entry, v_grant, v_user)
    on conflict (tenant_id, entry_id) do nothing;
    if not found then
        -- The request_id is the entry's id: this call has been made before, or somebody else's has.
        if exists (
            select from identity.support_entries as e
            where e.tenant_id = p_tenant and e.entry_id = p_entry and e.user_id = v_user
        ) then
            perform app.refuse(9, 'SECRET_ALREADY_SHOWN', 'this call has been made, its token is not kept');
        end if;
        perform app.refuse(3, 'REQUEST_ID_REUSED', 'the request_id was used with another request');
    end if;
    return query
    select m.role, m.version, m.support_until from identity.memberships as m
    where m.tenant_id = p_tenant and m.user_id = v_user;
end
$function$;
alter function identity.enter_support(uuid, uuid, uuid) owner to bulkhead_identity_definer;
revoke all on function identity.enter_support(uuid, uuid, uuid) from public;
grant execute on function identity.enter_support(uuid, uuid, uuid) to bulkhead_platform_app;
comment on function identity.enter_support(uuid, uuid, uuid) is
'Makes the platform administrator in context a member of a tenant that lets her in, until its grant ends.';

create or replace function identity.expire_invitations(p_tenant uuid)
 returns integer
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_count integer;
begin
    perform identity.lock_limits(p_tenant);
    update identity.invitations as i set status = 'expired'
    where i.tenant_id = p_tenant and i.status = 'open' and i.expires_at <= now();
    get diagnostics v_count = row_count;
    return v_count;
end
$function$;
alter function identity.expire_invitations(uuid) owner to bulkhead_identity_definer;
revoke all on function identity.expire_invitations(uuid) from public;
grant execute on function identity.expire_invitations(uuid) to bulkhead_identity_app, bulkhead_identity_worker;
comment on function identity.expire_invitations(uuid) is
'Gives back the seats of a tenant''s invitations that nobody accepted in time.';

create or replace function identity.find_api_key(p_secret_hash bytea, p_ip inet)
 returns table(tenant_id uuid, user_id uuid, role smallint, version integer, expires_at timestamp with time zone, made_by uuid)
 language plpgsql
 security definer rows 1
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
#variable_conflict use_column
declare
    v_api_key_id uuid;
    v_last_used_at timestamptz;
begin
    select k.tenant_id, k.user_id, least(m.role, c.role), m.version, k.expires_at, k.created_by, k.api_key_id,
        k.last_used_at
    into
        find_api_key.tenant_id, find_api_key.user_id, find_api_key.role, find_api_key.version,
        find_api_key.expires_at, find_api_key.made_by, v_api_key_id, v_last_used_at
    from identity.api_keys as k
    inner join identity.memberships as m on m.tenant_id = k.tenant_id and m.user_id = k.user_id
    inner join identity.users as u on u.user_id = k.user_id
    -- Who made it, as she is now.
    inner join identity.memberships as c on c.tenant_id = k.tenant_id and c.user_id = k.created_by
    inner join identity.users as cu on cu.user_id = k.created_by
    where
        k.secret_hash = sha256(p_secret_hash) and k.revoked_at is null
        and (k.expires_at is null or k.expires_at > now())
        and (cardinality(k.ip_ranges) = 0 or p_ip <<= any(k.ip_ranges))
        and m.kind = 'service' and m.status = 'active' and u.status = 'active'
        and c.kind = 'person' and c.status = 'active' and cu.status = 'active';
    if not found then
        return;
    end if;
    if v_last_used_at is null or v_last_used_at <= now() - interval '1 minute' then
        -- Of calls at once one writes it down, and none waits for another.
        update identity.api_keys as k set last_used_at = now()
        from (
            select f.tenant_id, f.api_key_id from identity.api_keys as f
            where f.tenant_id = find_api_key.tenant_id and f.api_key_id = v_api_key_id
            for no key update skip locked
        ) as free
        where k.tenant_id = free.tenant_id and k.api_key_id = free.api_key_id;
    end if;
    return next;
end
$function$;
alter function identity.find_api_key(bytea, inet) owner to bulkhead_identity_definer;
revoke all on function identity.find_api_key(bytea, inet) from public;
grant execute on function identity.find_api_key(bytea, inet) to bulkhead_audit_app, bulkhead_identity_app,
    bulkhead_issues_app;
comment on function identity.find_api_key(bytea, inet) is
'First step of every call with an API key: the membership it stands for, with the lower of its account''s and its maker''s role, and who made it. No row for one that is unknown, revoked, expired, used from elsewhere, or of an account or a maker that is disabled.';

create or replace function identity.find_credentials(p_email text)
 returns table(user_id uuid, password_hash text, is_active boolean, is_platform_admin boolean)
 language sql
 stable security definer rows 1
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
    select u.user_id, c.password_hash, u.status = 'active', u.is_platform_admin
    from identity.users as u
    inner join identity.user_credentials as c on c.user_id = u.user_id
    where u.email_key = lower(p_email collate "C") and u.email_verified_at is not null;
$function$;
alter function identity.find_credentials(text) owner to bulkhead_identity_definer;
revoke all on function identity.find_credentials(text) from public;
grant execute on function identity.find_credentials(text) to bulkhead_identity_app;
comment on function identity.find_credentials(text) is
'For Login: the hash to check the given password against, of one address at a time. An address that is not proved is as unknown as one that nobody gave.';

create or replace function identity.find_own_credentials(p_session_id uuid)
 returns table(email text, full_name text, password_hash text)
 language plpgsql
 stable security definer rows 1
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    return query select u.email, u.full_name, c.password_hash
    from identity.sessions as s
    inner join identity.users as u on u.user_id = s.user_id
    inner join identity.user_credentials as c on c.user_id = s.user_id
    where s.session_id = p_session_id and s.user_id = app.current_user_id()
    and s.revoked_at is null and s.expires_at > now() and u.status = 'active';
    if not found then
        perform app.refuse(16, 'SESSION_ENDED', 'the session has ended, log in again');
    end if;
end
$function$;
alter function identity.find_own_credentials(uuid) owner to bulkhead_identity_definer;
revoke all on function identity.find_own_credentials(uuid) from public;
grant execute on function identity.find_own_credentials(uuid) to bulkhead_identity_app;
comment on function identity.find_own_credentials(uuid) is
'For ChangePassword: the hash to check the password against, of the person in context, whose session lasts.';

create or replace function identity.find_reset(p_token_hash bytea, p_request_id uuid)
 returns table(email text, full_name text, password_hash text)
 language sql
 stable security definer rows 1
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
    -- The password only for who has used the token already, with this very request.
    select u.email, u.full_name, case when t.used_at is not null then c.password_hash end
    from identity.one_time_tokens as t
    inner join identity.users as u on u.user_id = t.user_id
    inner join identity.user_credentials as c on c.user_id = t.user_id
    where t.token_hash = p_token_hash and t.purpose = 'reset_password' and u.status = 'active' and (
        t.used_at is null and t.revoked_at is null and t.expires_at > now() or t.used_by_request = p_request_id
    );
$function$;
alter function identity.find_reset(bytea, uuid) owner to bulkhead_identity_definer;
revoke all on function identity.find_reset(bytea, uuid) from public;
grant execute on function identity.find_reset(bytea, uuid) to bulkhead_identity_app;
comment on function identity.find_reset(bytea, uuid) is
'For ResetPassword: what a new password must not resemble. Of a token that this request_id has used, also the hash that it brought: a repeat with the same password gets the same answer.';

create or replace function identity.forget_failures(p_bucket bytea)
 returns void
 language sql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
    update identity.login_throttles as t set failures = 0, retry_at = now() where t.bucket = p_bucket;
$function$;
alter function identity.forget_failures(bytea) owner to bulkhead_identity_definer;
revoke all on function identity.forget_failures(bytea) from public;
grant execute on function identity.forget_failures(bytea) to bulkhead_identity_app;
comment on function identity.forget_failures(bytea) is
'The password was right.';

create or replace function identity.give_back_attempt(p_bucket bytea, p_claimed_at timestamp with time zone)
 returns void
 language sql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
    -- Only the try that was claimed last: another one since may have been looked at, and its pause stays. And once.
    update identity.login_throttles as t
    set failures = greatest(t.failures - 1, 0), last_at = t.last_at - interval '1 microsecond', retry_at = t.last_at
    where t.bucket = p_bucket and t.last_at = p_claimed_at;
$function$;
alter function identity.give_back_attempt(bytea, timestamp with time zone) owner to bulkhead_identity_definer;
revoke all on function identity.give_back_attempt(bytea, timestamp with time zone) from public;
grant execute on function identity.give_back_attempt(bytea, timestamp with time zone) to bulkhead_identity_app;
comment on function identity.give_back_attempt(bytea, timestamp with time zone) is
'The password of the try that was claimed then was not looked at: it does not count, unless another one was claimed since.';

create or replace function identity.give_back_verification(p_token_hash bytea)
 returns void
 language sql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
    update identity.one_time_tokens as t set attempts = t.attempts - 1
    where t.token_hash = p_token_hash and t.purpose = 'verify_email' and t.used_at is null and t.revoked_at is null
    and t.attempts > 0;
$function$;
alter function identity.give_back_verification(bytea) owner to bulkhead_identity_definer;
revoke all on function identity.give_back_verification(bytea) from public;
grant execute on function identity.give_back_verification(bytea) to bulkhead_identity_app;
comment on function identity.give_back_verification(bytea) is
'Of one try that try_verification has counted nobody looked at the password: it does not count.';

create or replace function identity.has_member(p_email text)
 returns boolean
 language sql
 stable security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
    select exists (
        select from identity.users as u
        inner join identity.memberships as m on m.user_id = u.user_id
        where
            u.email_key = lower(p_email collate "C") and m.tenant_id = app.current_tenant_id() and m.left_at is null
    );
$function$;
alter function identity.has_member(text) owner to bulkhead_identity_definer;
revoke all on function identity.has_member(text) from public;
grant execute on function identity.has_member(text) to bulkhead_identity_app;
comment on function identity.has_member(text) is
'Whether a member of the tenant in context, active or not, has the address.';

create or replace function identity.hold_team(p_tenant uuid, p_team uuid)
 returns void
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    if p_tenant is distinct from app.current_tenant_id() then
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
    end if;
    perform pg_advisory_xact_lock_shared(identity.team_key(p_tenant, p_team));
    if exists (
        select from identity.teams as t
        where t.tenant_id = p_tenant and t.team_id = p_team and t.archived_at is not null
    ) then
        perform app.refuse(9, 'ARCHIVED', 'the team is archived', '{"resource": "team"}');
    end if;
end
$function$;
alter function identity.hold_team(uuid, uuid) owner to bulkhead_identity_definer;
revoke all on function identity.hold_team(uuid, uuid) from public;
grant execute on function identity.hold_team(uuid, uuid) to bulkhead_issues_app;
comment on function identity.hold_team(uuid, uuid) is
'Refuses an archived team of the tenant in context, and keeps one in use from being archived until the transaction ends. A team that is not there is left to the foreign key.';

create or replace function identity.hold_tenant(p_tenant uuid)
 returns void
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    perform identity.check_platform_admin();
    -- Before the tenant's row, or we were in the way of a member who has begun to write it, and she in ours.
    perform identity.lock_limits(p_tenant);
    perform pg_advisory_xact_lock(identity.tenant_key(p_tenant));
end
$function$;
alter function identity.hold_tenant(uuid) owner to bulkhead_identity_definer;
revoke all on function identity.hold_tenant(uuid) from public;
grant execute on function identity.hold_tenant(uuid) to bulkhead_platform_app;
comment on function identity.hold_tenant(uuid) is
'The locks of who changes a tenant''s state or plan: its limits, and its writers'' lock alone.';

create or replace function identity.import_members(p_source text, p_user_ids uuid[], p_external_ids text[], p_names text[], p_avatar_urls text[])
 returns table(external_id text, user_id uuid, is_new boolean)
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
#variable_conflict use_column
begin
    if app.role_level() <> 6 or app.current_tenant_id() is null then
        perform app.refuse(7, 'CALLER_NOT_ALLOWED', 'only services import members');
    end if;
    -- Two imports of one author at a time would leave a person who is nobody's member.
    perform identity.lock_limits(app.current_tenant_id());
    return query
    with given as (
        select g.user_id, g.external_id, g.name, g.avatar_url
        from unnest(p_user_ids, p_external_ids, p_names, p_avatar_urls) as g (user_id, external_id, name, avatar_url)
    ),
    known as (
        select m.external_id, m.user_id from identity.memberships as m
        where m.tenant_id = app.current_tenant_id() and m.external_source = p_source
        and m.external_id = any(p_external_ids)
    ),
    fresh as (
        select g.user_id, g.external_id, g.name, g.avatar_url from given as g
        where not exists (select from known as k where k.external_id = g.external_id)
    ),
    made as (
        insert into identity.users (user_id, kind, full_name, avatar_url)
        select f.user_id, 'placeholder', f.name, f.avatar_url from fresh as f
        returning user_id
    ),
    joined as (
        insert into identity.memberships (
            tenant_id, user_id, kind, role, display_name, avatar_url, external_source, external_id
        )
        select
            app.current_tenant_id(), f.user_id, 'placeholder', 1, f.name, f.avatar_url, p_source, f.external_id
        from fresh as f
        -- Not for the rows but for the order: users first.
        inner join made on made.user_id = f.user_id
        returning external_id, user_id
    )
    select k.external_id, k.user_id, false from known as k
    union all
    select j.external_id, j.user_id, true from joined as j;
end
$function$;
alter function identity.import_members(text, uuid[], text[], text[], text[]) owner to bulkhead_identity_definer;
revoke all on function identity.import_members(text, uuid[], text[], text[], text[]) from public;
grant execute on function identity.import_members(text, uuid[], text[], text[], text[]) to bulkhead_identity_app;
comment on function identity.import_members(text, uuid[], text[], text[], text[]) is
'Placeholders for the authors of an import, each made once a tenant, source and external id.';

create or replace function identity.lead_delivery()
 returns boolean
 language sql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
return pg_try_advisory_lock('-7996926706813633332'::bigint);
alter function identity.lead_delivery() owner to bulkhead_identity_definer;
revoke all on function identity.lead_delivery() from public;
grant execute on function identity.lead_delivery() to bulkhead_identity_relay;
comment on function identity.lead_delivery() is
'Whether this session delivers the outbox now; it does until it ends.';

create or replace function identity.leave_tenant(p_tenant_id uuid)
 returns void
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_member_status text;
    v_left boolean;
begin
    -- A stranger takes no lock of theirs.
    if not exists (
        select from identity.memberships as m where m.tenant_id = p_tenant_id and m.user_id = app.current_user_id()
    ) then
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
    end if;
    perform identity.lock_limits(p_tenant_id);
    perform pg_advisory_xact_lock_shared(identity.tenant_key(p_tenant_id));
    select m.status, m.left_at is not null into v_member_status, v_left
    from identity.memberships as m
    inner join identity.tenants as t on t.tenant_id = m.tenant_id
    where
        m.tenant_id = p_tenant_id and m.user_id = app.current_user_id() and m.kind = 'person' and t.status <> 'deleted';
    if v_left then
        return;
    elsif v_member_status = 'active' then
        update identity.memberships as m set status = 'disabled', left_at = now()
        where m.tenant_id = p_tenant_id and m.user_id = app.current_user_id();
    else
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
    end if;
end
$function$;
alter function identity.leave_tenant(uuid) owner to bulkhead_identity_definer;
revoke all on function identity.leave_tenant(uuid) from public;
grant execute on function identity.leave_tenant(uuid) to bulkhead_identity_app;
comment on function identity.leave_tenant(uuid) is
'Ends the membership of the person in context in a tenant; again changes nothing.';

create or replace function identity.lock_limits(p_tenant uuid)
 returns void
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    perform 1 from identity.tenant_usage as u where u.tenant_id = p_tenant for no key update;
end
$function$;
alter function identity.lock_limits(uuid) owner to bulkhead_identity_definer;
revoke all on function identity.lock_limits(uuid) from public;
grant execute on function identity.lock_limits(uuid) to bulkhead_identity_app, bulkhead_issues_app;
comment on function identity.lock_limits(uuid) is
'The first lock of a call that changes memberships or counts against a limit; everybody in one order, so nobody deadlocks.';

create or replace function identity.lookup_tenant(p_slug text)
 returns table(name text, logo_url text, branding jsonb)
 language sql
 stable security definer rows 1
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
    -- One row whatever the slug: the same plan and the same answer for one that nobody has and one that is deleted.
    select coalesce(t.name, p_slug), t.logo_url, nullif(t.branding, '{}')
    from (values (p_slug)) as asked (slug)
    left join identity.tenants as t on t.slug = asked.slug and t.status <> 'deleted';
$function$;
alter function identity.lookup_tenant(text) owner to bulkhead_identity_definer;
revoke all on function identity.lookup_tenant(text) from public;
grant execute on function identity.lookup_tenant(text) to bulkhead_identity_app;
comment on function identity.lookup_tenant(text) is
'What a tenant shows to everybody. Of an unknown slug and of a deleted tenant''s there is nothing but the slug itself.';

create or replace function identity.mail_invitation(p_mail_id uuid, p_invitation_id uuid, p_details jsonb)
 returns double precision
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_email text;
    v_email_key text;
    v_person constant uuid := app.current_user_id();
    v_wait double precision;
begin
    select i.email into v_email from identity.invitations as i
    where i.tenant_id = app.current_tenant_id() and i.invitation_id = p_invitation_id and i.status = 'open'
    and app.role_level() >= 4;
    if not found then
        raise exception 'identity.mail_invitation: there is no such open invitation in this tenant';
    end if;
    v_email_key := lower(v_email collate "C");
    -- Always in this order: the rows are locked until the end of the transaction. A refusal ends it, with all claims.
    v_wait := coalesce(
        identity.claim_mail('invitation', v_email, app.current_tenant_id()),
        identity.claim_room(
            sha256(convert_to(concat_ws(' ', 'invitation', 'by', v_person, v_email_key), 'UTF8')),
            interval '96 minutes', 5
        ),
        identity.claim_room(
            sha256(convert_to(concat_ws(' ', 'invitations', 'by', v_person), 'UTF8')), interval '7.2 seconds', 500
        ),
        identity.claim_room(
            sha256(convert_to(concat_ws(' ', 'invitations', 'to', v_email_key), 'UTF8')), interval '72 minutes', 20
        )
    );
    if v_wait is null then
        insert into identity.mails (mail_id, kind, to_address, subject_id, details)
        values (p_mail_id, 'invitation', v_email, p_invitation_id, p_details);
    end if;
    return v_wait;
end
$function$;
alter function identity.mail_invitation(uuid, uuid, jsonb) owner to bulkhead_identity_definer;
revoke all on function identity.mail_invitation(uuid, uuid, jsonb) from public;
grant execute on function identity.mail_invitation(uuid, uuid, jsonb) to bulkhead_identity_app;
comment on function identity.mail_invitation(uuid, uuid, jsonb) is
'Queues the mail of an open invitation of the context''s tenant. Null: it is queued; else the seconds until it may be: a tenant, and a person over all tenants, may send five to an address at once and twenty a day, a person 500 an hour to whomever, and an address gets at most twenty at once and twenty a day, whoever causes them.';

create or replace function identity.my_tenants(p_after uuid, p_limit integer, p_deleted boolean)
 returns table(tenant_id uuid, slug text, name text, logo_url text, status text, role smallint, joined_at timestamp with time zone, purge_after timestamp with time zone)
 language sql
 stable security definer rows 10
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
    select t.tenant_id, t.slug, t.name, t.logo_url, t.status, m.role, m.joined_at, t.purge_after
    from identity.memberships as m
    inner join identity.tenants as t on t.tenant_id = m.tenant_id
    where
        m.user_id = app.current_user_id() and m.kind = 'person' and m.status = 'active'
        and m.support_until is null
        and (t.status <> 'deleted' or p_deleted and m.role = 5 and t.purge_after > now())
        and (p_after is null or m.tenant_id > p_after)
    order by m.tenant_id
    limit p_limit;
$function$;
alter function identity.my_tenants(uuid, integer, boolean) owner to bulkhead_identity_definer;
revoke all on function identity.my_tenants(uuid, integer, boolean) from public;
grant execute on function identity.my_tenants(uuid, integer, boolean) to bulkhead_identity_app;
comment on function identity.my_tenants(uuid, integer, boolean) is
'The tenants the person in context is an active member of, after one, in the order of their ids; on demand those too that she may bring back.';

create or replace function identity.record_event(p_action text, p_entity_type text, p_entity_id uuid, p_outcome text, p_changes jsonb)
 returns void
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    -- What succeeded leaves a row and is captured from it; this can not pretend that it did.
    if not coalesce(
        case
            when p_action = 'call.denied'
            then app.is_refused_call('identity', p_entity_type, p_entity_id, p_outcome, p_changes)
            when p_action in ('password.change_failed', 'user.close_failed')
            then
                (p_entity_type, p_outcome) = ('user', 'failed') and p_entity_id = app.current_user_id()
                and p_changes = '{}'
            when p_action = 'session.login_failed'
            then
                (p_entity_type, p_outcome) = ('user', 'failed') and app.current_tenant_id() is null
                and (
                    p_entity_id = '00000000-0000-0000-0000-000000000000'
                    or exists (select from identity.users as u where u.user_id = p_entity_id)
                )
                and app.are_facts(p_changes, '{"email": "^.{3,254}$"}')
            when p_action = 'session.login_throttled'
            then
                (p_entity_type, p_outcome) = ('user', 'denied')
                and p_entity_id = coalesce(app.current_user_id(), '00000000-0000-0000-0000-000000000000')
                and app.are_facts(p_changes, '{"email": "^.{3,254}$"}')
            when p_action = 'refresh_token.reused'
            then
                (p_entity_type, p_outcome) = ('session', 'denied')
                and app.are_facts(p_changes, '{"user_id": "^[0-9a-f-]{36}$"}')
                and exists (
                    select from identity.sessions as s
                    where s.session_id = p_entity_id and s.revoked_reason = 'token_reused'
                    and s.user_id::text = p_changes -> 'user_id' ->> 1
                )
        end,
        false
    ) then
        raise exception 'identity.record_event: no event of identity''s without a row';
    end if;
    insert into identity.outbox (tenant_id, action, entity_type, entity_id, outcome, changes)
    values (
        coalesce(app.current_tenant_id(), app.platform_log_id()), p_action, p_entity_type, p_entity_id, p_outcome,
        p_changes
    );
end
$function$;
alter function identity.record_event(text, text, uuid, text, jsonb) owner to bulkhead_identity_definer;
revoke all on function identity.record_event(text, text, uuid, text, jsonb) from public;
grant execute on function identity.record_event(text, text, uuid, text, jsonb) to bulkhead_identity_app;
comment on function identity.record_event(text, text, uuid, text, jsonb) is
'An audit event of something that left no row, such as a failed login.';

create or replace function identity.release_project(p_tenant uuid)
 returns void
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    if p_tenant is distinct from app.current_tenant_id() then
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
    end if;
    update identity.tenant_usage as u set projects = u.projects - 1 where u.tenant_id = p_tenant;
end
$function$;
alter function identity.release_project(uuid) owner to bulkhead_identity_definer;
revoke all on function identity.release_project(uuid) from public;
grant execute on function identity.release_project(uuid) to bulkhead_issues_app;
comment on function identity.release_project(uuid) is
'Counts one project of the tenant in context less, when it is deleted.';

create or replace function identity.replace_password(p_user_id uuid, p_password_hash text, p_kept_session uuid, p_mail_id uuid)
 returns void
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    update identity.user_credentials as c set password_hash = p_password_hash, password_changed_at = now()
    where c.user_id = p_user_id;
    update identity.sessions as s set revoked_at = now(), revoked_reason = 'password_changed'
    where s.user_id = p_user_id and s.revoked_at is null and s.expires_at > now()
    and s.session_id is distinct from p_kept_session;
    update identity.one_time_tokens as t set revoked_at = now()
    where t.user_id = p_user_id and t.purpose = 'reset_password' and t.used_at is null and t.revoked_at is null;
    insert into identity.mails (mail_id, kind, to_address, subject_id, details)
    select p_mail_id, 'password_changed', u.email, u.user_id, jsonb_strip_nulls(jsonb_build_object(
        'ip', nullif(current_setting('app.ip', true), ''),
        'user_agent', nullif(current_setting('app.user_agent', true), '')
    ))
    from identity.users as u where u.user_id = p_user_id;
end
$function$;
alter function identity.replace_password(uuid, text, uuid, uuid) owner to bulkhead_identity_definer;
revoke all on function identity.replace_password(uuid, text, uuid, uuid) from public;
comment on function identity.replace_password(uuid, text, uuid, uuid) is
'The half that reset_password and change_password share; with the rights of who calls it, and nobody else may.';

create or replace function identity.reset_password(p_token_hash bytea, p_password_hash text, p_request_id uuid, p_mail_id uuid)
 returns void
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_user_id uuid;
begin
    select t.user_id into v_user_id from identity.one_time_tokens as t
    where t.token_hash = p_token_hash and t.purpose = 'reset_password';
    -- Before the sessions are ended: a login that is under way waits here and finds another password.
    perform from identity.users as u where u.user_id = v_user_id and u.status = 'active' for no key update;
    if found then
        update identity.one_time_tokens as t set used_at = now(), used_by_request = p_request_id
        where t.token_hash = p_token_hash and t.purpose = 'reset_password' and t.used_at is null
        and t.revoked_at is null and t.expires_at > now();
    end if;
    if not found then
        perform app.refuse(9, 'ONE_TIME_TOKEN_INVALID', 'the token is unknown, used, expired or replaced');
    end if;
    perform identity.replace_password(v_user_id, p_password_hash, null, p_mail_id);
end
$function$;
alter function identity.reset_password(bytea, text, uuid, uuid) owner to bulkhead_identity_definer;
revoke all on function identity.reset_password(bytea, text, uuid, uuid) from public;
grant execute on function identity.reset_password(bytea, text, uuid, uuid) to bulkhead_identity_app;
comment on function identity.reset_password(bytea, text, uuid, uuid) is
'Uses a token from a mail: another password, every session ended.';

create or replace function identity.rotate_refresh_token(p_token_hash bytea, p_child_id uuid, p_child_hash bytea, p_token_life interval, p_grace interval, p_ip inet, p_user_agent text)
 returns table(outcome text, user_id uuid, session_id uuid, is_platform_admin boolean, expires_at timestamp with time zone)
 language plpgsql
 security definer rows 1
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
#variable_conflict use_column
declare
    v_token_id uuid;
    v_session_id uuid;
    v_user_id uuid;
    v_ends_at timestamptz;
    v_child_id uuid;
    v_child_hash bytea;
    v_child_expires_at timestamptz;
    v_child_is_fresh boolean;
begin
    rotate_refresh_token.outcome := 'invalid';
    select t.refresh_token_id, t.session_id into v_token_id, v_session_id
    from identity.refresh_tokens as t where t.token_hash = p_token_hash and t.expires_at > now();
    -- The session is the family: one use of its tokens at a time.
    select s.user_id, s.expires_at into v_user_id, v_ends_at from identity.sessions as s
    where s.session_id = v_session_id and s.revoked_at is null and s.expires_at > now() for no key update;
    select u.user_id, u.is_platform_admin into rotate_refresh_token.user_id, rotate_refresh_token.is_platform_admin
    from identity.users as u where u.user_id = v_user_id and u.status = 'active';
    if not found then
        return next;
        return;
    end if;
    rotate_refresh_token.session_id := v_session_id;
    select t.refresh_token_id, t.token_hash, t.expires_at, t.created_at > now() - p_grace
    into v_child_id, v_child_hash, v_child_expires_at, v_child_is_fresh
    from identity.refresh_tokens as t where t.parent_id = v_token_id;
    if v_child_id is null then
        rotate_refresh_token.outcome := 'rotated';
        rotate_refresh_token.expires_at := least(now() + p_token_life, v_ends_at);
        insert into identity.refresh_tokens (refresh_token_id, session_id, parent_id, token_hash, expires_at)
        values (p_child_id, v_session_id, v_token_id, p_child_hash, rotate_refresh_token.expires_at);
        update identity.sessions as s set last_seen_at = now(), ip = p_ip, user_agent = p_user_agent
        where s.session_id = v_session_id;
    elsif v_child_is_fresh and not exists (select from identity.refresh_tokens as t where t.parent_id = v_child_id) then
        -- The direct predecessor of the token in use: its reply was lost, and the caller gets the same one again. With
        -- another hash the child was derived by another key, and can not be given again.
        if v_child_hash = p_child_hash then
            rotate_refresh_token.outcome := 'repeated';
            rotate_refresh_token.expires_at := v_child_expires_at;
        end if;
    else
        -- Two hold the same token, and nothing says which of them is the thief.
        rotate_refresh_token.outcome := 'reused';
        update identity.sessions as s set revoked_at = now(), revoked_reason = 'token_reused'
        where s.session_id = v_session_id;
        perform identity.record_event(
            'refresh_token.reused', 'session', v_session_id, 'denied',
            jsonb_build_object('user_id', jsonb_build_array(null, v_user_id))
        );
    end if;
    return next;
end
$function$;
alter function identity.rotate_refresh_token(bytea, uuid, bytea, interval, interval, inet, text) owner to bulkhead_identity_definer;
revoke all on function identity.rotate_refresh_token(bytea, uuid, bytea, interval, interval, inet, text) from public;
grant execute on function identity.rotate_refresh_token(bytea, uuid, bytea, interval, interval, inet, text) to
    bulkhead_identity_app;
comment on function identity.rotate_refresh_token(bytea, uuid, bytea, interval, interval, inet, text) is
'Uses a refresh token. Outcome: rotated (a child was made), repeated (its reply is given again), reused (the family is dead) or invalid.';

create or replace function identity.select_tenant(p_session_id uuid, p_tenant_id uuid)
 returns table(role smallint, version integer, is_platform_admin boolean)
 language plpgsql
 stable security definer rows 1
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    select u.is_platform_admin into select_tenant.is_platform_admin
    from identity.sessions as s
    inner join identity.users as u on u.user_id = s.user_id
    where s.session_id = p_session_id and s.user_id = app.current_user_id()
    and s.revoked_at is null and s.expires_at > now() and u.status = 'active';
    if not found then
        perform app.refuse(16, 'SESSION_ENDED', 'the session has ended, log in again');
    end if;
    select m.role, m.version into select_tenant.role, select_tenant.version
    from identity.memberships as m
    inner join identity.tenants as t on t.tenant_id = m.tenant_id
    where
        m.tenant_id = p_tenant_id and m.user_id = app.current_user_id() and m.kind = 'person'
        and m.status = 'active' and m.support_until is null and t.status <> 'deleted';
    if not found then
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
    end if;
    return next;
end
$function$;
alter function identity.select_tenant(uuid, uuid) owner to bulkhead_identity_definer;
revoke all on function identity.select_tenant(uuid, uuid) from public;
grant execute on function identity.select_tenant(uuid, uuid) to bulkhead_identity_app;
comment on function identity.select_tenant(uuid, uuid) is
'Role, version and is_platform_admin for a token of the person in context, whose session lasts, in one of her tenants.';

create or replace function identity.set_tenant_limit(p_user uuid, p_max_tenants integer)
 returns table(max_tenants integer, tenants bigint)
 language plpgsql
 security definer rows 1
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    perform identity.check_platform_admin();
    -- The person: whoever makes a tenant just now has counted, or waits for the new number.
    perform 1 from identity.users as u
    where u.user_id = p_user and u.kind = 'person' and u.status = 'active' for no key update;
    if not found then
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such person', '{"resource": "user"}');
    end if;
    insert into identity.tenant_allowances as a (user_id, max_tenants) values (p_user, p_max_tenants)
    on conflict (user_id) do update set max_tenants = excluded.max_tenants
    where a.max_tenants <> excluded.max_tenants;
    return query select p_max_tenants, identity.tenants_of(p_user);
end
$function$;
alter function identity.set_tenant_limit(uuid, integer) owner to bulkhead_identity_definer;
revoke all on function identity.set_tenant_limit(uuid, integer) from public;
grant execute on function identity.set_tenant_limit(uuid, integer) to bulkhead_platform_app;
comment on function identity.set_tenant_limit(uuid, integer) is
'How many tenants a person may have made, by an administrator of the platform; and how many there are.';

create or replace function identity.sign_up(p_user_id uuid, p_email text, p_full_name text, p_password_hash text, p_token_id uuid, p_token_hash bytea, p_token_life interval, p_mail_id uuid, p_request_digest bytea)
 returns void
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_user_id uuid;
    v_verified boolean := false;
    v_kind text;
    v_goes boolean;
begin
    insert into identity.users (user_id, kind, email, full_name) values (p_user_id, 'person', p_email, p_full_name)
    on conflict (email_key) do nothing
    returning user_id into v_user_id;
    if not found then
        select u.user_id, u.email_verified_at is not null into strict v_user_id, v_verified
        from identity.users as u where u.email_key = lower(p_email collate "C");
    end if;
    v_kind := case when v_verified then 'already_registered' else 'verify_email' end;
    -- A repeat sends nothing and costs nothing.
    v_goes := exists (select from identity.mails as m where m.mail_id = p_mail_id)
        or identity.claim_mail(v_kind, p_email, null) is null;
    -- One too many is given up at once. But for that all is as ever: the answer, the work, and what a repeat is told.
    insert into identity.mails (mail_id, kind, to_address, subject_id, request_digest, failed_at, last_error) values (
        p_mail_id, v_kind, p_email, case when v_verified then v_user_id else p_token_id end, p_request_digest,
        case when not v_goes then now() end, case when not v_goes then 'too many of this kind to this address' end
    ) on conflict (mail_id) do nothing;
    if not found then
        -- The request_id is the mail's id: this call has been made before.
        if not exists (
            select from identity.mails as m where m.mail_id = p_mail_id and m.request_digest = p_request_digest
        ) then
            perform app.refuse(3, 'REQUEST_ID_REUSED', 'the request_id was used with another request');
        end if;
    elsif v_verified then
        -- Of no use to anybody: the writes that an unknown address takes, or the time would tell the two apart.
        insert into identity.one_time_tokens (token_id, purpose, user_id, token_hash, expires_at)
        values (p_token_id, 'verify_email', v_user_id, p_token_hash, now() + p_token_life);
        update identity.one_time_tokens as t set revoked_at = now() where t.token_id = p_token_id;
    else
        insert into identity.one_time_tokens (
            token_id, purpose, user_id, token_hash, expires_at, password_hash, full_name
        ) values (
            p_token_id, 'verify_email', v_user_id, p_token_hash, now() + p_token_life, p_password_hash, p_full_name
        );
    end if;
end
$function$;
alter function identity.sign_up(uuid, text, text, text, uuid, bytea, interval, uuid, bytea) owner to bulkhead_identity_definer;
revoke all on function identity.sign_up(uuid, text, text, text, uuid, bytea, interval, uuid, bytea) from public;
grant execute on function identity.sign_up(uuid, text, text, text, uuid, bytea, interval, uuid, bytea) to
    bulkhead_identity_app;
comment on function identity.sign_up(uuid, text, text, text, uuid, bytea, interval, uuid, bytea) is
'A person and the mail that lets her prove her address; for an address that is proved already, a mail that says so. Which of the two is not told, nor whether the address has had too many.';

create or replace function identity.spread_face(p_user uuid, p_rows integer)
 returns integer
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_after uuid;
    v_name text;
    v_avatar_url text;
    v_tenants uuid[];
begin
    -- In the order in which UpdateMe takes locks, which waits for this batch, as CloseAccount does: what is read here
    -- is the latest until the end of it.
    perform pg_advisory_xact_lock_shared(identity.person_key(p_user));
    select f.after_tenant_id into v_after from identity.face_changes as f
    where f.user_id = p_user and f.due_at <= now() for no key update skip locked;
    if not found then
        return 0;
    end if;
    select u.full_name, u.avatar_url into v_name, v_avatar_url from identity.users as u
    where u.user_id = p_user and u.status = 'active';
    if found then
        -- Also those they have left: they may be coming back just now, with the name from before.
        select array_agg(l.tenant_id order by l.tenant_id) into v_tenants from (
            select m.tenant_id from identity.memberships as m
            where m.user_id = p_user and (v_after is null or m.tenant_id > v_after)
            order by m.tenant_id limit p_rows for no key update
        ) as l;
        update identity.memberships as m set display_name = v_name, avatar_url = v_avatar_url
        where m.user_id = p_user and m.tenant_id = any (v_tenants) and m.left_at is null
        and (m.display_name <> v_name or m.avatar_url is distinct from v_avatar_url);
    end if;
    if coalesce(cardinality(v_tenants), 0) < p_rows then
        update identity.face_changes as f set due_at = null, done_at = now(), after_tenant_id = null
        where f.user_id = p_user;
    else
        update identity.face_changes as f set after_tenant_id = v_tenants[p_rows] where f.user_id = p_user;
    end if;
    return coalesce(cardinality(v_tenants), 0);
end
$function$;
alter function identity.spread_face(uuid, integer) owner to bulkhead_identity_definer;
revoke all on function identity.spread_face(uuid, integer) from public;
grant execute on function identity.spread_face(uuid, integer) to bulkhead_identity_worker;
comment on function identity.spread_face(uuid, integer) is
'Shows the name and picture that a person has now in the next so many of their tenants; how many these were. Whatever ends it in between, the next call goes on behind the last batch that was committed.';

create or replace function identity.start_session(p_session_id uuid, p_user_id uuid, p_life interval, p_token_id uuid, p_token_hash bytea, p_token_life interval, p_ip inet, p_user_agent text, p_checked_hash text, p_rehashed text, p_device_is_known boolean, p_mail_id uuid)
 returns timestamp with time zone
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_expires_at timestamptz := now() + least(p_life, p_token_life);
    v_is_first boolean;
begin
    -- Locks the person, so that a session can not slip past the end of her account or of her password.
    select u.last_login_at is null into v_is_first from identity.users as u
    where u.user_id = p_user_id and u.kind = 'person' and u.status = 'active' and u.email_verified_at is not null
    for no key update;
    if not found or not exists (
        select from identity.user_credentials as c where c.user_id = p_user_id and c.password_hash = p_checked_hash
    ) then
        perform app.refuse(16, 'CREDENTIALS_INVALID', 'unknown e-mail or wrong password');
    end if;
    -- By address and program too: one who keeps no token is not to get a mail at each login.
    if not p_device_is_known and not v_is_first and not exists (
        select from identity.sessions as s
        where s.user_id = p_user_id and s.ip is not distinct from p_ip
        and s.user_agent is not distinct from p_user_agent
    ) then
        insert into identity.mails (mail_id, kind, to_address, subject_id, details)
        select p_mail_id, 'new_device', u.email, u.user_id,
            jsonb_strip_nulls(jsonb_build_object('ip', host(p_ip), 'user_agent', p_user_agent))
        from identity.users as u where u.user_id = p_user_id;
    end if;
    insert into identity.sessions (session_id, user_id, expires_at, ip, user_agent)
    values (p_session_id, p_user_id, now() + p_life, p_ip, p_user_agent)
    on conflict (session_id) do nothing;
    if not found then
        -- The request_id is the session's id: this call has been made before, or somebody else's has.
        if exists (select from identity.sessions as s where s.session_id = p_session_id and s.user_id = p_user_id) then
            perform app.refuse(9, 'SECRET_ALREADY_SHOWN', 'this login has been made, its tokens are not kept');
        end if;
        perform app.refuse(3, 'REQUEST_ID_REUSED', 'the request_id was used with another request');
    end if;
    update identity.users as u set last_login_at = now() where u.user_id = p_user_id;
    if p_rehashed is not null then
        update identity.user_credentials as c set password_hash = p_rehashed where c.user_id = p_user_id;
    end if;
    insert into identity.refresh_tokens (refresh_token_id, session_id, parent_id, token_hash, expires_at)
    values (p_token_id, p_session_id, null, p_token_hash, v_expires_at);
    return v_expires_at;
end
$function$;
alter function identity.start_session(uuid, uuid, interval, uuid, bytea, interval, inet, text, text, text, boolean, uuid) owner to bulkhead_identity_definer;
revoke all on function identity.start_session(uuid, uuid, interval, uuid, bytea, interval, inet, text, text, text,
    boolean, uuid) from public;
grant execute on function identity.start_session(uuid, uuid, interval, uuid, bytea, interval, inet, text, text, text,
    boolean, uuid) to bulkhead_identity_app;
comment on function identity.start_session(uuid, uuid, interval, uuid, bytea, interval, inet, text, text, text, boolean, uuid) is
'A session of a person who has proved that she knows the password that p_checked_hash is of, with its first refresh token; tells when that expires. The same password hashed anew replaces the hash. A device that was not seen before leaves a mail.';

create or replace function identity.tenants_of(p_user uuid)
 returns bigint
 language sql
 stable
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
    select count(*) from identity.tenants as t
    where t.created_by = p_user and not (t.status = 'deleted' and t.purge_after <= now());
$function$;
alter function identity.tenants_of(uuid) owner to bulkhead_identity_definer;
revoke all on function identity.tenants_of(uuid) from public;
comment on function identity.tenants_of(uuid) is
'How many tenants a person has made. Deleted ones count while they can come back: else who makes and deletes has no limit, and what comes back might be above it.';

create or replace function identity.try_verification(p_token_hash bytea, p_request_id uuid)
 returns table(password_hash text, used_by text)
 language plpgsql
 security definer rows 1
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    update identity.one_time_tokens as t set attempts = t.attempts + 1
    where t.token_hash = p_token_hash and t.purpose = 'verify_email' and t.used_at is null and t.revoked_at is null
    and t.expires_at > now() and t.attempts < 5
    returning t.password_hash into try_verification.password_hash;
    if not found then
        -- Her own second try: the password has gone to the account.
        select c.password_hash, u.email into try_verification.password_hash, try_verification.used_by
        from identity.one_time_tokens as t
        inner join identity.users as u on u.user_id = t.user_id
        inner join identity.user_credentials as c on c.user_id = t.user_id
        where t.token_hash = p_token_hash and t.purpose = 'verify_email' and t.used_by_request = p_request_id
        and u.status = 'active';
    end if;
    return next;
end
$function$;
alter function identity.try_verification(bytea, uuid) owner to bulkhead_identity_definer;
revoke all on function identity.try_verification(bytea, uuid) from public;
grant execute on function identity.try_verification(bytea, uuid) to bulkhead_identity_app;
comment on function identity.try_verification(bytea, uuid) is
'For VerifyEmail: the hash to check the given password against, of one token at a time and five times at most; null for a token that is worth nothing. The try counts whatever comes of it. Of a token that this request_id has used the hash of the account, with its address, under which the caller counts the try.';

create or replace function identity.undelete_tenant(p_tenant uuid)
 returns setof identity.tenants
 language plpgsql
 security definer rows 1
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_status text;
    v_purge_after timestamptz;
    v_locked boolean := false;
begin
    -- Looked at twice: nobody keeps a tenant's writers waiting by asking for what is not hers.
    loop
        select t.status, t.purge_after into v_status, v_purge_after
        from identity.memberships as m
        inner join identity.users as u on u.user_id = m.user_id
        inner join identity.tenants as t on t.tenant_id = m.tenant_id
        where
            m.tenant_id = p_tenant and m.user_id = app.current_user_id() and m.role = 5 and m.status = 'active'
            and u.status = 'active';
        if not found or v_purge_after <= now() then
            perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such tenant', '{"resource": "tenant"}');
        elsif v_status <> 'deleted' then
            perform app.refuse(6, 'NOT_DELETED', 'the tenant is not deleted');
        end if;
        exit when v_locked;
        perform identity.lock_limits(p_tenant);
        perform pg_advisory_xact_lock(identity.tenant_key(p_tenant));
        v_locked := true;
    end loop;
    return query
    update identity.tenants as t set status = 'active', status_reason = null, deleted_at = null, purge_after = null
    where t.tenant_id = p_tenant
    returning t.*;
end
$function$;
alter function identity.undelete_tenant(uuid) owner to bulkhead_identity_definer;
revoke all on function identity.undelete_tenant(uuid) from public;
grant execute on function identity.undelete_tenant(uuid) to bulkhead_identity_app;
comment on function identity.undelete_tenant(uuid) is
'Brings a deleted tenant back, by one of its owners, while it can be.';

create or replace function identity.verify_email(p_token_hash bytea, p_request_id uuid)
 returns uuid
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_token_id uuid;
    v_user_id uuid;
    v_password_hash text;
    v_full_name text;
    v_used_by_request uuid;
    v_verified_at timestamptz;
begin
    select t.user_id into v_user_id from identity.one_time_tokens as t
    where t.token_hash = p_token_hash and t.purpose = 'verify_email';
    -- One at a time for a person, or two tokens would both be the first.
    select u.email_verified_at into v_verified_at from identity.users as u
    where u.user_id = v_user_id for no key update;
    select t.token_id, t.password_hash, t.full_name, t.used_by_request
    into v_token_id, v_password_hash, v_full_name, v_used_by_request
    from identity.one_time_tokens as t where t.token_hash = p_token_hash and t.purpose = 'verify_email';
    if v_used_by_request = p_request_id then
        return v_user_id;
    end if;
    update identity.one_time_tokens as t
    set used_at = now(), used_by_request = p_request_id, password_hash = null
    where t.token_id = v_token_id and t.used_at is null and t.revoked_at is null and t.expires_at > now();
    if not found or v_verified_at is not null then
        perform app.refuse(9, 'ONE_TIME_TOKEN_INVALID', 'the token is unknown, used, expired, replaced or tried too '
            'often, or the password is not the sign-up''s');
    end if;
    update identity.users as u set email_verified_at = now(), full_name = v_full_name where u.user_id = v_user_id;
    -- Not before: an address that nobody has proved has no password, and logs nobody in.
    insert into identity.user_credentials (user_id, password_hash) values (v_user_id, v_password_hash);
    update identity.one_time_tokens as t set revoked_at = now(), password_hash = null
    where t.user_id = v_user_id and t.purpose = 'verify_email' and t.used_at is null and t.revoked_at is null;
    return v_user_id;
end
$function$;
alter function identity.verify_email(bytea, uuid) owner to bulkhead_identity_definer;
revoke all on function identity.verify_email(bytea, uuid) from public;
grant execute on function identity.verify_email(bytea, uuid) to bulkhead_identity_app;
comment on function identity.verify_email(bytea, uuid) is
'Uses a token from a mail: the address is proved, and name and password are those of the sign-up that sent this mail. The caller has proved that she knows this password.';
