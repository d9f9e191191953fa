"""A backfill over every tenant's rows."""

from bulkhead_kit.migrations import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql("update audit.things set note = 'filled' where note is null;")


def downgrade() -> None:
    run_sql("update audit.things set note = null where note = 'filled';")
