"""A constraint validated over every tenant's rows."""

from bulkhead_kit.migrations import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql("""
    alter table audit.things add constraint things_note_check check (note = 'filled') not valid;
    alter table audit.things validate constraint things_note_check;
    """)


def downgrade() -> None:
    run_sql("alter table audit.things drop constraint things_note_check;")
