"""What stands between us and PostgreSQL.

A pooler names to its clients a process of its own making, so that they can cancel through it; the server names its own.
In transaction mode it lends one connection of the server to one client after the other: what belongs to a connection
(prepared statements, settings, locks) is then lost, or somebody else's.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import psycopg

from bulkhead_kit.start_error import StartError

Pooler = Literal["none", "session", "transaction"]

SERVER_PROCESS: Final = "select pg_backend_pid()"
REFUSES_OPTIONS: Final = "startup parameter"
"""In the words of PgBouncer, which knows few of what a client may ask for at its start."""


class NotDirectError(StartError):
    """A pooler stands where work needs a connection of its own."""

    def __init__(self, setting: str, why: str) -> None:
        super().__init__(
            f"a pooler stands between us and PostgreSQL, and {why}: give {setting} the server's own address"
        )


def demand_direct(connection: psycopg.Connection[Any], setting: str, why: str) -> None:
    row = connection.execute(SERVER_PROCESS).fetchone()
    if row is None or row[0] != connection.info.backend_pid:
        raise NotDirectError(setting, why)


def must_be_said(setting: str) -> str:
    return f"a pooler stands between us and PostgreSQL: set {setting} to transaction or to session, as its pool_mode is"


def is_shared(setting: str) -> str:
    return (
        f"the pooler lends one connection of PostgreSQL to several clients, which is transaction mode: set {setting} to"
        " transaction"
    )
