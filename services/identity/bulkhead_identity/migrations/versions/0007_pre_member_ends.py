"""How a membership and an invitation end before their time."""

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Empty until its slice lands."""


def downgrade() -> None:
    """Empty until its slice lands."""
