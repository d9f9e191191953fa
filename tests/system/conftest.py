"""Two companies with something of every kind, for tests that need something to do wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import psycopg
import pytest
import pytest_asyncio
from google.protobuf.descriptor import MethodDescriptor

from tests.isolation.world import Company, make_company
from tests.support.house import House
from tests.support.postgres import ScratchDatabase
from tests.system.calls import Good, Twin
from tests.system.contents import Tables, difference


@pytest_asyncio.fixture(scope="module")
async def ours(house: House) -> Company:
    return await make_company(house, "acme")


@pytest_asyncio.fixture(scope="module")
async def theirs(house: House) -> Company:
    return await make_company(house, "globex")


@pytest.fixture(scope="module")
def admin(database: ScratchDatabase) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def tables(admin: psycopg.Connection) -> Tables:
    return Tables(admin)


@pytest.fixture
def harmless(ours: Company, tables: Tables) -> Good:
    @asynccontextmanager
    async def bent(method: MethodDescriptor) -> AsyncIterator[Twin]:
        twin = await Twin.make(method, ours)
        before = tables.contents()
        yield twin
        assert not difference(before, tables.contents())
        await twin.goes_through()

    return bent
