"""Labels and issues, and the triggers that number an issue and hold its status and its parent to the rules."""

from bulkhead_kit.migrations import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql(LABELS)
    run_sql(ISSUES)
    run_sql(ISSUE_INDEXES)
    run_sql(ISSUE_RIGHTS)
    run_sql(NUMBER)
    run_sql(STATUS)
    run_sql(PARENT)
    run_sql(FAMILY)
    run_sql(ISSUE_LABELS)


def downgrade() -> None:
    run_sql("""
    drop table issues.issue_labels;
    drop function issues.capture_issue_labels();
    drop table issues.issues;
    drop function issues.capture_issues();
    drop function issues.number_issue();
    drop function issues.apply_status();
    drop function issues.check_parent();
    drop function issues.check_family();
    drop table issues.labels;
    drop function issues.capture_labels();
    """)


LABELS = """
create table issues.labels (
    tenant_id uuid not null,
    label_id uuid not null,
    name text not null,
    name_key text not null generated always as (lower(normalize(name, nfkc))) stored,
    description text not null default '',
    color text not null,
    archived_at timestamptz,
    created_at timestamptz not null,
    created_by uuid,
    updated_at timestamptz not null,
    version integer not null,
    constraint labels_pkey primary key (tenant_id, label_id),
    constraint labels_tenant_id_name_key_key unique (tenant_id, name_key),
    constraint labels_tenant_id_fkey
    foreign key (tenant_id) references identity.tenants (tenant_id) on delete restrict,
    constraint labels_name_check check (length(name) between 1 and 100),
    constraint labels_description_check check (length(description) <= 1000),
    constraint labels_color_check check (color ~ '^#[0-9a-f]{6}$')
);
call app.protect('issues.labels');
call app.rights('issues.labels', 1::smallint, 3::smallint);
grant
select (
    tenant_id, label_id, name, name_key, description, color, archived_at, created_at, created_by, updated_at, version
),
insert (tenant_id, label_id, name, description, color),
update (name, description, color, archived_at)
on issues.labels to bulkhead_issues_app;
create trigger aa_stamp before insert or update on issues.labels
for each row execute function app.stamp();
call app.capture_on('issues.labels', 'label', '{label_id}');
comment on table issues.labels is 'What issues are tagged with; shared by all projects of a tenant.';
comment on column issues.labels.color is 'As #rrggbb.';
"""

ISSUES = """
create table issues.issues (
    tenant_id uuid not null,
    issue_id uuid not null,
    project_id uuid not null,
    number integer not null,
    type smallint not null default 1,
    title text not null,
    description text not null default '',
    status_id uuid not null,
    status_category smallint not null,
    priority smallint not null default 0,
    reporter_id uuid not null,
    assignee_id uuid,
    parent_id uuid,
    estimate_minutes integer,
    spent_minutes integer not null default 0,
    start_at timestamptz,
    due_at timestamptz,
    breached_at timestamptz,
    resolved_at timestamptz,
    metadata jsonb not null default '{}',
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
    constraint issues_tenant_id_project_id_fkey
    foreign key (tenant_id, project_id) references issues.projects (tenant_id, project_id) on delete restrict,
    -- With the category: so that the check on resolved_at below means the status and not a copy gone stale.
    constraint issues_tenant_id_status_id_status_category_fkey
    foreign key (tenant_id, status_id, status_category)
    references issues.statuses (tenant_id, status_id, category) on delete restrict,
    constraint issues_tenant_id_reporter_id_fkey
    foreign key (tenant_id, reporter_id) references identity.memberships (tenant_id, user_id) on delete restrict,
    constraint issues_tenant_id_assignee_id_fkey
    foreign key (tenant_id, assignee_id) references identity.memberships (tenant_id, user_id) on delete restrict,
    constraint issues_tenant_id_parent_id_fkey
    foreign key (tenant_id, parent_id) references issues.issues (tenant_id, issue_id) on delete restrict,
    constraint issues_number_check check (number > 0),
    constraint issues_type_check check (type between 1 and 6),
    constraint issues_title_check check (length(title) between 1 and 500),
    constraint issues_description_check check (length(description) <= 100000),
    constraint issues_priority_check check (priority between 0 and 4),
    constraint issues_estimate_minutes_check check (estimate_minutes between 0 and 10000000),
    constraint issues_spent_minutes_check check (spent_minutes between 0 and 10000000),
    constraint issues_due_at_check check (start_at <= due_at),
    -- A breach needs a due time that had passed.
    constraint issues_breached_at_check
    check (breached_at is null or (due_at is not null and breached_at >= due_at)),
    -- Resolved is what is done or cancelled, and nothing else.
    constraint issues_resolved_at_check check ((resolved_at is not null) = (status_category in (4, 5))),
    constraint issues_metadata_check
    check (jsonb_typeof(metadata) = 'object' and octet_length(metadata::text) <= 16384),
    constraint issues_external_id_check
    check (
        (external_source is null) = (external_id is null)
        and length(external_source) between 1 and 200
        and length(external_id) between 1 and 500
    ),
    constraint issues_external_digest_check check (octet_length(external_digest) = 32)
);
comment on table issues.issues is 'The work: bugs, tasks, epics and imported pull requests.';
comment on column issues.issues.title is 'One line that says what it is about.';
comment on column issues.issues.estimate_minutes is 'How long it is thought to take.';
comment on column issues.issues.spent_minutes is 'How long it has taken so far.';
comment on column issues.issues.start_at is 'Planned beginning.';
comment on column issues.issues.due_at is 'When it must be done.';
comment on column issues.issues.breached_at is 'When due_at had passed with the issue still open.';
comment on column issues.issues.resolved_at is 'When it was done or cancelled; set by trigger.';
comment on column issues.issues.number is 'PROJ-123 is number 123 of the project with key PROJ; never used again.';
comment on column issues.issues.type is '1 task, 2 bug, 3 feature, 4 epic, 5 sub-task, 6 pull request';
comment on column issues.issues.priority is '0 none, 1 low, 2 medium, 3 high, 4 urgent';
comment on column issues.issues.status_category is
'The category of status_id, set by trigger and held by the foreign key.';
comment on column issues.issues.external_source is
'Where an imported issue comes from, such as github/owner/repository.';
comment on column issues.issues.external_digest is
'SHA-256 of the item as last imported: the same item again changes nothing.';
"""

ISSUE_INDEXES = """
create index issues_by_update_idx on issues.issues (tenant_id, project_id, updated_at desc, issue_id desc)
where deleted_at is null;
create index issues_by_status_idx on issues.issues (tenant_id, project_id, status_id, updated_at desc, issue_id desc);
create index issues_by_assignee_idx
on issues.issues (tenant_id, assignee_id, status_id, updated_at desc, issue_id desc);
create index issues_by_assignee_due_idx on issues.issues (tenant_id, assignee_id, priority desc, due_at);
create index issues_tenant_id_parent_id_idx on issues.issues (tenant_id, parent_id) where parent_id is not null;
create index issues_due_idx on issues.issues (tenant_id, due_at) where breached_at is null and resolved_at is null;
create index issues_tenant_id_status_id_status_category_idx on issues.issues (tenant_id, status_id, status_category);
create index issues_tenant_id_reporter_id_idx on issues.issues (tenant_id, reporter_id);
-- An import finds again what it brought before.
create unique index issues_tenant_id_external_key on issues.issues (tenant_id, external_source, external_id)
where external_id is not null;
"""

ISSUE_RIGHTS = """
call app.protect('issues.issues');
call app.rights('issues.issues', 1::smallint, 2::smallint);
grant
select (
    tenant_id, issue_id, project_id, number, type, title, description, status_id, status_category, priority,
    reporter_id, assignee_id, parent_id, estimate_minutes, spent_minutes, start_at, due_at, breached_at, resolved_at,
    metadata, external_source, external_id, external_digest, deleted_at, created_at, created_by, updated_at, version
),
-- number, resolved_at, created_at and updated_at count for an import only; otherwise the triggers set them.
insert (
    tenant_id, issue_id, project_id, number, type, title, description, status_id, priority, reporter_id, assignee_id,
    parent_id, estimate_minutes, spent_minutes, start_at, due_at, metadata, external_source, external_id,
    external_digest, created_at, updated_at
),
update (
    type, title, description, status_id, priority, assignee_id, parent_id, estimate_minutes, spent_minutes, start_at,
    due_at, resolved_at, metadata, external_digest, deleted_at, updated_at
)
on issues.issues to bulkhead_issues_app;
create trigger aa_stamp before insert or update on issues.issues
for each row execute function app.stamp();
call app.capture_on(
    'issues.issues', 'issue', '{issue_id}', '{status_category,external_digest}', '{"project_id": "r.project_id"}'
);
"""

# The owner's right, because a member must move the counter of a project she may not change.
NUMBER = """
create function issues.number_issue() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
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
$$;
comment on function issues.number_issue() is
'Gives a new issue its number. The project''s row is locked from here to the end of the transaction.';
revoke all on function issues.number_issue() from public;
create trigger ba_number before insert on issues.issues
for each row execute function issues.number_issue();
"""

STATUS = """
create function issues.apply_status() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
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
$$;
comment on function issues.apply_status() is
'Default status, allowed transitions, and what follows from the status: its category and the time of resolution.';
revoke all on function issues.apply_status() from public;
create trigger bb_status before insert or update of status_id, resolved_at on issues.issues
for each row execute function issues.apply_status();
"""

# The owner's right, for the lock on the project's row.
PARENT = """
create function issues.check_parent() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
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
$$;
comment on function issues.check_parent() is 'A parent is of the same project and not below its own child.';
revoke all on function issues.check_parent() from public;
create trigger bc_parent before insert or update of parent_id, project_id on issues.issues
for each row when (new.parent_id is not null) execute function issues.check_parent();
"""

# The owner's right, for the same lock.
FAMILY = """
create function issues.check_family() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
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
$$;
comment on function issues.check_family() is 'No issue that is there has a parent that is deleted.';
revoke all on function issues.check_family() from public;
create trigger bd_family before update of deleted_at on issues.issues
for each row when ((new.deleted_at is null) <> (old.deleted_at is null)) execute function issues.check_family();
"""

ISSUE_LABELS = """
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
    foreign key (tenant_id, issue_id) references issues.issues (tenant_id, issue_id) on delete restrict,
    constraint issue_labels_tenant_id_label_id_fkey
    foreign key (tenant_id, label_id) references issues.labels (tenant_id, label_id) on delete restrict
);
create index issue_labels_by_label_idx on issues.issue_labels (tenant_id, label_id, issue_id)
where removed_at is null;
call app.protect('issues.issue_labels');
call app.rights('issues.issue_labels', 1::smallint, 2::smallint);
grant
select (tenant_id, issue_id, label_id, removed_at, created_at, created_by, updated_at, version),
insert (tenant_id, issue_id, label_id, created_at, updated_at),
update (removed_at, updated_at)
on issues.issue_labels to bulkhead_issues_app;
create trigger aa_stamp before insert or update on issues.issue_labels
for each row execute function app.stamp();
call app.capture_on(
    'issues.issue_labels', 'issue_label', '{issue_id,label_id}', '{}',
    jsonb_build_object(
        'project_id',
        '(select i.project_id from issues.issues as i '
        'where i.tenant_id = r.tenant_id and i.issue_id = r.issue_id)'
    )
);
comment on table issues.issue_labels is 'Which issue carries which label; taken off is a state, not a deletion.';
"""
