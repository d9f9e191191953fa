"""One relay delivers: it takes its lock by a function, since no login may take locks of its own choice."""

from bulkhead_kit.migrations import run_sql

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    # The number is the lock that relays before this release took, so that an old and a new one never both deliver.
    run_sql("""
    grant create on schema issues to bulkhead_issues_definer;
    set local role bulkhead_issues_definer;
    create function issues.lead_delivery() returns boolean
    language sql security definer
    set search_path = pg_catalog, pg_temp
    return pg_try_advisory_lock(-7894037758998156453);
    comment on function issues.lead_delivery() is
    'Whether this session delivers the outbox now; it does until it ends.';
    revoke all on function issues.lead_delivery() from public;
    grant execute on function issues.lead_delivery() to bulkhead_issues_relay;
    set local role bulkhead_issues_owner;
    revoke create on schema issues from bulkhead_issues_definer;
    """)


def downgrade() -> None:
    run_sql("drop function issues.lead_delivery();")
