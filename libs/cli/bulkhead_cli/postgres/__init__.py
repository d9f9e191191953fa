"""The embedded PostgreSQL: `with EmbeddedPostgres(state) as server: connect(server.dsn)`."""

from bulkhead_cli.postgres.server import EmbeddedPostgres, Server

__all__ = ["EmbeddedPostgres", "Server"]
