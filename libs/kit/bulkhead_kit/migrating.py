"""`migrate` of one service."""

from __future__ import annotations

from bulkhead_kit import migrations
from bulkhead_kit.settings import ServiceSettings
from bulkhead_kit.starting import start_logging


def migrate(settings: ServiceSettings) -> None:
    """Brings the service's own schema to this release, as the administrator."""
    start_logging(settings)
    migrations.upgrade(settings.conninfo("migration_database_url"), settings.service)
