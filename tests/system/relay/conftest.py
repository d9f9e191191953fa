"""A captured table to write to, and relays that carry its changes to the house's audit service."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from bulkhead_kit.ids import new_id

from tests.support.house import House
from tests.support.postgres import ScratchDatabase
from tests.system.relay import probe
from tests.system.relay.probe import Writer
from tests.system.relay.relays import Relays


@pytest.fixture(scope="module")
def table(database: ScratchDatabase) -> None:
    probe.make_table(database)


@pytest.fixture
def write(database: ScratchDatabase) -> Iterator[Callable[[], Writer]]:
    """A writer of a tenant of its own, each time."""
    with psycopg.connect(database.dsn("bulkhead_issues_app")) as connection:
        connection.autocommit = True
        yield lambda: Writer(connection, new_id())


@pytest.fixture
def clean(database: ScratchDatabase) -> Iterator[None]:
    """What one test leaves undelivered is no other's trouble."""
    yield
    with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
        connection.execute("truncate issues.outbox, issues.outbox_parked")


@pytest.fixture
def relays(house: House) -> Relays:
    return Relays(house)
