"""Which revision of its schema this code was written for, without loading Alembic into every server."""

from __future__ import annotations

from importlib import resources


def head(service: str) -> str:
    """Migrations are files NNNN_{pre,post}_what.py, one after the other: the highest number is the head."""
    versions = resources.files(f"bulkhead_{service}") / "migrations" / "versions"
    return max(file.name[:4] for file in versions.iterdir() if file.name[:4].isdigit())
