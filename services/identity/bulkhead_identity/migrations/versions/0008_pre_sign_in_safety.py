"""Throttled logins, known devices, resets."""

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Empty until its slice lands."""


def downgrade() -> None:
    """Empty until its slice lands."""
