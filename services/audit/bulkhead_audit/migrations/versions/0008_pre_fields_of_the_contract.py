"""What of an event is shown to every role, in the names that its changes have now: the contract's."""

from importlib import import_module

from bulkhead_kit.migrations import run_sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_sql(SHOWN_FIELDS)


def downgrade() -> None:
    before = import_module("bulkhead_audit.migrations.versions.0006_pre_own_acts")
    run_sql(before.SHOWN_FIELDS.replace("create function", "create or replace function"))


# By kind the fields that a call shows to every role that can see the entity at all; a test makes an event of every kind
# and compares. What is not named is shown to owners and admins only: so is what is new.
SHOWN_FIELDS = """
create or replace function audit.shown_fields(p_kind text) returns text []
language sql immutable parallel safe
return case p_kind
    when 'comment' then array[
        'issue_id', 'author_id', 'visibility', 'body', 'external_source', 'external_id', 'delete_time'
    ]
    when 'issue' then array[
        'project_id', 'number', 'type', 'title', 'description', 'status_id', 'priority', 'reporter_id', 'assignee_id',
        'parent_id', 'estimate_minutes', 'spent_minutes', 'start_time', 'due_time', 'breach_time', 'resolve_time',
        'metadata', 'external_source', 'external_id', 'delete_time'
    ]
    when 'issue_label' then array['label_ids']
    when 'label' then array['name', 'description', 'color', 'archive_time']
    when 'member' then array[
        'kind', 'role', 'state', 'display_name', 'avatar_url', 'join_time', 'disable_time', 'disabled_by',
        'external_source', 'external_id', 'leave_time'
    ]
    when 'project' then array[
        'workspace_id', 'key', 'name', 'description', 'status', 'priority', 'lead_id', 'owner_team_id', 'start_date',
        'end_date', 'budget', 'metadata', 'archive_time'
    ]
    when 'status' then array['name', 'category', 'position', 'is_default', 'archive_time']
    when 'status_transition' then array['least_role']
    when 'team' then array['name', 'description', 'archive_time']
    when 'team_member' then array['is_lead', 'add_time', 'remove_time']
    when 'tenant' then array[
        'slug', 'name', 'domain', 'state', 'state_reason', 'state_change_time', 'plan_code', 'branding', 'settings',
        'description', 'logo_url', 'website_url', 'industry', 'size', 'delete_time', 'purge_time'
    ]
    -- Of a refused call, what its answer said.
    when 'user' then array['reason', 'calls']
    when 'workspace' then array['name', 'description']
    else array[]::text []
end;
"""
