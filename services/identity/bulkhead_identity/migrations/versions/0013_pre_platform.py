"""Platform administrators, and support access on the owner's word."""

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Empty until its slice lands."""


def downgrade() -> None:
    """Empty until its slice lands."""
