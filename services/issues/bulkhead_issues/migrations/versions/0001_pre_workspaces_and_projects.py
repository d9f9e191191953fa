"""Workspaces and projects: where issues live, and what numbers them."""

from bulkhead_kit.migrations import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql("call app.outbox_in('issues'); call app.request_ids_in('issues');")
    run_sql(WORKSPACES)
    run_sql(PROJECTS)
    run_sql(LIMIT)


def downgrade() -> None:
    run_sql("""
    drop table issues.projects;
    drop function issues.claim_project();
    drop function issues.capture_projects();
    drop table issues.workspaces;
    drop function issues.capture_workspaces();
    drop table issues.request_ids;
    drop table issues.outbox_parked;
    drop table issues.outbox;
    revoke usage on schema issues from bulkhead_issues_app, bulkhead_issues_relay, bulkhead_issues_worker;
    """)


WORKSPACES = """
create table issues.workspaces (
    tenant_id uuid not null,
    workspace_id uuid not null,
    name text not null,
    -- Names are compared without case and width. A column, because lower() finds no index behind the wall.
    name_key text not null generated always as (lower(normalize(name, nfkc))) stored,
    description text not null default '',
    archived_at timestamptz,
    created_at timestamptz not null,
    created_by uuid,
    updated_at timestamptz not null,
    version integer not null,
    constraint workspaces_pkey primary key (tenant_id, workspace_id),
    constraint workspaces_tenant_id_name_key_key unique (tenant_id, name_key),
    constraint workspaces_tenant_id_fkey
    foreign key (tenant_id) references identity.tenants (tenant_id) on delete restrict,
    constraint workspaces_name_check check (length(name) between 1 and 100),
    constraint workspaces_description_check check (length(description) <= 2000)
);
call app.protect('issues.workspaces');
call app.rights('issues.workspaces', 1::smallint, 3::smallint);
grant
select (tenant_id, workspace_id, name, description, archived_at, created_at, created_by, updated_at, version),
insert (tenant_id, workspace_id, name, description),
update (name, description, archived_at)
on issues.workspaces to bulkhead_issues_app;
create trigger aa_stamp before insert or update on issues.workspaces
for each row execute function app.stamp();
call app.capture_on('issues.workspaces', 'workspace', '{workspace_id}');
comment on table issues.workspaces is 'Groups of projects within a tenant.';
"""

PROJECTS = """
create table issues.projects (
    tenant_id uuid not null,
    project_id uuid not null,
    workspace_id uuid not null,
    key text not null,
    name text not null,
    description text not null default '',
    status smallint not null default 2,
    priority smallint not null default 0,
    lead_id uuid,
    owner_team_id uuid,
    start_date date,
    end_date date,
    budget numeric(14, 2),
    metadata jsonb not null default '{}',
    next_number integer not null default 1,
    archived_at timestamptz,
    deleted_at timestamptz,
    created_at timestamptz not null,
    created_by uuid,
    updated_at timestamptz not null,
    version integer not null,
    constraint projects_pkey primary key (tenant_id, project_id),
    -- Also of deleted ones: an old key in a text must never lead to another project.
    constraint projects_tenant_id_key_key unique (tenant_id, key),
    constraint projects_tenant_id_workspace_id_fkey
    foreign key (tenant_id, workspace_id) references issues.workspaces (tenant_id, workspace_id) on delete restrict,
    constraint projects_tenant_id_lead_id_fkey
    foreign key (tenant_id, lead_id) references identity.memberships (tenant_id, user_id) on delete restrict,
    constraint projects_tenant_id_owner_team_id_fkey
    foreign key (tenant_id, owner_team_id) references identity.teams (tenant_id, team_id) on delete restrict,
    constraint projects_tenant_id_created_by_fkey
    foreign key (tenant_id, created_by) references identity.memberships (tenant_id, user_id) on delete restrict,
    constraint projects_key_check check (key ~ '^[A-Z][A-Z0-9]{1,9}$'),
    constraint projects_name_check check (length(name) between 1 and 200),
    constraint projects_description_check check (length(description) <= 20000),
    constraint projects_status_check check (status between 1 and 5),
    constraint projects_priority_check check (priority between 0 and 4),
    constraint projects_end_date_check check (start_date <= end_date),
    constraint projects_budget_check check (budget >= 0),
    constraint projects_metadata_check
    check (jsonb_typeof(metadata) = 'object' and octet_length(metadata::text) <= 16384),
    constraint projects_next_number_check check (next_number > 0)
);
create index projects_tenant_id_workspace_id_idx on issues.projects (tenant_id, workspace_id);
create index projects_tenant_id_lead_id_idx on issues.projects (tenant_id, lead_id);
create index projects_tenant_id_owner_team_id_idx on issues.projects (tenant_id, owner_team_id);
create index projects_tenant_id_created_by_idx on issues.projects (tenant_id, created_by);
call app.protect('issues.projects');
call app.rights('issues.projects', 1::smallint, 3::smallint);
grant
select (
    tenant_id, project_id, workspace_id, key, name, description, status, priority, lead_id, owner_team_id, start_date,
    end_date, budget, metadata, archived_at, deleted_at, created_at, created_by, updated_at, version
),
insert (
    tenant_id, project_id, workspace_id, key, name, description, status, priority, lead_id, owner_team_id, start_date,
    end_date, budget, metadata
),
update (
    name, description, status, priority, lead_id, owner_team_id, start_date, end_date, budget, metadata, archived_at
)
on issues.projects to bulkhead_issues_app;
-- Not of next_number: a new issue must not change the project's etag.
create trigger aa_stamp before insert or update of
workspace_id, name, description, status, priority, lead_id, owner_team_id, start_date, end_date, budget, metadata,
archived_at, deleted_at on issues.projects
for each row execute function app.stamp();
call app.capture_on(
    'issues.projects', 'project', '{project_id}', '{next_number}', '{"project_id": "r.project_id"}'
);
comment on table issues.projects is 'Projects, each with a key such as PROJ and the counter that numbers its issues.';
comment on column issues.projects.key is 'The first part of its issues'' names, such as PROJ.';
comment on column issues.projects.start_date is 'First planned day.';
comment on column issues.projects.end_date is 'Last planned day.';
comment on column issues.projects.budget is 'In the tenant''s currency.';
comment on column issues.projects.status is '1 draft, 2 active, 3 on hold, 4 completed, 5 cancelled';
comment on column issues.projects.priority is '0 none, 1 low, 2 medium, 3 high, 4 urgent';
comment on column issues.projects.next_number is 'The number of the next issue; moved by the trigger that numbers it.';
"""

LIMIT = """
create function issues.claim_project() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    perform identity.claim_project(new.tenant_id);
    return new;
end
$$;
comment on function issues.claim_project() is 'Counts a new project against the plan, so that no way in can forget it.';
revoke all on function issues.claim_project() from public;
create trigger ba_claim before insert on issues.projects
for each row execute function issues.claim_project();
"""
