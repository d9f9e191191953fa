"""Service accounts and their keys."""

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Empty until its slice lands."""


def downgrade() -> None:
    """Empty until its slice lands."""
