"""Objects that tenants and people keep are not deeper than messages and the audit log take."""

from bulkhead_kit.migrations import run_sql

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    run_sql("""
    -- No release has this table yet, so nowhere is it large.
    -- squawk-ignore constraint-missing-not-valid
    alter table identity.tenants add constraint tenants_branding_depth_check
    check (not jsonb_path_exists(branding, '$.**{33}'));
    -- No release has this table yet, so nowhere is it large.
    -- squawk-ignore constraint-missing-not-valid
    alter table identity.tenants add constraint tenants_settings_depth_check
    check (not jsonb_path_exists(settings, '$.**{33}'));
    -- No release has this table yet, so nowhere is it large.
    -- squawk-ignore constraint-missing-not-valid
    alter table identity.user_profiles add constraint user_profiles_preferences_depth_check
    check (not jsonb_path_exists(preferences, '$.**{33}'));
    """)


def downgrade() -> None:
    run_sql("""
    alter table identity.user_profiles drop constraint user_profiles_preferences_depth_check;
    alter table identity.tenants drop constraint tenants_settings_depth_check;
    alter table identity.tenants drop constraint tenants_branding_depth_check;
    """)
