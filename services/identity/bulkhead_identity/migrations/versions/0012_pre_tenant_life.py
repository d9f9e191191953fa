"""What a tenant says of itself, its end and its return."""

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Empty until its slice lands."""


def downgrade() -> None:
    """Empty until its slice lands."""
