"""A migrated database as the documents see it, and a way to see it changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from bulkhead_cli.schema import catalogue
from bulkhead_cli.schema.model import Catalogue
from psycopg import sql

from tests.support.postgres import ScratchDatabase

ROOT = Path(__file__).resolve().parents[2]
Altered = Callable[[str], Catalogue]


@pytest.fixture(scope="module")
def found(database: ScratchDatabase) -> Catalogue:
    with psycopg.connect(database.admin_dsn) as connection:
        return catalogue.read(connection)


@pytest.fixture(scope="module")
def altered(database: ScratchDatabase) -> Iterator[Altered]:
    """What the documents would see after some SQL, which is taken back."""
    with psycopg.connect(database.admin_dsn, autocommit=True) as connection:

        def alter(text: str) -> Catalogue:
            with connection.transaction(force_rollback=True):
                connection.execute(sql.SQL(text))
                return catalogue.read(connection)

        yield alter
