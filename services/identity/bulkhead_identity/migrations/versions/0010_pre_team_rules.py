"""Teams: names, archive, leads."""

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Empty until its slice lands."""


def downgrade() -> None:
    """Empty until its slice lands."""
