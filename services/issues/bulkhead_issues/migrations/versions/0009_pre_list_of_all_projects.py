"""A tenant's issues in the order in which they are listed when nobody says another."""

from bulkhead_kit.migrations import run_sql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_sql(BY_UPDATE)


def downgrade() -> None:
    run_sql("drop index issues.issues_of_tenant_by_update_idx;")


# Without it a list across projects sorted all of a tenant's issues for its first page: 1 s of 300,000.
BY_UPDATE = """
-- No release has this table yet, so nowhere is it large.
-- squawk-ignore require-concurrent-index-creation
create index issues_of_tenant_by_update_idx on issues.issues (tenant_id, updated_at desc, issue_id desc)
where deleted_at is null;
"""
