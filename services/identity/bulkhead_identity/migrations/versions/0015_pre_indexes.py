"""Addresses are looked up by their index, members of a kind or a name by one of theirs, and so is what ends."""

from bulkhead_kit.migrations import run_sql

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run_sql(EMAIL_KEYS)
    run_sql(MEMBERS)
    run_sql(ENDS)
    run_sql(OPEN_INVITATIONS)


def downgrade() -> None:
    run_sql("""
    drop index identity.invitations_open_idx;
    drop index identity.memberships_support_until_idx;
    drop index identity.team_members_active_idx;
    drop index identity.memberships_display_name_idx;
    drop index identity.memberships_kind_idx;
    alter table identity.invitations alter column email_key type text collate "default";
    alter table identity.users alter column email_key type text collate "default";
    """)


# An index serves a comparison in its own collation only. lower(.. collate "C") is compared in "C", and an index in the
# database's collation is passed over: every login read all users.
EMAIL_KEYS = """
-- No release has this table yet, so nowhere is it large.
-- squawk-ignore changing-column-type
alter table identity.users alter column email_key type text collate "C";
-- squawk-ignore changing-column-type
alter table identity.invitations alter column email_key type text collate "C";
"""

# Placeholders and service accounts are few among many persons: without it a page of them reads the whole tenant.
MEMBERS = """
-- No release has this table yet, so nowhere is it large.
-- squawk-ignore require-concurrent-index-creation
create index memberships_kind_idx on identity.memberships (tenant_id, kind, user_id);
-- For a whole name and, by its operators, for the beginning of one.
-- squawk-ignore require-concurrent-index-creation
create index memberships_display_name_idx on identity.memberships (tenant_id, display_name text_pattern_ops);
"""

ENDS = """
-- For whoever closes her account: the other indexes begin with the tenant, and all teams of all tenants were read.
-- No release has this table yet, so nowhere is it large.
-- squawk-ignore require-concurrent-index-creation
create index team_members_active_idx on identity.team_members (user_id, tenant_id) where removed_at is null;
-- For the end of support access: without it all of the tenant's members are looked through for the one who helps.
-- squawk-ignore require-concurrent-index-creation
create index memberships_support_until_idx on identity.memberships (tenant_id) where support_until is not null;
"""

# A page of them in its order. Without it the open ones of all tenants were read, by when they expire.
OPEN_INVITATIONS = """
-- No release has this table yet, so nowhere is it large.
-- squawk-ignore require-concurrent-index-creation
create index invitations_open_idx on identity.invitations (tenant_id, invitation_id) where status = 'open';
"""
