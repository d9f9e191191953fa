"""Profiles, and the end of an account."""

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Empty until its slice lands."""


def downgrade() -> None:
    """Empty until its slice lands."""
