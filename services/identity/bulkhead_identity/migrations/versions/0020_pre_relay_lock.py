"""One relay delivers: it takes its lock by a function, since no login may take locks of its own choice."""

from bulkhead_kit.migrations import run_sql

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    # The number is the lock that relays before this release took, so that an old and a new one never both deliver.
    run_sql("""
    grant create on schema identity to bulkhead_identity_definer;
    set local role bulkhead_identity_definer;
    create function identity.lead_delivery() returns boolean
    language sql security definer
    set search_path = pg_catalog, pg_temp
    return pg_try_advisory_lock(-7996926706813633332);
    comment on function identity.lead_delivery() is
    'Whether this session delivers the outbox now; it does until it ends.';
    revoke all on function identity.lead_delivery() from public;
    grant execute on function identity.lead_delivery() to bulkhead_identity_relay;
    set local role bulkhead_identity_owner;
    revoke create on schema identity from bulkhead_identity_definer;
    """)


def downgrade() -> None:
    run_sql("drop function identity.lead_delivery();")
