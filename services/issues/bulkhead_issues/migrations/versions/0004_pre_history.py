"""Status history and field changes of issues, written by triggers and by nobody else."""

from bulkhead_kit.migrations import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_sql(HISTORY)
    run_sql(RECORD_STATUS)
    run_sql(CHANGES)
    run_sql(RECORD_CHANGES)
    run_sql(RECORD_LABEL)


def downgrade() -> None:
    run_sql("""
    drop trigger ya_record_label on issues.issue_labels;
    drop trigger yb_record_changes on issues.issues;
    drop trigger ya_record_status on issues.issues;
    drop function issues.record_label();
    drop function issues.record_changes();
    drop function issues.record_status();
    drop table issues.issue_changes;
    drop table issues.issue_status_history;
    """)


HISTORY = """
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
    -- No hole and no overlap: each span begins the moment the one before it ended.
    constraint issue_status_history_tenant_id_issue_id_seq_left_at_key unique (tenant_id, issue_id, seq, left_at),
    constraint issue_status_history_previous_fkey
    foreign key (tenant_id, issue_id, previous_seq, entered_at)
    references issues.issue_status_history (tenant_id, issue_id, seq, left_at) on delete restrict,
    constraint issue_status_history_tenant_id_issue_id_fkey
    foreign key (tenant_id, issue_id) references issues.issues (tenant_id, issue_id) on delete restrict,
    constraint issue_status_history_tenant_id_status_id_fkey
    foreign key (tenant_id, status_id) references issues.statuses (tenant_id, status_id) on delete restrict,
    constraint issue_status_history_seq_check check (seq > 0),
    constraint issue_status_history_left_at_check check (left_at >= entered_at)
);
-- One open span.
create unique index issue_status_history_open_key on issues.issue_status_history (tenant_id, issue_id)
where left_at is null;
create index issue_status_history_tenant_id_status_id_idx on issues.issue_status_history (tenant_id, status_id);
create index issue_status_history_previous_idx
on issues.issue_status_history (tenant_id, issue_id, previous_seq, entered_at);
call app.protect('issues.issue_status_history');
create policy read_right on issues.issue_status_history for select to bulkhead_issues_app
using (app.role_level() >= 1);
grant select (tenant_id, issue_id, seq, status_id, entered_at, left_at, changed_by)
on issues.issue_status_history to bulkhead_issues_app;
comment on table issues.issue_status_history is
'Every span an issue spent in a status. Derived by trigger, so it is not captured a second time.';
comment on column issues.issue_status_history.seq is 'The span''s place in the history, from 1 without holes.';
comment on column issues.issue_status_history.entered_at is 'When the issue came into the status.';
comment on column issues.issue_status_history.left_at is 'When it left; null: it is in it.';
comment on column issues.issue_status_history.changed_by is
'Who brought the issue into the status; null for a service and where an import does not say.';
comment on column issues.issue_status_history.previous_seq is 'seq - 1, for the foreign key that forbids holes.';
"""

RECORD_STATUS = """
create function issues.record_status() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
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
$$;
comment on function issues.record_status() is 'Ends the open span of an issue and begins the next.';
revoke all on function issues.record_status() from public;
create trigger ya_record_status after insert or update of status_id on issues.issues
for each row execute function issues.record_status();
"""

CHANGES = """
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
    foreign key (tenant_id, issue_id) references issues.issues (tenant_id, issue_id) on delete restrict,
    constraint issue_changes_field_check check (length(field) between 1 and 50),
    constraint issue_changes_new_value_check check (old_value is distinct from new_value)
);
call app.protect('issues.issue_changes');
create policy read_right on issues.issue_changes for select to bulkhead_issues_app using (app.role_level() >= 1);
grant select (tenant_id, issue_id, seq, changed_at, changed_by, field, old_value, new_value)
on issues.issue_changes to bulkhead_issues_app;
comment on table issues.issue_changes is
'Every changed field of an issue, for its feed and for reading it as of a time. '
'Derived by trigger, so it is not captured a second time.';
comment on column issues.issue_changes.seq is 'The order of all changes.';
comment on column issues.issue_changes.changed_at is 'When it was changed.';
comment on column issues.issue_changes.changed_by is 'Who changed it; null for a service and for an import.';
comment on column issues.issue_changes.old_value is 'As text; null: there was none.';
comment on column issues.issue_changes.new_value is 'As text; null: there is none.';
comment on column issues.issue_changes.field is
'A field of the contract''s Issue; label_ids holds the one label that came or went.';
"""

RECORD_CHANGES = """
create function issues.record_changes() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
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
        ('assignee_id', old.assignee_id::text, new.assignee_id::text),
        ('parent_id', old.parent_id::text, new.parent_id::text),
        ('estimate_minutes', old.estimate_minutes::text, new.estimate_minutes::text),
        ('spent_minutes', old.spent_minutes::text, new.spent_minutes::text),
        ('start_time', old.start_at::text, new.start_at::text),
        ('due_time', old.due_at::text, new.due_at::text),
        ('metadata', old.metadata::text, new.metadata::text),
        ('delete_time', old.deleted_at::text, new.deleted_at::text)
    ) as f (field, old_value, new_value)
    where f.old_value is distinct from f.new_value;
    return null;
end
$$;
comment on function issues.record_changes() is 'One row of issue_changes for each field that an update changed.';
revoke all on function issues.record_changes() from public;
create trigger yb_record_changes after update on issues.issues
for each row execute function issues.record_changes();
"""

RECORD_LABEL = """
create function issues.record_label() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
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
$$;
comment on function issues.record_label() is 'A label that came or went, as a change of its issue.';
revoke all on function issues.record_label() from public;
create trigger ya_record_label after insert or update of removed_at on issues.issue_labels
for each row execute function issues.record_label();
"""
