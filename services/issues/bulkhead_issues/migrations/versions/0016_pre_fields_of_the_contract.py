"""The audit log names what changed of a workspace, a project, an issue ... as their messages do; so does ListActivity."""

from bulkhead_kit.migrations import run_sql

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    run_sql(FIELDS)
    run_sql(activity(time="app.time_text({})", reporter=REPORTER))


def downgrade() -> None:
    run_sql(activity(time="{}::text", reporter=""))
    run_sql(BEFORE)


def activity(*, time: str, reporter: str) -> str:
    text = ACTIVITY.replace("{reporter}", reporter)
    for moment in ("old.start_at", "new.start_at", "old.due_at", "new.due_at", "old.deleted_at", "new.deleted_at"):
        text = text.replace(f"{{{moment}}}", time.format(moment))
    return text


FIELDS = """
call app.capture_on(
    'issues.workspaces', 'workspace', '{workspace_id}', p_fields => '{"archived_at": "archive_time"}'
);
call app.capture_on(
    'issues.projects', 'project', '{project_id}', '{next_number}', '{"project_id": "r.project_id"}',
    '{
        "status": {"field": "status", "values": {
            "1": "PROJECT_STATUS_DRAFT", "2": "PROJECT_STATUS_ACTIVE", "3": "PROJECT_STATUS_ON_HOLD",
            "4": "PROJECT_STATUS_COMPLETED", "5": "PROJECT_STATUS_CANCELLED"
        }},
        "priority": {"field": "priority", "values": {
            "0": "PRIORITY_UNSPECIFIED", "1": "PRIORITY_LOW", "2": "PRIORITY_MEDIUM", "3": "PRIORITY_HIGH",
            "4": "PRIORITY_URGENT"
        }},
        "archived_at": "archive_time",
        "deleted_at": "delete_time"
    }'
);
call app.capture_on(
    'issues.statuses', 'status', '{status_id}', p_fields => '{
        "category": {"field": "category", "values": {
            "1": "STATUS_CATEGORY_BACKLOG", "2": "STATUS_CATEGORY_TODO", "3": "STATUS_CATEGORY_IN_PROGRESS",
            "4": "STATUS_CATEGORY_DONE", "5": "STATUS_CATEGORY_CANCELLED"
        }},
        "archived_at": "archive_time"
    }'
);
call app.capture_on(
    'issues.status_transitions', 'status_transition', '{from_status_id,to_status_id}', p_fields => '{
        "least_role": {"field": "least_role", "values": {
            "1": "ROLE_VIEWER", "2": "ROLE_MEMBER", "3": "ROLE_MANAGER", "4": "ROLE_ADMIN", "5": "ROLE_OWNER"
        }},
        "removed_at": "remove_time"
    }'
);
call app.capture_on('issues.labels', 'label', '{label_id}', p_fields => '{"archived_at": "archive_time"}');
call app.capture_on(
    'issues.issues', 'issue', '{issue_id}', '{status_category,external_digest}', '{"project_id": "r.project_id"}',
    '{
        "type": {"field": "type", "values": {
            "1": "ISSUE_TYPE_TASK", "2": "ISSUE_TYPE_BUG", "3": "ISSUE_TYPE_FEATURE", "4": "ISSUE_TYPE_EPIC",
            "5": "ISSUE_TYPE_SUBTASK", "6": "ISSUE_TYPE_PULL_REQUEST"
        }},
        "priority": {"field": "priority", "values": {
            "0": "PRIORITY_UNSPECIFIED", "1": "PRIORITY_LOW", "2": "PRIORITY_MEDIUM", "3": "PRIORITY_HIGH",
            "4": "PRIORITY_URGENT"
        }},
        "start_at": "start_time",
        "due_at": "due_time",
        "breached_at": "breach_time",
        "resolved_at": "resolve_time",
        "deleted_at": "delete_time"
    }'
);
call app.capture_on(
    'issues.issue_labels', 'issue_label', '{issue_id,label_id}', '{}',
    jsonb_build_object(
        'project_id',
        '(select i.project_id from issues.issues as i '
        'where i.tenant_id = r.tenant_id and i.issue_id = r.issue_id)'
    ),
    '{"label_id": {"field": "label_ids", "unless": "removed_at"}, "removed_at": "remove_time"}'
);
call app.capture_on(
    'issues.comments', 'comment', '{comment_id}', '{external_digest,external_body_digest,revision}',
    jsonb_build_object(
        'project_id',
        '(select i.project_id from issues.issues as i '
        'where i.tenant_id = r.tenant_id and i.issue_id = r.issue_id)',
        'visibility', 'r.visibility'
    ),
    '{
        "visibility": {"field": "visibility", "values": {"1": "VISIBILITY_EVERYONE", "2": "VISIBILITY_INTERNAL"}},
        "deleted_at": "delete_time"
    }'
);
"""

BEFORE = """
call app.capture_on('issues.workspaces', 'workspace', '{workspace_id}');
call app.capture_on(
    'issues.projects', 'project', '{project_id}', '{next_number}', '{"project_id": "r.project_id"}'
);
call app.capture_on('issues.statuses', 'status', '{status_id}');
call app.capture_on('issues.status_transitions', 'status_transition', '{from_status_id,to_status_id}');
call app.capture_on('issues.labels', 'label', '{label_id}');
call app.capture_on(
    'issues.issues', 'issue', '{issue_id}', '{status_category,external_digest}', '{"project_id": "r.project_id"}'
);
call app.capture_on(
    'issues.issue_labels', 'issue_label', '{issue_id,label_id}', '{}',
    jsonb_build_object(
        'project_id',
        '(select i.project_id from issues.issues as i '
        'where i.tenant_id = r.tenant_id and i.issue_id = r.issue_id)'
    )
);
call app.capture_on(
    'issues.comments', 'comment', '{comment_id}', '{external_digest,external_body_digest,revision}',
    jsonb_build_object(
        'project_id',
        '(select i.project_id from issues.issues as i '
        'where i.tenant_id = r.tenant_id and i.issue_id = r.issue_id)',
        'visibility', 'r.visibility'
    )
);
"""

# Only an import changes it.
REPORTER = "('reporter_id', old.reporter_id::text, new.reporter_id::text),\n        "

ACTIVITY = """
create or replace function issues.record_changes() returns trigger
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
        {reporter}('assignee_id', old.assignee_id::text, new.assignee_id::text),
        ('parent_id', old.parent_id::text, new.parent_id::text),
        ('estimate_minutes', old.estimate_minutes::text, new.estimate_minutes::text),
        ('spent_minutes', old.spent_minutes::text, new.spent_minutes::text),
        ('start_time', {old.start_at}, {new.start_at}),
        ('due_time', {old.due_at}, {new.due_at}),
        ('metadata', old.metadata::text, new.metadata::text),
        ('delete_time', {old.deleted_at}, {new.deleted_at})
    ) as f (field, old_value, new_value)
    where f.old_value is distinct from f.new_value;
    return null;
end
$$;
"""
