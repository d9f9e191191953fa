"""Refused calls become events of the audit log."""

from bulkhead_kit.migrations import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql("""
    create policy definer_write on issues.outbox for insert to bulkhead_issues_definer with check (true);
    grant insert (tenant_id, action, entity_type, entity_id, outcome, changes) on issues.outbox to
        bulkhead_issues_definer;
    grant usage, create on schema issues to bulkhead_issues_definer;
    set local role bulkhead_issues_definer;
    """)
    run_sql(RECORD_EVENT)
    run_sql("""
    set local role bulkhead_issues_owner;
    revoke create on schema issues from bulkhead_issues_definer;
    """)


def downgrade() -> None:
    run_sql("""
    drop function issues.record_event(text, text, uuid, text, jsonb);
    drop policy definer_write on issues.outbox;
    revoke insert (tenant_id, action, entity_type, entity_id, outcome, changes) on issues.outbox from
        bulkhead_issues_definer;
    revoke usage on schema issues from bulkhead_issues_definer;
    """)


RECORD_EVENT = """
create function issues.record_event(
    p_action text, p_entity_type text, p_entity_id uuid, p_outcome text, p_changes jsonb
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- What succeeded leaves a row and is captured from it; this can not pretend that it did.
    if p_outcome not in ('denied', 'failed') then
        raise exception 'issues.record_event: an event without a row is one that was denied or failed';
    end if;
    insert into issues.outbox (tenant_id, action, entity_type, entity_id, outcome, changes)
    values (
        coalesce(app.current_tenant_id(), app.platform_log_id()), p_action, p_entity_type, p_entity_id, p_outcome,
        p_changes
    );
end
$$;
revoke all on function issues.record_event(text, text, uuid, text, jsonb) from public;
grant execute on function issues.record_event(text, text, uuid, text, jsonb) to bulkhead_issues_app;
comment on function issues.record_event(text, text, uuid, text, jsonb) is
'An audit event of something that left no row, such as a refused call.';
"""
