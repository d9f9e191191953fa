"""A role that owns audit's views of what somebody did, for those who may not read the whole log."""

from bulkhead_kit.migrations import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_sql("""
    grant usage on schema app to bulkhead_audit_definer;
    grant execute on function app.current_tenant_id(), app.current_user_id(), app.role_level() to
        bulkhead_audit_definer;
    """)


def downgrade() -> None:
    run_sql("""
    revoke execute on function app.current_tenant_id(), app.current_user_id(), app.role_level() from
        bulkhead_audit_definer;
    revoke usage on schema app from bulkhead_audit_definer;
    """)
