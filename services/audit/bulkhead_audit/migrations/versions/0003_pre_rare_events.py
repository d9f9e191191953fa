"""What is rare in a long log is found without reading all of it."""

from bulkhead_kit.migrations import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql(NOT_OK)
    run_sql(ON_BEHALF)
    run_sql(ACTION)


def downgrade() -> None:
    run_sql("""
    drop index audit.events_tenant_id_action_idx;
    create index events_tenant_id_action_idx
    on audit.events (tenant_id, action, occurred_at desc, seq desc);
    drop index audit.events_tenant_id_on_behalf_of_idx;
    drop index audit.events_not_ok_idx;
    """)


# Refused and failed calls are what the log is asked for after a break-in.
NOT_OK = """
-- No release has this table yet, so nowhere is it large.
-- squawk-ignore require-concurrent-index-creation
create index events_not_ok_idx on audit.events (tenant_id, occurred_at desc, seq desc) where outcome <> 'ok';
"""

ON_BEHALF = """
-- No release has this table yet, so nowhere is it large.
-- squawk-ignore require-concurrent-index-creation
create index events_tenant_id_on_behalf_of_idx
on audit.events (tenant_id, on_behalf_of, occurred_at desc, seq desc) where on_behalf_of is not null;
"""

# By its operators also for the beginning of an action, which the one it replaces was no use for.
ACTION = """
-- squawk-ignore require-concurrent-index-deletion
drop index audit.events_tenant_id_action_idx;
-- squawk-ignore require-concurrent-index-creation
create index events_tenant_id_action_idx
on audit.events (tenant_id, action text_pattern_ops, occurred_at desc, seq desc);
"""
