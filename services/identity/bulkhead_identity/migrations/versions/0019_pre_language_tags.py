"""A locale may have extensions and private parts, as the rule for it says: Android sends es-u-ms-metric."""

from bulkhead_kit.migrations import run_sql

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    run_sql(LOCALE)


def downgrade() -> None:
    # A tag that the older release cannot store loses what follows its region.
    run_sql("""
    update identity.user_profiles set locale = substring(locale from '^[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*')
    where locale !~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$';
    alter table identity.user_profiles drop constraint user_profiles_locale_check;
    alter table identity.user_profiles add constraint user_profiles_locale_check check (
        length(locale) <= 35 and locale ~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$'
    ) not valid;
    alter table identity.user_profiles validate constraint user_profiles_locale_check;
    """)


LOCALE = """
-- A wider one follows.
-- squawk-ignore ban-drop-constraint
alter table identity.user_profiles drop constraint user_profiles_locale_check;
alter table identity.user_profiles add constraint user_profiles_locale_check check (
    length(locale) <= 35
    and locale ~ (
        '^[a-z]{2,3}(-[a-z]{3}){0,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?(-([a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*'
        '(-[a-wyz0-9](-[a-z0-9]{2,8})+)*(-x(-[a-z0-9]{1,8})+)?$'
    )
) not valid;
-- No release has this table yet, so nowhere is it large.
-- squawk-ignore constraint-missing-not-valid
alter table identity.user_profiles validate constraint user_profiles_locale_check;
"""
