"""Objects that tenants and people keep are not deeper than messages and the audit log take."""

from bulkhead_kit.migrations import run_sql

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run_sql("""
    -- No release has this table yet, so nowhere is it large.
    -- squawk-ignore constraint-missing-not-valid
    alter table issues.issues add constraint issues_metadata_depth_check
    check (not jsonb_path_exists(metadata, '$.**{33}'));
    -- No release has this table yet, so nowhere is it large.
    -- squawk-ignore constraint-missing-not-valid
    alter table issues.projects add constraint projects_metadata_depth_check
    check (not jsonb_path_exists(metadata, '$.**{33}'));
    """)


def downgrade() -> None:
    run_sql("""
    alter table issues.projects drop constraint projects_metadata_depth_check;
    alter table issues.issues drop constraint issues_metadata_depth_check;
    """)
