"""Owners and admins read a tenant's log; everybody else what they did themselves, as far as the calls show it to them."""

from bulkhead_kit.migrations import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql(WHOLE_LOG.format(least=4))
    run_sql(SHOWN_FIELDS)
    run_sql(OWN_ROWS)
    run_sql(OWN_ACTS)


def downgrade() -> None:
    run_sql("""
    drop view audit.own_event_values;
    drop view audit.own_events;
    drop policy definer_read on audit.event_values;
    drop policy own_acts on audit.events;
    revoke select on audit.events from bulkhead_audit_definer;
    revoke select (tenant_id, event_id, occurred_at, changes) on audit.event_values from bulkhead_audit_definer;
    revoke usage on schema audit from bulkhead_audit_definer;
    drop function audit.shown_fields(text);
    """)
    run_sql(WHOLE_LOG.format(least=3))


WHOLE_LOG = """
alter policy read_right on audit.events
using (app.role_level() >= {least} and (app.role_level() = 6 or tenant_id <> app.platform_log_id()));
alter policy read_right on audit.event_values
using (app.role_level() >= {least} and (app.role_level() = 6 or tenant_id <> app.platform_log_id()));
"""

# By kind the fields that a call shows to every role that can see the entity at all; a test makes an event of every kind
# and compares. What is not named is shown to owners and admins only: so is what is new.
SHOWN_FIELDS = """
create function audit.shown_fields(p_kind text) returns text []
language sql immutable parallel safe
return case p_kind
    when 'comment' then array[
        'issue_id', 'author_id', 'visibility', 'body', 'external_source', 'external_id', 'deleted_at'
    ]
    when 'issue' then array[
        'project_id', 'number', 'type', 'title', 'description', 'status_id', 'priority', 'reporter_id', 'assignee_id',
        'parent_id', 'estimate_minutes', 'spent_minutes', 'start_at', 'due_at', 'breached_at', 'resolved_at',
        'metadata', 'external_source', 'external_id', 'deleted_at'
    ]
    when 'label' then array['name', 'description', 'color', 'archived_at']
    when 'member' then array[
        'kind', 'role', 'status', 'display_name', 'avatar_url', 'joined_at', 'disabled_at', 'disabled_by',
        'external_source', 'external_id', 'left_at'
    ]
    when 'project' then array[
        'workspace_id', 'key', 'name', 'description', 'status', 'priority', 'lead_id', 'owner_team_id', 'start_date',
        'end_date', 'budget', 'metadata', 'archived_at'
    ]
    when 'status' then array['name', 'category', 'position', 'is_default', 'archived_at']
    when 'status_transition' then array['least_role']
    when 'team' then array['name', 'description', 'archived_at']
    when 'team_member' then array['is_lead', 'added_at', 'removed_at']
    when 'tenant' then array[
        'slug', 'name', 'domain', 'status', 'status_reason', 'status_changed_at', 'plan_code', 'branding', 'settings',
        'description', 'logo_url', 'website_url', 'industry', 'size', 'deleted_at', 'purge_after'
    ]
    -- Of a refused call, what its answer said.
    when 'user' then array['reason', 'calls']
    when 'workspace' then array['name', 'description']
    else array[]::text []
end;
revoke all on function audit.shown_fields(text) from public;
grant execute on function audit.shown_fields(text) to bulkhead_audit_app;
comment on function audit.shown_fields(text) is
'Fields of a kind of entity that the calls show to every role; all others are for owners and admins.';
"""

OWN_ROWS = """
grant usage on schema audit to bulkhead_audit_definer;
grant select on audit.events to bulkhead_audit_definer;
grant select (tenant_id, event_id, occurred_at, changes) on audit.event_values to bulkhead_audit_definer;
-- Who acted by a key of hers, or for her, is somebody else. An internal event does not exist for viewers.
create policy own_acts on audit.events for select to bulkhead_audit_definer
using (
    tenant_id = app.current_tenant_id() and actor_id = app.current_user_id()
    and app.role_level() >= 1 and app.role_level() <= 5 and (visibility = 1 or app.role_level() >= 2)
);
create policy definer_read on audit.event_values for select to bulkhead_audit_definer
using (tenant_id = app.current_tenant_id() and app.role_level() >= 1 and app.role_level() <= 5);
"""

# No column that would tell how much others do, or what is hidden: no number in the log, no time of arrival, no digest.
# Rows are chosen by the policies above, which let no condition of a query look before them, and still go by an index;
# a security barrier would sort all of somebody's acts for one page.
OWN_ACTS = """
grant create on schema audit to bulkhead_audit_definer;
set local role bulkhead_audit_definer;
create view audit.own_events as
select
    e.tenant_id,
    e.event_id,
    e.occurred_at,
    e.actor_type,
    e.actor_id,
    e.on_behalf_of,
    e.request_id,
    e.service,
    e.rpc,
    e.action,
    e.entity_type,
    e.entity_id,
    e.sub_id,
    e.project_id,
    e.visibility,
    e.outcome,
    array(
        select f.name from unnest(e.fields) with ordinality as f (name, place)
        where f.name = any(audit.shown_fields(e.entity_type))
        order by f.place
    ) as fields
from audit.events as e;
create view audit.own_event_values as
select
    v.tenant_id,
    v.event_id,
    v.occurred_at,
    (
        select coalesce(jsonb_object_agg(c.key, c.value), '{}'::jsonb) from jsonb_each(v.changes) as c
        where c.key = any(audit.shown_fields(e.entity_type))
    ) as changes
from audit.event_values as v
inner join audit.events as e
    on v.tenant_id = e.tenant_id and v.occurred_at = e.occurred_at and v.event_id = e.event_id;
grant select on audit.own_events, audit.own_event_values to bulkhead_audit_app;
comment on view audit.own_events is
'What the person of the context did in its tenant, with the fields that the calls show to every role.';
comment on view audit.own_event_values is
'The values of audit.own_events, of those fields.';
set local role bulkhead_audit_owner;
revoke create on schema audit from bulkhead_audit_definer;
"""
