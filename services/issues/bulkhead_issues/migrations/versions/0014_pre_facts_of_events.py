"""A refused call is recorded as the context has it, in the form that audit takes."""

from bulkhead_kit.migrations import run_sql

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    run_sql(RECORD_EVENT.replace("        -- demand", AFTER.strip("\n")))


def downgrade() -> None:
    run_sql(RECORD_EVENT.replace("        -- demand", BEFORE.strip("\n")))


BEFORE = """
        p_action <> 'call.denied' or p_outcome <> 'denied' or p_entity_type not in ('user', 'service')
        or not starts_with(coalesce(current_setting('app.rpc', true), ''), 'bulkhead.issues.')
"""
# Audit would refuse others, and the tenant's whole log would wait behind it.
AFTER = """
        p_action is distinct from 'call.denied'
        or not app.is_refused_call('issues', p_entity_type, p_entity_id, p_outcome, p_changes)
"""
RECORD_EVENT = """
grant create on schema issues to bulkhead_issues_definer;
set local role bulkhead_issues_definer;
create or replace function issues.record_event(
    p_action text, p_entity_type text, p_entity_id uuid, p_outcome text, p_changes jsonb
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if
        -- demand
    then
        raise exception 'issues.record_event: only a refused call of this service is an event without a row';
    end if;
    insert into issues.outbox (tenant_id, action, entity_type, entity_id, outcome, changes)
    values (
        coalesce(app.current_tenant_id(), app.platform_log_id()), p_action, p_entity_type, p_entity_id, p_outcome,
        p_changes
    );
end
$$;
set local role bulkhead_issues_owner;
revoke create on schema issues from bulkhead_issues_definer;
"""
