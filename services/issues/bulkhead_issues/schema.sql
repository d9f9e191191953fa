-- The schema issues as its migrations leave it. Written by `make schema` from a live database: read it, never edit it.
-- Months of partitioned tables, Alembic's own table and rows that migrations insert are not in it.

set check_function_bodies = off;
set search_path = pg_catalog;
set role bulkhead_issues_owner;

grant usage on schema issues to bulkhead_issues_app, bulkhead_issues_definer, bulkhead_issues_relay,
    bulkhead_issues_worker;

-- issues.labels

create table issues.labels (
    tenant_id uuid not null,
    label_id uuid not null,
    name text not null,
    description text default '' not null,
    color text not null,
    archived_at timestamptz,
    created_at timestamptz not null,
    created_by uuid,
    updated_at timestamptz not null,
    version integer not null,
    name_key text generated always as (app.fold(name)) stored not null,
    constraint labels_pkey primary key (tenant_id, label_id),
    constraint labels_tenant_id_name_key_key unique (tenant_id, name_key),
    constraint labels_tenant_id_fkey foreign key (tenant_id) references identity.tenants(tenant_id) on delete restrict,
    constraint labels_color_check check (color ~ '^#[0-9a-f]{6}$'),
    constraint labels_description_check check (length(description) <= 1000),
    constraint labels_name_check check (length(name) between 1 and 100),
    constraint labels_name_key_check check (name_key <> '')
);
comment on table issues.labels is
'What issues are tagged with; shared by all projects of a tenant.';
comment on column issues.labels.color is
'As #rrggbb.';
alter table issues.labels enable row level security;
alter table issues.labels force row level security;
create policy tenant_wall on issues.labels as restrictive for all to bulkhead_issues_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy insert_right on issues.labels for insert to bulkhead_issues_app
with check (app.role_level() >= 3);
create policy owner_right on issues.labels for all to bulkhead_issues_owner
using (true)
with check (true);
create policy read_right on issues.labels for select to bulkhead_issues_app
using (app.role_level() >= 1);
create policy update_right on issues.labels for update to bulkhead_issues_app
using (app.role_level() >= 3)
with check (app.role_level() >= 3);
grant
    select (tenant_id, label_id, name, description, color, archived_at, created_at, created_by, updated_at, version,
        name_key),
    insert (tenant_id, label_id, name, description, color),
    update (name, description, color, archived_at)
on issues.labels to bulkhead_issues_app;

-- issues.outbox

create table issues.outbox (
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
comment on table issues.outbox is
'Changes not yet acknowledged by audit. Written by capture triggers, removed by the relay, read by nobody else.';
alter table issues.outbox enable row level security;
alter table issues.outbox force row level security;
create policy definer_write on issues.outbox for insert to bulkhead_issues_definer
with check (true);
create policy owner_right on issues.outbox for all to bulkhead_issues_owner
using (true)
with check (true);
create policy relay_read on issues.outbox for select to bulkhead_issues_relay
using (true);
create policy relay_remove on issues.outbox for delete to bulkhead_issues_relay
using (true);
grant
    insert (tenant_id, action, entity_type, entity_id, outcome, changes)
on issues.outbox to bulkhead_issues_definer;
grant select, delete on issues.outbox to bulkhead_issues_relay;

-- issues.outbox_parked

create table issues.outbox_parked (
    tenant_id uuid not null,
    parked_at timestamptz default now() not null,
    attempts integer default 1 not null,
    retry_at timestamptz not null,
    last_error text not null,
    constraint outbox_parked_pkey primary key (tenant_id),
    constraint outbox_parked_attempts_check check (attempts > 0),
    constraint outbox_parked_last_error_check check (length(last_error) <= 2000)
);
comment on table issues.outbox_parked is
'Tenants whose events audit refuses: the relay passes them over until retry_at, others go on.';
alter table issues.outbox_parked enable row level security;
alter table issues.outbox_parked force row level security;
create policy owner_right on issues.outbox_parked for all to bulkhead_issues_owner
using (true)
with check (true);
create policy relay_park on issues.outbox_parked for all to bulkhead_issues_relay
using (true)
with check (true);
grant select, insert, update, delete on issues.outbox_parked to bulkhead_issues_relay;

-- issues.request_ids

create table issues.request_ids (
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
comment on table issues.request_ids is
'Calls that named a request_id, with their answers, for 24 hours: a repeat gets the same answer and has no effect.';
create index request_ids_created_at_idx on issues.request_ids (created_at);
alter table issues.request_ids enable row level security;
alter table issues.request_ids force row level security;
create policy tenant_wall on issues.request_ids as restrictive for all to bulkhead_issues_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy expiry_read on issues.request_ids for select to bulkhead_issues_worker
using (true);
create policy expiry_remove on issues.request_ids for delete to bulkhead_issues_worker
using (created_at < (now() - '24:00:00'::interval));
create policy own_calls on issues.request_ids for all to bulkhead_issues_app
using (principal = app.principal())
with check (principal = app.principal());
create policy owner_right on issues.request_ids for all to bulkhead_issues_owner
using (true)
with check (true);
grant
    select,
    insert (tenant_id, principal, request_id, rpc, request_digest),
    update (reply)
on issues.request_ids to bulkhead_issues_app;
grant select (tenant_id, principal, request_id, created_at), delete on issues.request_ids to bulkhead_issues_worker;

-- issues.statuses

create table issues.statuses (
    tenant_id uuid not null,
    status_id uuid not null,
    name text not null,
    category smallint not null,
    position integer not null,
    is_default boolean default false not null,
    archived_at timestamptz,
    created_at timestamptz not null,
    created_by uuid,
    updated_at timestamptz not null,
    version integer not null,
    name_key text generated always as (app.fold(name)) stored not null,
    constraint statuses_pkey primary key (tenant_id, status_id),
    constraint statuses_tenant_id_name_key_key unique (tenant_id, name_key),
    constraint statuses_tenant_id_status_id_category_key unique (tenant_id, status_id, category),
    constraint statuses_tenant_id_fkey
    foreign key (tenant_id)
    references identity.tenants(tenant_id) on delete restrict,
    constraint statuses_category_check check (category between 1 and 5),
    constraint statuses_is_default_check check (not is_default or archived_at is null),
    constraint statuses_name_check check (length(name) between 1 and 50),
    constraint statuses_name_key_check check (name_key <> '')
);
comment on table issues.statuses is
'The statuses of a tenant''s issues. A category never changes: issues are resolved by it.';
comment on column issues.statuses.category is
'1 backlog, 2 to do, 3 in progress, 4 done, 5 cancelled';
comment on column issues.statuses.position is
'Order of display, ascending.';
comment on column issues.statuses.is_default is
'The status of a new issue that names none; one a tenant.';
create unique index statuses_tenant_id_default_key on issues.statuses (tenant_id) where is_default;
alter table issues.statuses enable row level security;
alter table issues.statuses force row level security;
create policy tenant_wall on issues.statuses as restrictive for all to bulkhead_issues_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy insert_right on issues.statuses for insert to bulkhead_issues_app
with check (app.role_level() >= 3);
create policy owner_right on issues.statuses for all to bulkhead_issues_owner
using (true)
with check (true);
create policy read_right on issues.statuses for select to bulkhead_issues_app
using (app.role_level() >= 1);
create policy update_right on issues.statuses for update to bulkhead_issues_app
using (app.role_level() >= 3)
with check (app.role_level() >= 3);
grant
    select (tenant_id, status_id, name, category, position, is_default, archived_at, created_at, created_by,
        updated_at, version),
    insert (tenant_id, status_id, name, category, position, is_default),
    update (name, position, is_default, archived_at)
on issues.statuses to bulkhead_issues_app;

-- issues.status_transitions

create table issues.status_transitions (
    tenant_id uuid not null,
    from_status_id uuid not null,
    to_status_id uuid not null,
    least_role smallint default 2 not null,
    removed_at timestamptz,
    created_at timestamptz not null,
    created_by uuid,
    updated_at timestamptz not null,
    version integer not null,
    constraint status_transitions_pkey primary key (tenant_id, from_status_id, to_status_id),
    constraint status_transitions_tenant_id_from_status_id_fkey
    foreign key (tenant_id, from_status_id)
    references issues.statuses(tenant_id, status_id) on delete restrict,
    constraint status_transitions_tenant_id_to_status_id_fkey
    foreign key (tenant_id, to_status_id)
    references issues.statuses(tenant_id, status_id) on delete restrict,
    constraint status_transitions_least_role_check check (least_role between 2 and 5),
    constraint status_transitions_to_status_id_check check (from_status_id <> to_status_id)
);
comment on table issues.status_transitions is
'The moves an issue may make; one that is not here, or removed, is refused.';
comment on column issues.status_transitions.least_role is
'Least role that may make the move: 2 member, 3 manager, 4 admin, 5 owner.';
create index status_transitions_tenant_id_to_status_id_idx on issues.status_transitions (tenant_id, to_status_id);
alter table issues.status_transitions enable row level security;
alter table issues.status_transitions force row level security;
create policy tenant_wall on issues.status_transitions as restrictive for all to bulkhead_issues_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy insert_right on issues.status_transitions for insert to bulkhead_issues_app
with check (app.role_level() >= 3);
create policy owner_right on issues.status_transitions for all to bulkhead_issues_owner
using (true)
with check (true);
create policy read_right on issues.status_transitions for select to bulkhead_issues_app
using (app.role_level() >= 1);
create policy update_right on issues.status_transitions for update to bulkhead_issues_app
using (app.role_level() >= 3)
with check (app.role_level() >= 3);
grant
    select (tenant_id, from_status_id, to_status_id, least_role, removed_at, created_at, created_by, updated_at,
        version),
    insert (tenant_id, from_status_id, to_status_id, least_role),
    update (least_role, removed_at)
on issues.status_transitions to bulkhead_issues_app;

-- issues.workspaces

create table issues.workspaces (
    tenant_id uuid not null,
    workspace_id uuid not null,
    name text not null,
    description text default '' not null,
    archived_at timestamptz,
    created_at timestamptz not null,
    created_by uuid,
    updated_at timestamptz not null,
    version integer not null,
    name_key text generated always as (app.fold(name)) stored not null,
    constraint workspaces_pkey primary key (tenant_id, workspace_id),
    constraint workspaces_tenant_id_name_key_key unique (tenant_id, name_key),
    constraint workspaces_tenant_id_fkey
    foreign key (tenant_id)
    references identity.tenants(tenant_id) on delete restrict,
    constraint workspaces_description_check check (length(description) <= 2000),
    constraint workspaces_name_check check (length(name) between 1 and 100),
    constraint workspaces_name_key_check check (name_key <> '')
);
comment on table issues.workspaces is
'Groups of projects within a tenant.';
alter table issues.workspaces enable row level security;
alter table issues.workspaces force row level security;
create policy tenant_wall on issues.workspaces as restrictive for all to bulkhead_issues_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy insert_right on issues.workspaces for insert to bulkhead_issues_app
with check (app.role_level() >= 3);
create policy owner_right on issues.workspaces for all to bulkhead_issues_owner
using (true)
with check (true);
create policy read_right on issues.workspaces for select to bulkhead_issues_app
using (app.role_level() >= 1);
create policy update_right on issues.workspaces for update to bulkhead_issues_app
using (app.role_level() >= 3)
with check (app.role_level() >= 3);
grant
    select (tenant_id, workspace_id, name, description, archived_at, created_at, created_by, updated_at, version),
    insert (tenant_id, workspace_id, name, description),
    update (name, description, archived_at)
on issues.workspaces to bulkhead_issues_app;

-- issues.projects

create table issues.projects (
    tenant_id uuid not null,
    project_id uuid not null,
    workspace_id uuid not null,
    key text not null,
    name text not null,
    description text default '' not null,
    status smallint default 2 not null,
    priority smallint default 0 not null,
    lead_id uuid,
    owner_team_id uuid,
    start_date date,
    end_date date,
    budget numeric(14,2),
    metadata jsonb default '{}'::jsonb not null,
    next_number integer default 1 not null,
    archived_at timestamptz,
    deleted_at timestamptz,
    created_at timestamptz not null,
    created_by uuid,
    updated_at timestamptz not null,
    version integer not null,
    constraint projects_pkey primary key (tenant_id, project_id),
    constraint projects_tenant_id_key_key unique (tenant_id, key),
    constraint projects_tenant_id_created_by_fkey
    foreign key (tenant_id, created_by)
    references identity.memberships(tenant_id, user_id) on delete restrict,
    constraint projects_tenant_id_lead_id_fkey
    foreign key (tenant_id, lead_id)
    references identity.memberships(tenant_id, user_id) on delete restrict,
    constraint projects_tenant_id_owner_team_id_fkey
    foreign key (tenant_id, owner_team_id)
    references identity.teams(tenant_id, team_id) on delete restrict,
    constraint projects_tenant_id_workspace_id_fkey
    foreign key (tenant_id, workspace_id)
    references issues.workspaces(tenant_id, workspace_id) on delete restrict,
    constraint projects_budget_check check (budget >= 0::numeric),
    constraint projects_description_check check (length(description) <= 20000),
    constraint projects_end_date_check check (start_date <= end_date),
    constraint projects_key_check check (key ~ '^[A-Z][A-Z0-9]{1,9}$'),
    constraint projects_metadata_check
    check (jsonb_typeof(metadata) = 'object' and octet_length(metadata::text) <= 16384),
    constraint projects_metadata_depth_check check (not jsonb_path_exists(metadata, '$.**{33}'::jsonpath)),
    constraint projects_name_check check (length(name) between 1 and 200),
    constraint projects_next_number_check check (next_number > 0),
    constraint projects_priority_check check (priority between 0 and 4),
    constraint projects_status_check check (status between 1 and 5)
);
comment on table issues.projects is
'Projects, each with a key such as PROJ and the counter that numbers its issues.';
comment on column issues.projects.key is
'The first part of its issues'' names, such as PROJ.';
comment on column issues.projects.status is
'1 draft, 2 active, 3 on hold, 4 completed, 5 cancelled';
comment on column issues.projects.priority is
'0 none, 1 low, 2 medium, 3 high, 4 urgent';
comment on column issues.projects.start_date is
'First planned day.';
comment on column issues.projects.end_date is
'Last planned day.';
comment on column issues.projects.budget is
'In the tenant''s currency.';
comment on column issues.projects.next_number is
'The number of the next issue; moved by the trigger that numbers it.';
create index projects_tenant_id_created_by_idx on issues.projects (tenant_id, created_by);
create index projects_tenant_id_lead_id_idx on issues.projects (tenant_id, lead_id);
create index projects_tenant_id_owner_team_id_idx on issues.projects (tenant_id, owner_team_id);
create index projects_tenant_id_workspace_id_idx on issues.projects (tenant_id, workspace_id);
alter table issues.projects enable row level security;
alter table issues.projects force row level security;
create policy tenant_wall on issues.projects as restrictive for all to bulkhead_issues_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy insert_right on issues.projects for insert to bulkhead_issues_app
with check (app.role_level() >= 3);
create policy owner_right on issues.projects for all to bulkhead_issues_owner
using (true)
with check (true);
create policy read_right on issues.projects for select to bulkhead_issues_app
using (app.role_level() >= 1);
create policy update_right on issues.projects for update to bulkhead_issues_app
using (app.role_level() >= 3)
with check (app.role_level() >= 3);
grant
    select (tenant_id, project_id, workspace_id, key, name, description, status, priority, lead_id, owner_team_id,
        start_date, end_date, budget, metadata, archived_at, deleted_at, created_at, created_by, updated_at, version),
    insert (tenant_id, project_id, workspace_id, key, name, description, status, priority, lead_id, owner_team_id,
        start_date, end_date, budget, metadata),
    update (name, description, status, priority, lead_id, owner_team_id, start_date, end_date, budget, metadata,
        archived_at)
on issues.projects to bulkhead_issues_app;

-- issues.issues

create table issues.issues (
    tenant_id uuid not null,
    issue_id uuid not null,
    project_id uuid not null,
    number integer not null,
    type smallint default 1 not null,
    title text not null,
    description text default '' not null,
    status_id uuid not null,
    status_category smallint not null,
    priority smallint default 0 not null,
    reporter_id uuid not null,
    assignee_id uuid,
    parent_id uuid,
    estimate_minutes integer,
    spent_minutes integer default 0 not null,
    start_at timestamptz,
    due_at timestamptz,
    breached_at timestamptz,
    resolved_at timestamptz,
    metadata jsonb default '{}'::jsonb not null,
    external_source text,
    external_id text,
    external_digest bytea,
    deleted_at timestamptz,
    created_at timestamptz not null,
    created_by uuid,
    updated_at timestamptz not null,
    version integer not null,
    constraint issues_pkey primary key (tenant_id, issue_id),
    constraint issues_tenant_id_project_id_number_key unique (tenant_id, project_id, number),
    constraint issues_tenant_id_assignee_id_fkey
    foreign key (tenant_id, assignee_id)
    references identity.memberships(tenant_id, user_id) on delete restrict,
    constraint issues_tenant_id_parent_id_fkey
    foreign key (tenant_id, parent_id)
    references issues.issues(tenant_id, issue_id) on delete restrict,
    constraint issues_tenant_id_project_id_fkey
    foreign key (tenant_id, project_id)
    references issues.projects(tenant_id, project_id) on delete restrict,
    constraint issues_tenant_id_reporter_id_fkey
    foreign key (tenant_id, reporter_id)
    references identity.memberships(tenant_id, user_id) on delete restrict,
    constraint issues_tenant_id_status_id_status_category_fkey
    foreign key (tenant_id, status_id, status_category)
    references issues.statuses(tenant_id, status_id, category) on delete restrict,
    constraint issues_breached_at_check check (breached_at is null or due_at is not null and breached_at >= due_at),
    constraint issues_description_check check (length(description) <= 100000),
    constraint issues_due_at_check check (start_at <= due_at),
    constraint issues_estimate_minutes_check check (estimate_minutes between 0 and 10000000),
    constraint issues_external_digest_check check (octet_length(external_digest) = 32),
    constraint issues_external_id_check
    check ((external_source is null) = (external_id is null) and length(external_source) between 1 and 200 and length(external_id) between 1 and 500),
    constraint issues_metadata_check
    check (jsonb_typeof(metadata) = 'object' and octet_length(metadata::text) <= 16384),
    constraint issues_metadata_depth_check check (not jsonb_path_exists(metadata, '$.**{33}'::jsonpath)),
    constraint issues_number_check check (number > 0),
    constraint issues_priority_check check (priority between 0 and 4),
    constraint issues_resolved_at_check check ((resolved_at is not null) = (status_category in (4, 5))),
    constraint issues_spent_minutes_check check (spent_minutes between 0 and 10000000),
    constraint issues_title_check check (length(title) between 1 and 500),
    constraint issues_type_check check (type between 1 and 6)
);
comment on table issues.issues is
'The work: bugs, tasks, epics and imported pull requests.';
comment on column issues.issues.number is
'PROJ-123 is number 123 of the project with key PROJ; never used again.';
comment on column issues.issues.type is
'1 task, 2 bug, 3 feature, 4 epic, 5 sub-task, 6 pull request';
comment on column issues.issues.title is
'One line that says what it is about.';
comment on column issues.issues.status_category is
'The category of status_id, set by trigger and held by the foreign key.';
comment on column issues.issues.priority is
'0 none, 1 low, 2 medium, 3 high, 4 urgent';
comment on column issues.issues.estimate_minutes is
'How long it is thought to take.';
comment on column issues.issues.spent_minutes is
'How long it has taken so far.';
comment on column issues.issues.start_at is
'Planned beginning.';
comment on column issues.issues.due_at is
'When it must be done.';
comment on column issues.issues.breached_at is
'When due_at had passed with the issue still open.';
comment on column issues.issues.resolved_at is
'When it was done or cancelled; set by trigger.';
comment on column issues.issues.external_source is
'Where an imported issue comes from, such as github/owner/repository.';
comment on column issues.issues.external_digest is
'SHA-256 of the item as last imported: the same item again changes nothing.';
create index issues_by_assignee_due_idx on issues.issues (tenant_id, assignee_id, priority desc, due_at);
create index issues_by_assignee_idx on issues.issues (tenant_id, assignee_id, status_id, updated_at desc, issue_id desc);
create index issues_by_external_id_idx on issues.issues (tenant_id, external_id) where external_id is not null;
create index issues_by_status_idx on issues.issues (tenant_id, project_id, status_id, updated_at desc, issue_id desc);
create index issues_by_update_idx on issues.issues (tenant_id, project_id, updated_at desc, issue_id desc) where deleted_at is null;
create index issues_due_idx on issues.issues (tenant_id, due_at) where breached_at is null and resolved_at is null;
create index issues_of_tenant_by_update_idx on issues.issues (tenant_id, updated_at desc, issue_id desc) where deleted_at is null;
create unique index issues_tenant_id_external_key on issues.issues (tenant_id, external_source, external_id) where external_id is not null;
create index issues_tenant_id_parent_id_idx on issues.issues (tenant_id, parent_id) where parent_id is not null;
create index issues_tenant_id_reporter_id_idx on issues.issues (tenant_id, reporter_id);
create index issues_tenant_id_status_id_status_category_idx on issues.issues (tenant_id, status_id, status_category);
alter table issues.issues enable row level security;
alter table issues.issues force row level security;
create policy tenant_wall on issues.issues as restrictive for all to bulkhead_issues_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy insert_right on issues.issues for insert to bulkhead_issues_app
with check (app.role_level() >= 2 and (reporter_id = app.current_user_id() or app.importing()));
create policy owner_right on issues.issues for all to bulkhead_issues_owner
using (true)
with check (true);
create policy read_right on issues.issues for select to bulkhead_issues_app
using (app.role_level() >= 1);
create policy update_right on issues.issues for update to bulkhead_issues_app
using (app.role_level() >= 2)
with check (app.role_level() >= 2);
grant
    select (tenant_id, issue_id, project_id, number, type, title, description, status_id, status_category, priority,
        reporter_id, assignee_id, parent_id, estimate_minutes, spent_minutes, start_at, due_at, breached_at,
        resolved_at, metadata, external_source, external_id, external_digest, deleted_at, created_at, created_by,
        updated_at, version),
    insert (tenant_id, issue_id, project_id, number, type, title, description, status_id, priority, reporter_id,
        assignee_id, parent_id, estimate_minutes, spent_minutes, start_at, due_at, metadata, external_source,
        external_id, external_digest, created_at, updated_at),
    update (type, title, description, status_id, priority, reporter_id, assignee_id, parent_id, estimate_minutes,
        spent_minutes, start_at, due_at, resolved_at, metadata, external_digest, deleted_at, updated_at)
on issues.issues to bulkhead_issues_app;

-- issues.comments

create table issues.comments (
    tenant_id uuid not null,
    comment_id uuid not null,
    issue_id uuid not null,
    author_id uuid not null,
    visibility smallint default 1 not null,
    body text not null,
    revision integer default 1 not null,
    external_source text,
    external_id text,
    external_digest bytea,
    deleted_at timestamptz,
    created_at timestamptz not null,
    created_by uuid,
    updated_at timestamptz not null,
    version integer not null,
    external_body_digest bytea,
    constraint comments_pkey primary key (tenant_id, comment_id),
    constraint comments_tenant_id_author_id_fkey
    foreign key (tenant_id, author_id)
    references identity.memberships(tenant_id, user_id) on delete restrict,
    constraint comments_tenant_id_issue_id_fkey
    foreign key (tenant_id, issue_id)
    references issues.issues(tenant_id, issue_id) on delete restrict,
    constraint comments_body_check check (length(body) between 1 and 100000),
    constraint comments_external_body_digest_check check (octet_length(external_body_digest) = 32),
    constraint comments_external_digest_check check (octet_length(external_digest) = 32),
    constraint comments_external_id_check
    check ((external_source is null) = (external_id is null) and length(external_source) between 1 and 200 and length(external_id) between 1 and 500),
    constraint comments_revision_check check (revision > 0),
    constraint comments_visibility_check check (visibility in (1, 2))
);
comment on table issues.comments is
'What is said about an issue. An internal comment does not exist for viewers.';
comment on column issues.comments.visibility is
'1 everyone of the tenant, 2 internal: members and above; never changes';
comment on column issues.comments.body is
'The text.';
comment on column issues.comments.revision is
'Number of the text in body; earlier ones are in comment_revisions.';
comment on column issues.comments.external_digest is
'SHA-256 of the comment as last imported.';
comment on column issues.comments.external_body_digest is
'SHA-256 of the text as last imported, by which a comment without an id of its own is known again.';
create index comments_by_issue_idx on issues.comments (tenant_id, issue_id, created_at, comment_id);
create index comments_tenant_id_author_id_idx on issues.comments (tenant_id, author_id);
create unique index comments_tenant_id_external_key on issues.comments (tenant_id, external_source, external_id) where external_id is not null;
alter table issues.comments enable row level security;
alter table issues.comments force row level security;
create policy tenant_wall on issues.comments as restrictive for all to bulkhead_issues_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy insert_right on issues.comments for insert to bulkhead_issues_app
with check (app.role_level() >= 2 and (author_id = app.current_user_id() or app.importing() and app.role_level() >= 4));
create policy owner_right on issues.comments for all to bulkhead_issues_owner
using (true)
with check (true);
create policy read_right on issues.comments for select to bulkhead_issues_app
using (app.role_level() >= 1 and (visibility = 1 or app.role_level() >= 2));
create policy update_right on issues.comments for update to bulkhead_issues_app
using (app.role_level() >= 2 and (author_id = app.current_user_id() or app.role_level() >= 3))
with check (app.role_level() >= 2 and (author_id = app.current_user_id() or app.role_level() >= 3));
grant
    select (tenant_id, comment_id, issue_id, author_id, visibility, body, revision, external_source, external_id,
        external_digest, deleted_at, created_at, created_by, updated_at, version, external_body_digest),
    insert (tenant_id, comment_id, issue_id, author_id, visibility, body, external_source, external_id,
        external_digest, created_at, updated_at, external_body_digest),
    update (author_id, body, external_digest, deleted_at, updated_at, external_body_digest)
on issues.comments to bulkhead_issues_app;

-- issues.comment_revisions

create table issues.comment_revisions (
    tenant_id uuid not null,
    comment_id uuid not null,
    revision integer not null,
    visibility smallint not null,
    body text not null,
    replaced_at timestamptz not null,
    replaced_by uuid,
    constraint comment_revisions_pkey primary key (tenant_id, comment_id, revision),
    constraint comment_revisions_tenant_id_comment_id_fkey
    foreign key (tenant_id, comment_id)
    references issues.comments(tenant_id, comment_id) on delete restrict,
    constraint comment_revisions_revision_check check (revision > 0),
    constraint comment_revisions_visibility_check check (visibility in (1, 2))
);
comment on table issues.comment_revisions is
'Earlier texts of edited comments. Derived by trigger, so it is not captured a second time.';
comment on column issues.comment_revisions.revision is
'Number of the earlier text, from 1.';
comment on column issues.comment_revisions.visibility is
'The comment''s, so that the policy needs no other row.';
comment on column issues.comment_revisions.body is
'The text as it was.';
comment on column issues.comment_revisions.replaced_at is
'When the next text took its place.';
comment on column issues.comment_revisions.replaced_by is
'Who edited it.';
alter table issues.comment_revisions enable row level security;
alter table issues.comment_revisions force row level security;
create policy tenant_wall on issues.comment_revisions as restrictive for all to bulkhead_issues_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy owner_right on issues.comment_revisions for all to bulkhead_issues_owner
using (true)
with check (true);
create policy read_right on issues.comment_revisions for select to bulkhead_issues_app
using (app.role_level() >= 1 and (visibility = 1 or app.role_level() >= 2));
grant
    select (tenant_id, comment_id, revision, visibility, body, replaced_at, replaced_by)
on issues.comment_revisions to bulkhead_issues_app;

-- issues.issue_changes

create table issues.issue_changes (
    tenant_id uuid not null,
    issue_id uuid not null,
    seq bigint generated always as identity,
    changed_at timestamptz not null,
    changed_by uuid,
    field text not null,
    old_value text,
    new_value text,
    constraint issue_changes_pkey primary key (tenant_id, issue_id, seq),
    constraint issue_changes_tenant_id_issue_id_fkey
    foreign key (tenant_id, issue_id)
    references issues.issues(tenant_id, issue_id) on delete restrict,
    constraint issue_changes_field_check check (length(field) between 1 and 50),
    constraint issue_changes_new_value_check check (old_value is distinct from new_value)
);
comment on table issues.issue_changes is
'Every changed field of an issue, for its feed and for reading it as of a time. Derived by trigger, so it is not captured a second time.';
comment on column issues.issue_changes.seq is
'The order of all changes.';
comment on column issues.issue_changes.changed_at is
'When it was changed.';
comment on column issues.issue_changes.changed_by is
'Who changed it; null for a service and for an import.';
comment on column issues.issue_changes.field is
'A field of the contract''s Issue; label_ids holds the one label that came or went.';
comment on column issues.issue_changes.old_value is
'As text; null: there was none.';
comment on column issues.issue_changes.new_value is
'As text; null: there is none.';
alter table issues.issue_changes enable row level security;
alter table issues.issue_changes force row level security;
create policy tenant_wall on issues.issue_changes as restrictive for all to bulkhead_issues_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy owner_right on issues.issue_changes for all to bulkhead_issues_owner
using (true)
with check (true);
create policy read_right on issues.issue_changes for select to bulkhead_issues_app
using (app.role_level() >= 1);
grant
    select (tenant_id, issue_id, seq, changed_at, changed_by, field, old_value, new_value)
on issues.issue_changes to bulkhead_issues_app;

-- issues.issue_labels

create table issues.issue_labels (
    tenant_id uuid not null,
    issue_id uuid not null,
    label_id uuid not null,
    removed_at timestamptz,
    created_at timestamptz not null,
    created_by uuid,
    updated_at timestamptz not null,
    version integer not null,
    constraint issue_labels_pkey primary key (tenant_id, issue_id, label_id),
    constraint issue_labels_tenant_id_issue_id_fkey
    foreign key (tenant_id, issue_id)
    references issues.issues(tenant_id, issue_id) on delete restrict,
    constraint issue_labels_tenant_id_label_id_fkey
    foreign key (tenant_id, label_id)
    references issues.labels(tenant_id, label_id) on delete restrict
);
comment on table issues.issue_labels is
'Which issue carries which label; taken off is a state, not a deletion.';
create index issue_labels_by_label_idx on issues.issue_labels (tenant_id, label_id, issue_id) where removed_at is null;
alter table issues.issue_labels enable row level security;
alter table issues.issue_labels force row level security;
create policy tenant_wall on issues.issue_labels as restrictive for all to bulkhead_issues_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy insert_right on issues.issue_labels for insert to bulkhead_issues_app
with check (app.role_level() >= 2);
create policy owner_right on issues.issue_labels for all to bulkhead_issues_owner
using (true)
with check (true);
create policy read_right on issues.issue_labels for select to bulkhead_issues_app
using (app.role_level() >= 1);
create policy update_right on issues.issue_labels for update to bulkhead_issues_app
using (app.role_level() >= 2)
with check (app.role_level() >= 2);
grant
    select (tenant_id, issue_id, label_id, removed_at, created_at, created_by, updated_at, version),
    insert (tenant_id, issue_id, label_id, created_at, updated_at),
    update (removed_at, updated_at)
on issues.issue_labels to bulkhead_issues_app;

-- issues.issue_status_history

create table issues.issue_status_history (
    tenant_id uuid not null,
    issue_id uuid not null,
    seq integer not null,
    previous_seq integer generated always as (nullif(seq - 1, 0)) stored,
    status_id uuid not null,
    entered_at timestamptz not null,
    left_at timestamptz,
    changed_by uuid,
    constraint issue_status_history_pkey primary key (tenant_id, issue_id, seq),
    constraint issue_status_history_tenant_id_issue_id_seq_left_at_key unique (tenant_id, issue_id, seq, left_at),
    constraint issue_status_history_previous_fkey
    foreign key (tenant_id, issue_id, previous_seq, entered_at)
    references issues.issue_status_history(tenant_id, issue_id, seq, left_at) on delete restrict,
    constraint issue_status_history_tenant_id_issue_id_fkey
    foreign key (tenant_id, issue_id)
    references issues.issues(tenant_id, issue_id) on delete restrict,
    constraint issue_status_history_tenant_id_status_id_fkey
    foreign key (tenant_id, status_id)
    references issues.statuses(tenant_id, status_id) on delete restrict,
    constraint issue_status_history_left_at_check check (left_at >= entered_at),
    constraint issue_status_history_seq_check check (seq > 0)
);
comment on table issues.issue_status_history is
'Every span an issue spent in a status. Derived by trigger, so it is not captured a second time.';
comment on column issues.issue_status_history.seq is
'The span''s place in the history, from 1 without holes.';
comment on column issues.issue_status_history.previous_seq is
'seq - 1, for the foreign key that forbids holes.';
comment on column issues.issue_status_history.entered_at is
'When the issue came into the status.';
comment on column issues.issue_status_history.left_at is
'When it left; null: it is in it.';
comment on column issues.issue_status_history.changed_by is
'Who brought the issue into the status; null for a service and where an import does not say.';
create unique index issue_status_history_open_key on issues.issue_status_history (tenant_id, issue_id) where left_at is null;
create index issue_status_history_previous_idx on issues.issue_status_history (tenant_id, issue_id, previous_seq, entered_at);
create index issue_status_history_tenant_id_status_id_idx on issues.issue_status_history (tenant_id, status_id);
alter table issues.issue_status_history enable row level security;
alter table issues.issue_status_history force row level security;
create policy tenant_wall on issues.issue_status_history as restrictive for all to bulkhead_issues_app
using (tenant_id = app.current_tenant_id())
with check (tenant_id = app.current_tenant_id() and app.is_writing());
create policy owner_right on issues.issue_status_history for all to bulkhead_issues_owner
using (true)
with check (true);
create policy read_right on issues.issue_status_history for select to bulkhead_issues_app
using (app.role_level() >= 1);
grant
    select (tenant_id, issue_id, seq, status_id, entered_at, left_at, changed_by)
on issues.issue_status_history to bulkhead_issues_app;

create or replace function issues.apply_status()
 returns trigger
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_archived_at timestamptz;
    v_least_role smallint;
    v_moves boolean;
    v_field text;
begin
    if tg_op = 'INSERT' then
        v_moves := true;
    else
        v_moves := new.status_id <> old.status_id;
    end if;
    if not v_moves then
        if not app.importing() then
            new.resolved_at := old.resolved_at;
        end if;
        return new;
    end if;

    if new.status_id is null then
        select s.status_id, s.category into new.status_id, new.status_category
        from issues.statuses as s where s.tenant_id = new.tenant_id and s.is_default;
    else
        select s.category, s.archived_at into new.status_category, v_archived_at
        from issues.statuses as s where s.tenant_id = new.tenant_id and s.status_id = new.status_id;
    end if;
    if not found then
        v_field := case tg_op when 'INSERT' then 'issue.status_id' else 'status_id' end;
        perform app.refuse(
            3, 'REFERENCE_NOT_FOUND', v_field || ': no such status in this tenant', jsonb_build_object('field', v_field)
        );
    end if;
    if v_archived_at is not null then
        perform app.refuse(9, 'ARCHIVED', 'the status is archived', '{"resource": "status"}');
    end if;
    if tg_op = 'UPDATE' and not app.importing() then
        select t.least_role into v_least_role
        from issues.status_transitions as t
        where
            t.tenant_id = new.tenant_id and t.from_status_id = old.status_id and t.to_status_id = new.status_id
            and t.removed_at is null;
        if not found then
            perform app.refuse(
                9, 'TRANSITION_NOT_ALLOWED', 'the workflow has no such transition',
                jsonb_build_object('from_status_id', old.status_id, 'to_status_id', new.status_id)
            );
        end if;
        if v_least_role > app.role_level() then
            perform app.refuse(
                7, 'ROLE_TOO_LOW', 'this transition needs a higher role',
                jsonb_build_object('least_role', (array['', 'MEMBER', 'MANAGER', 'ADMIN', 'OWNER'])[v_least_role])
            );
        end if;
    end if;

    if new.status_category not in (4, 5) then
        new.resolved_at := null;
    elsif not app.importing() or new.resolved_at is null then
        new.resolved_at := now();
        if tg_op = 'UPDATE' then
            -- From done to cancelled or back: it was resolved when it first was.
            new.resolved_at := coalesce(old.resolved_at, now());
        end if;
    end if;
    return new;
end
$function$;
revoke all on function issues.apply_status() from public;
comment on function issues.apply_status() is
'Default status, allowed transitions, and what follows from the status: its category and the time of resolution.';

create or replace function issues.capture_comments()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r issues.comments;
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
                v_changes := jsonb_build_object('issue_id', jsonb_build_array(null, r.issue_id), 'author_id', jsonb_build_array(null, r.author_id), 'visibility', jsonb_build_array(null, case r.visibility when '1' then 'VISIBILITY_EVERYONE' when '2' then 'VISIBILITY_INTERNAL' else r.visibility::text end), 'body', jsonb_build_array(null, r.body)); if r.external_source is not null then v_changes := v_changes || jsonb_build_object('external_source', jsonb_build_array(null, r.external_source)); end if; if r.external_id is not null then v_changes := v_changes || jsonb_build_object('external_id', jsonb_build_array(null, r.external_id)); end if; if r.deleted_at is not null then v_changes := v_changes || jsonb_build_object('delete_time', jsonb_build_array(null, app.time_text(r.deleted_at))); end if; 
            else
                r := new;
                if r.issue_id is distinct from old.issue_id then v_changes := v_changes || jsonb_build_object('issue_id', jsonb_build_array(old.issue_id, r.issue_id)); end if; if r.author_id is distinct from old.author_id then v_changes := v_changes || jsonb_build_object('author_id', jsonb_build_array(old.author_id, r.author_id)); end if; if r.visibility is distinct from old.visibility then v_changes := v_changes || jsonb_build_object('visibility', jsonb_build_array(case old.visibility when '1' then 'VISIBILITY_EVERYONE' when '2' then 'VISIBILITY_INTERNAL' else old.visibility::text end, case r.visibility when '1' then 'VISIBILITY_EVERYONE' when '2' then 'VISIBILITY_INTERNAL' else r.visibility::text end)); end if; if r.body is distinct from old.body then v_changes := v_changes || jsonb_build_object('body', jsonb_build_array(old.body, r.body)); end if; if r.external_source is distinct from old.external_source then v_changes := v_changes || jsonb_build_object('external_source', jsonb_build_array(old.external_source, r.external_source)); end if; if r.external_id is distinct from old.external_id then v_changes := v_changes || jsonb_build_object('external_id', jsonb_build_array(old.external_id, r.external_id)); end if; if r.deleted_at is distinct from old.deleted_at then v_changes := v_changes || jsonb_build_object('delete_time', jsonb_build_array(app.time_text(old.deleted_at), app.time_text(r.deleted_at))); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := case when r.deleted_at is not null and old.deleted_at is null then 'deleted' when r.deleted_at is null and old.deleted_at is not null then 'undeleted' else 'updated' end;
            end if;
            insert into issues.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                r.tenant_id, 'comment' || '.' || v_verb, 'comment', r.comment_id, null::uuid, (select i.project_id from issues.issues as i where i.tenant_id = r.tenant_id and i.issue_id = r.issue_id), r.visibility, v_changes
            );
            return null;
        end
        $function$;
revoke all on function issues.capture_comments() from public;
comment on function issues.capture_comments() is
'Capture: leaves an outbox row for every change of issues.comments.';

create or replace function issues.capture_issue_labels()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r issues.issue_labels;
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
                if (case when r.removed_at is null then r.label_id end) is not null then v_changes := v_changes || jsonb_build_object('label_ids', jsonb_build_array(null, (case when r.removed_at is null then r.label_id end))); end if; if r.removed_at is not null then v_changes := v_changes || jsonb_build_object('remove_time', jsonb_build_array(null, app.time_text(r.removed_at))); end if; 
            else
                r := new;
                if (case when r.removed_at is null then r.label_id end) is distinct from (case when old.removed_at is null then old.label_id end) then v_changes := v_changes || jsonb_build_object('label_ids', jsonb_build_array((case when old.removed_at is null then old.label_id end), (case when r.removed_at is null then r.label_id end))); end if; if r.removed_at is distinct from old.removed_at then v_changes := v_changes || jsonb_build_object('remove_time', jsonb_build_array(app.time_text(old.removed_at), app.time_text(r.removed_at))); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := case when r.removed_at is not null and old.removed_at is null then 'removed' when r.removed_at is null and old.removed_at is not null then 'added' else 'updated' end;
            end if;
            insert into issues.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                r.tenant_id, 'issue_label' || '.' || v_verb, 'issue_label', r.issue_id, r.label_id, (select i.project_id from issues.issues as i where i.tenant_id = r.tenant_id and i.issue_id = r.issue_id), 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function issues.capture_issue_labels() from public;
comment on function issues.capture_issue_labels() is
'Capture: leaves an outbox row for every change of issues.issue_labels.';

create or replace function issues.capture_issues()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r issues.issues;
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
                v_changes := jsonb_build_object('project_id', jsonb_build_array(null, r.project_id), 'number', jsonb_build_array(null, r.number), 'type', jsonb_build_array(null, case r.type when '1' then 'ISSUE_TYPE_TASK' when '2' then 'ISSUE_TYPE_BUG' when '3' then 'ISSUE_TYPE_FEATURE' when '4' then 'ISSUE_TYPE_EPIC' when '5' then 'ISSUE_TYPE_SUBTASK' when '6' then 'ISSUE_TYPE_PULL_REQUEST' else r.type::text end), 'title', jsonb_build_array(null, r.title), 'description', jsonb_build_array(null, r.description), 'status_id', jsonb_build_array(null, r.status_id), 'priority', jsonb_build_array(null, case r.priority when '0' then 'PRIORITY_UNSPECIFIED' when '1' then 'PRIORITY_LOW' when '2' then 'PRIORITY_MEDIUM' when '3' then 'PRIORITY_HIGH' when '4' then 'PRIORITY_URGENT' else r.priority::text end), 'reporter_id', jsonb_build_array(null, r.reporter_id), 'spent_minutes', jsonb_build_array(null, r.spent_minutes), 'metadata', jsonb_build_array(null, r.metadata)); if r.assignee_id is not null then v_changes := v_changes || jsonb_build_object('assignee_id', jsonb_build_array(null, r.assignee_id)); end if; if r.parent_id is not null then v_changes := v_changes || jsonb_build_object('parent_id', jsonb_build_array(null, r.parent_id)); end if; if r.estimate_minutes is not null then v_changes := v_changes || jsonb_build_object('estimate_minutes', jsonb_build_array(null, r.estimate_minutes)); end if; if r.start_at is not null then v_changes := v_changes || jsonb_build_object('start_time', jsonb_build_array(null, app.time_text(r.start_at))); end if; if r.due_at is not null then v_changes := v_changes || jsonb_build_object('due_time', jsonb_build_array(null, app.time_text(r.due_at))); end if; if r.breached_at is not null then v_changes := v_changes || jsonb_build_object('breach_time', jsonb_build_array(null, app.time_text(r.breached_at))); end if; if r.resolved_at is not null then v_changes := v_changes || jsonb_build_object('resolve_time', jsonb_build_array(null, app.time_text(r.resolved_at))); end if; if r.external_source is not null then v_changes := v_changes || jsonb_build_object('external_source', jsonb_build_array(null, r.external_source)); end if; if r.external_id is not null then v_changes := v_changes || jsonb_build_object('external_id', jsonb_build_array(null, r.external_id)); end if; if r.deleted_at is not null then v_changes := v_changes || jsonb_build_object('delete_time', jsonb_build_array(null, app.time_text(r.deleted_at))); end if; 
            else
                r := new;
                if r.project_id is distinct from old.project_id then v_changes := v_changes || jsonb_build_object('project_id', jsonb_build_array(old.project_id, r.project_id)); end if; if r.number is distinct from old.number then v_changes := v_changes || jsonb_build_object('number', jsonb_build_array(old.number, r.number)); end if; if r.type is distinct from old.type then v_changes := v_changes || jsonb_build_object('type', jsonb_build_array(case old.type when '1' then 'ISSUE_TYPE_TASK' when '2' then 'ISSUE_TYPE_BUG' when '3' then 'ISSUE_TYPE_FEATURE' when '4' then 'ISSUE_TYPE_EPIC' when '5' then 'ISSUE_TYPE_SUBTASK' when '6' then 'ISSUE_TYPE_PULL_REQUEST' else old.type::text end, case r.type when '1' then 'ISSUE_TYPE_TASK' when '2' then 'ISSUE_TYPE_BUG' when '3' then 'ISSUE_TYPE_FEATURE' when '4' then 'ISSUE_TYPE_EPIC' when '5' then 'ISSUE_TYPE_SUBTASK' when '6' then 'ISSUE_TYPE_PULL_REQUEST' else r.type::text end)); end if; if r.title is distinct from old.title then v_changes := v_changes || jsonb_build_object('title', jsonb_build_array(old.title, r.title)); end if; if r.description is distinct from old.description then v_changes := v_changes || jsonb_build_object('description', jsonb_build_array(old.description, r.description)); end if; if r.status_id is distinct from old.status_id then v_changes := v_changes || jsonb_build_object('status_id', jsonb_build_array(old.status_id, r.status_id)); end if; if r.priority is distinct from old.priority then v_changes := v_changes || jsonb_build_object('priority', jsonb_build_array(case old.priority when '0' then 'PRIORITY_UNSPECIFIED' when '1' then 'PRIORITY_LOW' when '2' then 'PRIORITY_MEDIUM' when '3' then 'PRIORITY_HIGH' when '4' then 'PRIORITY_URGENT' else old.priority::text end, case r.priority when '0' then 'PRIORITY_UNSPECIFIED' when '1' then 'PRIORITY_LOW' when '2' then 'PRIORITY_MEDIUM' when '3' then 'PRIORITY_HIGH' when '4' then 'PRIORITY_URGENT' else r.priority::text end)); end if; if r.reporter_id is distinct from old.reporter_id then v_changes := v_changes || jsonb_build_object('reporter_id', jsonb_build_array(old.reporter_id, r.reporter_id)); end if; if r.assignee_id is distinct from old.assignee_id then v_changes := v_changes || jsonb_build_object('assignee_id', jsonb_build_array(old.assignee_id, r.assignee_id)); end if; if r.parent_id is distinct from old.parent_id then v_changes := v_changes || jsonb_build_object('parent_id', jsonb_build_array(old.parent_id, r.parent_id)); end if; if r.estimate_minutes is distinct from old.estimate_minutes then v_changes := v_changes || jsonb_build_object('estimate_minutes', jsonb_build_array(old.estimate_minutes, r.estimate_minutes)); end if; if r.spent_minutes is distinct from old.spent_minutes then v_changes := v_changes || jsonb_build_object('spent_minutes', jsonb_build_array(old.spent_minutes, r.spent_minutes)); end if; if r.start_at is distinct from old.start_at then v_changes := v_changes || jsonb_build_object('start_time', jsonb_build_array(app.time_text(old.start_at), app.time_text(r.start_at))); end if; if r.due_at is distinct from old.due_at then v_changes := v_changes || jsonb_build_object('due_time', jsonb_build_array(app.time_text(old.due_at), app.time_text(r.due_at))); end if; if r.breached_at is distinct from old.breached_at then v_changes := v_changes || jsonb_build_object('breach_time', jsonb_build_array(app.time_text(old.breached_at), app.time_text(r.breached_at))); end if; if r.resolved_at is distinct from old.resolved_at then v_changes := v_changes || jsonb_build_object('resolve_time', jsonb_build_array(app.time_text(old.resolved_at), app.time_text(r.resolved_at))); end if; if r.metadata is distinct from old.metadata then v_changes := v_changes || jsonb_build_object('metadata', jsonb_build_array(old.metadata, r.metadata)); end if; if r.external_source is distinct from old.external_source then v_changes := v_changes || jsonb_build_object('external_source', jsonb_build_array(old.external_source, r.external_source)); end if; if r.external_id is distinct from old.external_id then v_changes := v_changes || jsonb_build_object('external_id', jsonb_build_array(old.external_id, r.external_id)); end if; if r.deleted_at is distinct from old.deleted_at then v_changes := v_changes || jsonb_build_object('delete_time', jsonb_build_array(app.time_text(old.deleted_at), app.time_text(r.deleted_at))); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := case when r.deleted_at is not null and old.deleted_at is null then 'deleted' when r.deleted_at is null and old.deleted_at is not null then 'undeleted' else 'updated' end;
            end if;
            insert into issues.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                r.tenant_id, 'issue' || '.' || v_verb, 'issue', r.issue_id, null::uuid, r.project_id, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function issues.capture_issues() from public;
comment on function issues.capture_issues() is
'Capture: leaves an outbox row for every change of issues.issues.';

create or replace function issues.capture_labels()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r issues.labels;
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
                v_changes := jsonb_build_object('name', jsonb_build_array(null, r.name), 'description', jsonb_build_array(null, r.description), 'color', jsonb_build_array(null, r.color)); if r.archived_at is not null then v_changes := v_changes || jsonb_build_object('archive_time', jsonb_build_array(null, app.time_text(r.archived_at))); end if; 
            else
                r := new;
                if r.name is distinct from old.name then v_changes := v_changes || jsonb_build_object('name', jsonb_build_array(old.name, r.name)); end if; if r.description is distinct from old.description then v_changes := v_changes || jsonb_build_object('description', jsonb_build_array(old.description, r.description)); end if; if r.color is distinct from old.color then v_changes := v_changes || jsonb_build_object('color', jsonb_build_array(old.color, r.color)); end if; if r.archived_at is distinct from old.archived_at then v_changes := v_changes || jsonb_build_object('archive_time', jsonb_build_array(app.time_text(old.archived_at), app.time_text(r.archived_at))); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := case when r.archived_at is not null and old.archived_at is null then 'archived' when r.archived_at is null and old.archived_at is not null then 'unarchived' else 'updated' end;
            end if;
            insert into issues.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                r.tenant_id, 'label' || '.' || v_verb, 'label', r.label_id, null::uuid, null::uuid, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function issues.capture_labels() from public;
comment on function issues.capture_labels() is
'Capture: leaves an outbox row for every change of issues.labels.';

create or replace function issues.capture_projects()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r issues.projects;
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
                v_changes := jsonb_build_object('workspace_id', jsonb_build_array(null, r.workspace_id), 'key', jsonb_build_array(null, r.key), 'name', jsonb_build_array(null, r.name), 'description', jsonb_build_array(null, r.description), 'status', jsonb_build_array(null, case r.status when '1' then 'PROJECT_STATUS_DRAFT' when '2' then 'PROJECT_STATUS_ACTIVE' when '3' then 'PROJECT_STATUS_ON_HOLD' when '4' then 'PROJECT_STATUS_COMPLETED' when '5' then 'PROJECT_STATUS_CANCELLED' else r.status::text end), 'priority', jsonb_build_array(null, case r.priority when '0' then 'PRIORITY_UNSPECIFIED' when '1' then 'PRIORITY_LOW' when '2' then 'PRIORITY_MEDIUM' when '3' then 'PRIORITY_HIGH' when '4' then 'PRIORITY_URGENT' else r.priority::text end), 'metadata', jsonb_build_array(null, r.metadata)); if r.lead_id is not null then v_changes := v_changes || jsonb_build_object('lead_id', jsonb_build_array(null, r.lead_id)); end if; if r.owner_team_id is not null then v_changes := v_changes || jsonb_build_object('owner_team_id', jsonb_build_array(null, r.owner_team_id)); end if; if r.start_date is not null then v_changes := v_changes || jsonb_build_object('start_date', jsonb_build_array(null, r.start_date)); end if; if r.end_date is not null then v_changes := v_changes || jsonb_build_object('end_date', jsonb_build_array(null, r.end_date)); end if; if r.budget is not null then v_changes := v_changes || jsonb_build_object('budget', jsonb_build_array(null, r.budget::text)); end if; if r.archived_at is not null then v_changes := v_changes || jsonb_build_object('archive_time', jsonb_build_array(null, app.time_text(r.archived_at))); end if; if r.deleted_at is not null then v_changes := v_changes || jsonb_build_object('delete_time', jsonb_build_array(null, app.time_text(r.deleted_at))); end if; 
            else
                r := new;
                if r.workspace_id is distinct from old.workspace_id then v_changes := v_changes || jsonb_build_object('workspace_id', jsonb_build_array(old.workspace_id, r.workspace_id)); end if; if r.key is distinct from old.key then v_changes := v_changes || jsonb_build_object('key', jsonb_build_array(old.key, r.key)); end if; if r.name is distinct from old.name then v_changes := v_changes || jsonb_build_object('name', jsonb_build_array(old.name, r.name)); end if; if r.description is distinct from old.description then v_changes := v_changes || jsonb_build_object('description', jsonb_build_array(old.description, r.description)); end if; if r.status is distinct from old.status then v_changes := v_changes || jsonb_build_object('status', jsonb_build_array(case old.status when '1' then 'PROJECT_STATUS_DRAFT' when '2' then 'PROJECT_STATUS_ACTIVE' when '3' then 'PROJECT_STATUS_ON_HOLD' when '4' then 'PROJECT_STATUS_COMPLETED' when '5' then 'PROJECT_STATUS_CANCELLED' else old.status::text end, case r.status when '1' then 'PROJECT_STATUS_DRAFT' when '2' then 'PROJECT_STATUS_ACTIVE' when '3' then 'PROJECT_STATUS_ON_HOLD' when '4' then 'PROJECT_STATUS_COMPLETED' when '5' then 'PROJECT_STATUS_CANCELLED' else r.status::text end)); end if; if r.priority is distinct from old.priority then v_changes := v_changes || jsonb_build_object('priority', jsonb_build_array(case old.priority when '0' then 'PRIORITY_UNSPECIFIED' when '1' then 'PRIORITY_LOW' when '2' then 'PRIORITY_MEDIUM' when '3' then 'PRIORITY_HIGH' when '4' then 'PRIORITY_URGENT' else old.priority::text end, case r.priority when '0' then 'PRIORITY_UNSPECIFIED' when '1' then 'PRIORITY_LOW' when '2' then 'PRIORITY_MEDIUM' when '3' then 'PRIORITY_HIGH' when '4' then 'PRIORITY_URGENT' else r.priority::text end)); end if; if r.lead_id is distinct from old.lead_id then v_changes := v_changes || jsonb_build_object('lead_id', jsonb_build_array(old.lead_id, r.lead_id)); end if; if r.owner_team_id is distinct from old.owner_team_id then v_changes := v_changes || jsonb_build_object('owner_team_id', jsonb_build_array(old.owner_team_id, r.owner_team_id)); end if; if r.start_date is distinct from old.start_date then v_changes := v_changes || jsonb_build_object('start_date', jsonb_build_array(old.start_date, r.start_date)); end if; if r.end_date is distinct from old.end_date then v_changes := v_changes || jsonb_build_object('end_date', jsonb_build_array(old.end_date, r.end_date)); end if; if r.budget is distinct from old.budget then v_changes := v_changes || jsonb_build_object('budget', jsonb_build_array(old.budget::text, r.budget::text)); end if; if r.metadata is distinct from old.metadata then v_changes := v_changes || jsonb_build_object('metadata', jsonb_build_array(old.metadata, r.metadata)); end if; if r.archived_at is distinct from old.archived_at then v_changes := v_changes || jsonb_build_object('archive_time', jsonb_build_array(app.time_text(old.archived_at), app.time_text(r.archived_at))); end if; if r.deleted_at is distinct from old.deleted_at then v_changes := v_changes || jsonb_build_object('delete_time', jsonb_build_array(app.time_text(old.deleted_at), app.time_text(r.deleted_at))); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := case when r.archived_at is not null and old.archived_at is null then 'archived' when r.archived_at is null and old.archived_at is not null then 'unarchived' else case when r.deleted_at is not null and old.deleted_at is null then 'deleted' when r.deleted_at is null and old.deleted_at is not null then 'undeleted' else 'updated' end end;
            end if;
            insert into issues.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                r.tenant_id, 'project' || '.' || v_verb, 'project', r.project_id, null::uuid, r.project_id, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function issues.capture_projects() from public;
comment on function issues.capture_projects() is
'Capture: leaves an outbox row for every change of issues.projects.';

create or replace function issues.capture_status_transitions()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r issues.status_transitions;
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
                v_changes := jsonb_build_object('least_role', jsonb_build_array(null, case r.least_role when '1' then 'ROLE_VIEWER' when '2' then 'ROLE_MEMBER' when '3' then 'ROLE_MANAGER' when '4' then 'ROLE_ADMIN' when '5' then 'ROLE_OWNER' else r.least_role::text end)); if r.removed_at is not null then v_changes := v_changes || jsonb_build_object('remove_time', jsonb_build_array(null, app.time_text(r.removed_at))); end if; 
            else
                r := new;
                if r.least_role is distinct from old.least_role then v_changes := v_changes || jsonb_build_object('least_role', jsonb_build_array(case old.least_role when '1' then 'ROLE_VIEWER' when '2' then 'ROLE_MEMBER' when '3' then 'ROLE_MANAGER' when '4' then 'ROLE_ADMIN' when '5' then 'ROLE_OWNER' else old.least_role::text end, case r.least_role when '1' then 'ROLE_VIEWER' when '2' then 'ROLE_MEMBER' when '3' then 'ROLE_MANAGER' when '4' then 'ROLE_ADMIN' when '5' then 'ROLE_OWNER' else r.least_role::text end)); end if; if r.removed_at is distinct from old.removed_at then v_changes := v_changes || jsonb_build_object('remove_time', jsonb_build_array(app.time_text(old.removed_at), app.time_text(r.removed_at))); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := case when r.removed_at is not null and old.removed_at is null then 'removed' when r.removed_at is null and old.removed_at is not null then 'added' else 'updated' end;
            end if;
            insert into issues.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                r.tenant_id, 'status_transition' || '.' || v_verb, 'status_transition', r.from_status_id, r.to_status_id, null::uuid, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function issues.capture_status_transitions() from public;
comment on function issues.capture_status_transitions() is
'Capture: leaves an outbox row for every change of issues.status_transitions.';

create or replace function issues.capture_statuses()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r issues.statuses;
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
                v_changes := jsonb_build_object('name', jsonb_build_array(null, r.name), 'category', jsonb_build_array(null, case r.category when '1' then 'STATUS_CATEGORY_BACKLOG' when '2' then 'STATUS_CATEGORY_TODO' when '3' then 'STATUS_CATEGORY_IN_PROGRESS' when '4' then 'STATUS_CATEGORY_DONE' when '5' then 'STATUS_CATEGORY_CANCELLED' else r.category::text end), 'position', jsonb_build_array(null, r."position"), 'is_default', jsonb_build_array(null, r.is_default)); if r.archived_at is not null then v_changes := v_changes || jsonb_build_object('archive_time', jsonb_build_array(null, app.time_text(r.archived_at))); end if; 
            else
                r := new;
                if r.name is distinct from old.name then v_changes := v_changes || jsonb_build_object('name', jsonb_build_array(old.name, r.name)); end if; if r.category is distinct from old.category then v_changes := v_changes || jsonb_build_object('category', jsonb_build_array(case old.category when '1' then 'STATUS_CATEGORY_BACKLOG' when '2' then 'STATUS_CATEGORY_TODO' when '3' then 'STATUS_CATEGORY_IN_PROGRESS' when '4' then 'STATUS_CATEGORY_DONE' when '5' then 'STATUS_CATEGORY_CANCELLED' else old.category::text end, case r.category when '1' then 'STATUS_CATEGORY_BACKLOG' when '2' then 'STATUS_CATEGORY_TODO' when '3' then 'STATUS_CATEGORY_IN_PROGRESS' when '4' then 'STATUS_CATEGORY_DONE' when '5' then 'STATUS_CATEGORY_CANCELLED' else r.category::text end)); end if; if r."position" is distinct from old."position" then v_changes := v_changes || jsonb_build_object('position', jsonb_build_array(old."position", r."position")); end if; if r.is_default is distinct from old.is_default then v_changes := v_changes || jsonb_build_object('is_default', jsonb_build_array(old.is_default, r.is_default)); end if; if r.archived_at is distinct from old.archived_at then v_changes := v_changes || jsonb_build_object('archive_time', jsonb_build_array(app.time_text(old.archived_at), app.time_text(r.archived_at))); end if; 
                if v_changes = '{}' then
                    return null;
                end if;
                v_verb := case when r.archived_at is not null and old.archived_at is null then 'archived' when r.archived_at is null and old.archived_at is not null then 'unarchived' else 'updated' end;
            end if;
            insert into issues.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                r.tenant_id, 'status' || '.' || v_verb, 'status', r.status_id, null::uuid, null::uuid, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function issues.capture_statuses() from public;
comment on function issues.capture_statuses() is
'Capture: leaves an outbox row for every change of issues.statuses.';

create or replace function issues.capture_workspaces()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
        declare
            r issues.workspaces;
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
            insert into issues.outbox (
                tenant_id, action, entity_type, entity_id, sub_id, project_id, visibility, changes
            ) values (
                r.tenant_id, 'workspace' || '.' || v_verb, 'workspace', r.workspace_id, null::uuid, null::uuid, 1::smallint, v_changes
            );
            return null;
        end
        $function$;
revoke all on function issues.capture_workspaces() from public;
comment on function issues.capture_workspaces() is
'Capture: leaves an outbox row for every change of issues.workspaces.';

create or replace function issues.check_default_status()
 returns trigger
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    -- Deferred to the commit, so that the default can move: off, then on. Two who move it meet at its row.
    if not exists (
        select from issues.statuses as s where s.tenant_id = new.tenant_id and s.is_default
    ) then
        perform app.refuse(
            9, 'STATE_NOT_ALLOWED', 'a tenant has exactly one default status', '{"state": "no_default_status"}'
        );
    end if;
    return null;
end
$function$;
revoke all on function issues.check_default_status() from public;
comment on function issues.check_default_status() is
'Refuses a transaction that would leave a tenant without a default status.';

create or replace function issues.check_family()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    if new.tenant_id is distinct from app.current_tenant_id() then
        raise insufficient_privilege using message = 'the row belongs to another tenant';
    end if;
    perform from issues.projects as p
    where p.tenant_id = new.tenant_id and p.project_id = new.project_id
    for no key update;
    if new.deleted_at is null then
        if exists (
            select from issues.issues as i
            where i.tenant_id = new.tenant_id and i.issue_id = new.parent_id and i.deleted_at is not null
        ) then
            perform app.refuse(
                9, 'STATE_NOT_ALLOWED', 'its parent is deleted', '{"state": "parent_deleted"}'
            );
        end if;
    elsif exists (
        select from issues.issues as i
        where i.tenant_id = new.tenant_id and i.parent_id = new.issue_id and i.deleted_at is null
    ) then
        perform app.refuse(
            9, 'STATE_NOT_ALLOWED', 'it is the parent of other issues', '{"state": "has_children"}'
        );
    end if;
    return new;
end
$function$;
revoke all on function issues.check_family() from public;
comment on function issues.check_family() is
'No issue that is there has a parent that is deleted.';

create or replace function issues.check_parent()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_project_id uuid;
begin
    if new.tenant_id is distinct from app.current_tenant_id() then
        raise insufficient_privilege using message = 'the row belongs to another tenant';
    end if;
    -- One change of parents at a time in a project: two that each look right could close a ring together.
    perform from issues.projects as p
    where p.tenant_id = new.tenant_id and p.project_id = new.project_id
    for no key update;
    select i.project_id into v_project_id
    from issues.issues as i
    where i.tenant_id = new.tenant_id and i.issue_id = new.parent_id and i.deleted_at is null;
    if not found then
        perform app.refuse(
            3, 'REFERENCE_NOT_FOUND', 'issue.parent_id: no such issue in this tenant', '{"field": "issue.parent_id"}'
        );
    end if;
    if v_project_id <> new.project_id then
        perform app.refuse(
            9, 'STATE_NOT_ALLOWED', 'a parent is an issue of the same project', '{"state": "other_project"}'
        );
    end if;
    if new.issue_id = new.parent_id or exists (
        with recursive ancestors as (
            select i.issue_id, i.parent_id
            from issues.issues as i where i.tenant_id = new.tenant_id and i.issue_id = new.parent_id
            union all
            select i.issue_id, i.parent_id
            from ancestors as a
            inner join issues.issues as i on i.tenant_id = new.tenant_id and i.issue_id = a.parent_id
        )
        select from ancestors as a where a.parent_id = new.issue_id
    ) then
        perform app.refuse(9, 'PARENT_CYCLE', 'the parent is the issue itself or one below it');
    end if;
    return new;
end
$function$;
revoke all on function issues.check_parent() from public;
comment on function issues.check_parent() is
'A parent is of the same project and not below its own child.';

create or replace function issues.check_resolution()
 returns trigger
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    if new.resolved_at > now() + interval '1 hour' then
        perform app.refuse(3, 'INVALID_FIELD', 'close_time: must not be in the future', '{"field": "close_time"}');
    end if;
    return new;
end
$function$;
revoke all on function issues.check_resolution() from public;
comment on function issues.check_resolution() is
'Refuses a time of resolution that an import says is still to come: the history would go on from there.';

create or replace function issues.claim_project()
 returns trigger
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    perform identity.claim_project(new.tenant_id);
    return new;
end
$function$;
revoke all on function issues.claim_project() from public;
comment on function issues.claim_project() is
'Counts a new project against the plan, so that no way in can forget it.';

create or replace function issues.count_labels()
 returns trigger
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    -- Two labels at once: the second counts when the first has been put on.
    perform from issues.issues as i
    where i.tenant_id = new.tenant_id and i.issue_id = new.issue_id
    for no key update;
    if (
        select count(*) from issues.issue_labels as l
        where l.tenant_id = new.tenant_id and l.issue_id = new.issue_id and l.removed_at is null
    ) > 100 then
        perform app.refuse(
            9, 'STATE_NOT_ALLOWED', 'the issue carries 100 labels, which is the most', '{"state": "too_many_labels"}'
        );
    end if;
    return null;
end
$function$;
revoke all on function issues.count_labels() from public;
comment on function issues.count_labels() is
'Keeps an issue from carrying more than 100 labels.';

create or replace function issues.hold_issue()
 returns trigger
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    -- Whoever is deleting the issue waits for this change, or it finds the issue deleted.
    perform 1 from issues.issues as i
    where i.tenant_id = new.tenant_id and i.issue_id = new.issue_id and i.deleted_at is null for share;
    if not found then
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such issue', '{"resource": "issue"}');
    end if;
    return new;
end
$function$;
revoke all on function issues.hold_issue() from public;
comment on function issues.hold_issue() is
'A comment of a deleted issue is neither edited nor deleted; an import brings what it brings.';

create or replace function issues.hold_team()
 returns trigger
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    perform identity.hold_team(new.tenant_id, new.owner_team_id);
    return new;
end
$function$;
revoke all on function issues.hold_team() from public;
comment on function issues.hold_team() is
'No project comes to an archived team, nor to one that is being archived; those it has it keeps.';

create or replace function issues.keep_person()
 returns trigger
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    if not app.importing() then
        raise insufficient_privilege using message = 'who reported or said it is changed by an import only';
    end if;
    return new;
end
$function$;
revoke all on function issues.keep_person() from public;
comment on function issues.keep_person() is
'Keeps the reporter of an issue and the author of a comment.';

create or replace function issues.number_issue()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_archived_at timestamptz;
begin
    if new.tenant_id is distinct from app.current_tenant_id() then
        -- The wall would say so only after this function has looked at the other tenant's project.
        raise insufficient_privilege using message = 'the row belongs to another tenant';
    end if;
    if not app.importing() then
        new.number := null;
    end if;
    update issues.projects as p
    set next_number = greatest(p.next_number, coalesce(new.number, p.next_number) + 1)
    where p.tenant_id = new.tenant_id and p.project_id = new.project_id and p.deleted_at is null
    returning coalesce(new.number, p.next_number - 1), p.archived_at into new.number, v_archived_at;
    if not found then
        perform app.refuse(5, 'RESOURCE_NOT_FOUND', 'no such project in this tenant', '{"resource": "project"}');
    end if;
    if v_archived_at is not null then
        perform app.refuse(9, 'ARCHIVED', 'the project is archived', '{"resource": "project"}');
    end if;
    return new;
end
$function$;
revoke all on function issues.number_issue() from public;
comment on function issues.number_issue() is
'Gives a new issue its number. The project''s row is locked from here to the end of the transaction.';

create or replace function issues.number_revision()
 returns trigger
 language plpgsql
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    new.revision := old.revision + 1;
    return new;
end
$function$;
revoke all on function issues.number_revision() from public;
comment on function issues.number_revision() is
'A new text has the next number.';

create or replace function issues.record_changes()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    insert into issues.issue_changes (tenant_id, issue_id, changed_at, changed_by, field, old_value, new_value)
    select
        new.tenant_id,
        new.issue_id,
        -- An import knows when an issue was resolved; of its other changes only the last.
        case
            when app.importing() and f.field = 'status_id' then coalesce(new.resolved_at, new.updated_at)
            else new.updated_at
        end,
        case when not app.importing() then app.current_user_id() end,
        f.field,
        f.old_value,
        f.new_value
    from (values
        ('type', old.type::text, new.type::text),
        ('title', old.title, new.title),
        ('description', old.description, new.description),
        ('status_id', old.status_id::text, new.status_id::text),
        ('priority', old.priority::text, new.priority::text),
        ('reporter_id', old.reporter_id::text, new.reporter_id::text),
        ('assignee_id', old.assignee_id::text, new.assignee_id::text),
        ('parent_id', old.parent_id::text, new.parent_id::text),
        ('estimate_minutes', old.estimate_minutes::text, new.estimate_minutes::text),
        ('spent_minutes', old.spent_minutes::text, new.spent_minutes::text),
        ('start_time', app.time_text(old.start_at), app.time_text(new.start_at)),
        ('due_time', app.time_text(old.due_at), app.time_text(new.due_at)),
        ('metadata', old.metadata::text, new.metadata::text),
        ('delete_time', app.time_text(old.deleted_at), app.time_text(new.deleted_at))
    ) as f (field, old_value, new_value)
    where f.old_value is distinct from f.new_value;
    return null;
end
$function$;
revoke all on function issues.record_changes() from public;
comment on function issues.record_changes() is
'One row of issue_changes for each field that an update changed.';

create or replace function issues.record_label()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_was boolean := false;
begin
    if tg_op = 'UPDATE' then
        v_was := old.removed_at is null;
    end if;
    if v_was = (new.removed_at is null) then
        return null;
    end if;
    insert into issues.issue_changes (tenant_id, issue_id, changed_at, changed_by, field, old_value, new_value)
    values (
        new.tenant_id,
        new.issue_id,
        new.updated_at,
        case when not app.importing() then app.current_user_id() end,
        'label_ids',
        case when v_was then new.label_id::text end,
        case when not v_was then new.label_id::text end
    );
    return null;
end
$function$;
revoke all on function issues.record_label() from public;
comment on function issues.record_label() is
'A label that came or went, as a change of its issue.';

create or replace function issues.record_revision()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    insert into issues.comment_revisions (
        tenant_id, comment_id, revision, visibility, body, replaced_at, replaced_by
    )
    values (
        old.tenant_id, old.comment_id, old.revision, old.visibility, old.body, new.updated_at,
        case when not app.importing() then app.current_user_id() end
    );
    return null;
end
$function$;
revoke all on function issues.record_revision() from public;
comment on function issues.record_revision() is
'Keeps the text that an edit replaces.';

create or replace function issues.record_status()
 returns trigger
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
declare
    v_at timestamptz;
    v_by uuid;
    v_seq integer;
begin
    if tg_op = 'INSERT' then
        v_at := new.created_at;
        v_seq := 0;
    elsif new.status_id = old.status_id then
        return null;
    elsif app.importing() then
        v_at := coalesce(new.resolved_at, new.updated_at);
    else
        v_at := clock_timestamp();
    end if;
    if not app.importing() then
        v_by := app.current_user_id();
    end if;
    if tg_op = 'UPDATE' then
        -- Clocks of several transactions may differ: a span never ends before it began.
        update issues.issue_status_history as h
        set left_at = greatest(v_at, h.entered_at)
        where h.tenant_id = new.tenant_id and h.issue_id = new.issue_id and h.left_at is null
        returning h.seq, h.left_at into strict v_seq, v_at;
    end if;
    insert into issues.issue_status_history (tenant_id, issue_id, seq, status_id, entered_at, changed_by)
    values (new.tenant_id, new.issue_id, v_seq + 1, new.status_id, v_at, v_by);
    return null;
end
$function$;
revoke all on function issues.record_status() from public;
comment on function issues.record_status() is
'Ends the open span of an issue and begins the next.';

create trigger aa_stamp before insert or update on issues.labels for each row execute function app.stamp();
create trigger zz_capture after insert or delete or update on issues.labels for each row execute function issues.capture_labels('label', '{"name": {"field": "name"}, "color": {"field": "color"}, "archived_at": {"form": "time", "field": "archive_time"}, "description": {"field": "description"}}');

create trigger aa_stamp before insert or update on issues.statuses for each row execute function app.stamp();
create constraint trigger yy_one_default after insert or update of is_default on issues.statuses deferrable initially deferred for each row execute function issues.check_default_status();
create trigger zz_capture after insert or delete or update on issues.statuses for each row execute function issues.capture_statuses('status', '{"name": {"field": "name"}, "category": {"field": "category", "values": {"1": "STATUS_CATEGORY_BACKLOG", "2": "STATUS_CATEGORY_TODO", "3": "STATUS_CATEGORY_IN_PROGRESS", "4": "STATUS_CATEGORY_DONE", "5": "STATUS_CATEGORY_CANCELLED"}}, "position": {"field": "position"}, "is_default": {"field": "is_default"}, "archived_at": {"form": "time", "field": "archive_time"}}');

create trigger aa_stamp before insert or update on issues.status_transitions for each row execute function app.stamp();
create trigger zz_capture after insert or delete or update on issues.status_transitions for each row execute function issues.capture_status_transitions('status_transition', '{"least_role": {"field": "least_role", "values": {"1": "ROLE_VIEWER", "2": "ROLE_MEMBER", "3": "ROLE_MANAGER", "4": "ROLE_ADMIN", "5": "ROLE_OWNER"}}, "removed_at": {"form": "time", "field": "remove_time"}}');

create trigger aa_stamp before insert or update on issues.workspaces for each row execute function app.stamp();
create trigger zz_capture after insert or delete or update on issues.workspaces for each row execute function issues.capture_workspaces('workspace', '{"name": {"field": "name"}, "archived_at": {"form": "time", "field": "archive_time"}, "description": {"field": "description"}}');

create trigger aa_stamp before insert or update of workspace_id, name, description, status, priority, lead_id, owner_team_id, start_date, end_date, budget, metadata, archived_at, deleted_at on issues.projects for each row execute function app.stamp();
create trigger ba_claim before insert on issues.projects for each row execute function issues.claim_project();
create trigger bb_hold_team before insert on issues.projects for each row when (new.owner_team_id is not null) execute function issues.hold_team();
create trigger bb_hold_team_anew before update of owner_team_id on issues.projects for each row when (new.owner_team_id is distinct from old.owner_team_id and new.owner_team_id is not null) execute function issues.hold_team();
create trigger zz_capture after insert or delete or update on issues.projects for each row execute function issues.capture_projects('project', '{"key": {"field": "key"}, "name": {"field": "name"}, "budget": {"form": "text", "field": "budget"}, "status": {"field": "status", "values": {"1": "PROJECT_STATUS_DRAFT", "2": "PROJECT_STATUS_ACTIVE", "3": "PROJECT_STATUS_ON_HOLD", "4": "PROJECT_STATUS_COMPLETED", "5": "PROJECT_STATUS_CANCELLED"}}, "lead_id": {"field": "lead_id"}, "end_date": {"field": "end_date"}, "metadata": {"field": "metadata"}, "priority": {"field": "priority", "values": {"0": "PRIORITY_UNSPECIFIED", "1": "PRIORITY_LOW", "2": "PRIORITY_MEDIUM", "3": "PRIORITY_HIGH", "4": "PRIORITY_URGENT"}}, "deleted_at": {"form": "time", "field": "delete_time"}, "start_date": {"field": "start_date"}, "archived_at": {"form": "time", "field": "archive_time"}, "description": {"field": "description"}, "workspace_id": {"field": "workspace_id"}, "owner_team_id": {"field": "owner_team_id"}}');

create trigger aa_stamp before insert or update on issues.issues for each row execute function app.stamp();
create trigger ba_number before insert on issues.issues for each row execute function issues.number_issue();
create trigger bb_status before insert or update of status_id, resolved_at on issues.issues for each row execute function issues.apply_status();
create trigger bc_parent before insert or update of parent_id, project_id on issues.issues for each row when (new.parent_id is not null) execute function issues.check_parent();
create trigger bd_family before update of deleted_at on issues.issues for each row when ((new.deleted_at is null) <> (old.deleted_at is null)) execute function issues.check_family();
create trigger be_resolution before insert or update of resolved_at on issues.issues for each row when (new.resolved_at is not null) execute function issues.check_resolution();
create trigger bf_reporter before update of reporter_id on issues.issues for each row when (new.reporter_id is distinct from old.reporter_id) execute function issues.keep_person();
create trigger ya_record_status after insert or update of status_id on issues.issues for each row execute function issues.record_status();
create trigger yb_record_changes after update on issues.issues for each row execute function issues.record_changes();
create trigger zz_capture after insert or delete or update on issues.issues for each row execute function issues.capture_issues('issue', '{"type": {"field": "type", "values": {"1": "ISSUE_TYPE_TASK", "2": "ISSUE_TYPE_BUG", "3": "ISSUE_TYPE_FEATURE", "4": "ISSUE_TYPE_EPIC", "5": "ISSUE_TYPE_SUBTASK", "6": "ISSUE_TYPE_PULL_REQUEST"}}, "title": {"field": "title"}, "due_at": {"form": "time", "field": "due_time"}, "number": {"field": "number"}, "metadata": {"field": "metadata"}, "priority": {"field": "priority", "values": {"0": "PRIORITY_UNSPECIFIED", "1": "PRIORITY_LOW", "2": "PRIORITY_MEDIUM", "3": "PRIORITY_HIGH", "4": "PRIORITY_URGENT"}}, "start_at": {"form": "time", "field": "start_time"}, "parent_id": {"field": "parent_id"}, "status_id": {"field": "status_id"}, "deleted_at": {"form": "time", "field": "delete_time"}, "project_id": {"field": "project_id"}, "assignee_id": {"field": "assignee_id"}, "breached_at": {"form": "time", "field": "breach_time"}, "description": {"field": "description"}, "external_id": {"field": "external_id"}, "reporter_id": {"field": "reporter_id"}, "resolved_at": {"form": "time", "field": "resolve_time"}, "spent_minutes": {"field": "spent_minutes"}, "external_source": {"field": "external_source"}, "estimate_minutes": {"field": "estimate_minutes"}}');

create trigger aa_stamp before insert or update on issues.comments for each row execute function app.stamp();
create trigger ba_number_revision before update of body on issues.comments for each row when (new.body is distinct from old.body) execute function issues.number_revision();
create trigger bb_author before update of author_id on issues.comments for each row when (new.author_id is distinct from old.author_id) execute function issues.keep_person();
create trigger bb_hold_issue before update of body, deleted_at on issues.comments for each row when (not app.importing()) execute function issues.hold_issue();
create trigger ya_record_revision after update of body on issues.comments for each row when (new.body is distinct from old.body) execute function issues.record_revision();
create trigger zz_capture after insert or delete or update on issues.comments for each row execute function issues.capture_comments('comment', '{"body": {"field": "body"}, "issue_id": {"field": "issue_id"}, "author_id": {"field": "author_id"}, "deleted_at": {"form": "time", "field": "delete_time"}, "visibility": {"field": "visibility", "values": {"1": "VISIBILITY_EVERYONE", "2": "VISIBILITY_INTERNAL"}}, "external_id": {"field": "external_id"}, "external_source": {"field": "external_source"}}');

create trigger aa_stamp before insert or update on issues.issue_labels for each row execute function app.stamp();
create trigger ya_record_label after insert or update of removed_at on issues.issue_labels for each row execute function issues.record_label();
create trigger yb_count after insert on issues.issue_labels for each row when (new.removed_at is null) execute function issues.count_labels();
create trigger yb_count_again after update of removed_at on issues.issue_labels for each row when (old.removed_at is not null and new.removed_at is null) execute function issues.count_labels();
create trigger zz_capture after insert or delete or update on issues.issue_labels for each row execute function issues.capture_issue_labels('issue_label', '{"label_id": {"field": "label_ids", "unless": "removed_at"}, "removed_at": {"form": "time", "field": "remove_time"}}');

reset role;

create or replace function issues.lead_delivery()
 returns boolean
 language sql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
return pg_try_advisory_lock('-7894037758998156453'::bigint);
alter function issues.lead_delivery() owner to bulkhead_issues_definer;
revoke all on function issues.lead_delivery() from public;
grant execute on function issues.lead_delivery() to bulkhead_issues_relay;
comment on function issues.lead_delivery() is
'Whether this session delivers the outbox now; it does until it ends.';

create or replace function issues.record_event(p_action text, p_entity_type text, p_entity_id uuid, p_outcome text, p_changes jsonb)
 returns void
 language plpgsql
 security definer
 set search_path to 'pg_catalog', 'pg_temp'
as $function$
begin
    if
        p_action is distinct from 'call.denied'
        or not app.is_refused_call('issues', p_entity_type, p_entity_id, p_outcome, p_changes)
    then
        raise exception 'issues.record_event: only a refused call of this service is an event without a row';
    end if;
    insert into issues.outbox (tenant_id, action, entity_type, entity_id, outcome, changes)
    values (
        coalesce(app.current_tenant_id(), app.platform_log_id()), p_action, p_entity_type, p_entity_id, p_outcome,
        p_changes
    );
end
$function$;
alter function issues.record_event(text, text, uuid, text, jsonb) owner to bulkhead_issues_definer;
revoke all on function issues.record_event(text, text, uuid, text, jsonb) from public;
grant execute on function issues.record_event(text, text, uuid, text, jsonb) to bulkhead_issues_app;
comment on function issues.record_event(text, text, uuid, text, jsonb) is
'An audit event of something that left no row, such as a refused call.';
