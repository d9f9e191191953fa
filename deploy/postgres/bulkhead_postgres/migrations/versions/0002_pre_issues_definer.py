"""A role that owns issues' functions which reach past what a call may."""

from bulkhead_kit.migrations import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql("""
    grant usage on schema app to bulkhead_issues_definer;
    grant execute on function app.current_tenant_id(), app.current_user_id(), app.platform_log_id(), app.role_level()
    to bulkhead_issues_definer;
    """)


def downgrade() -> None:
    run_sql("""
    revoke execute on function
        app.current_tenant_id(), app.current_user_id(), app.platform_log_id(), app.role_level()
    from bulkhead_issues_definer;
    revoke usage on schema app from bulkhead_issues_definer;
    """)
