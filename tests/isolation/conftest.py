"""One world a run, in a database of its own, from which every module and every mutant gets a clone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from bulkhead_kit.caller import Role

from tests.isolation.report import Pair
from tests.isolation.world import Company, make_company
from tests.support.house import House
from tests.support.postgres import Databases, ScratchDatabase


@dataclass(frozen=True)
class World:
    database: ScratchDatabase
    """Never connected to: only cloned."""
    folder: Path
    ours: Company
    theirs: Company

    @property
    def pair(self) -> Pair:
        owner = self.ours.tenant.people[Role.OWNER]
        return Pair(self.ours.tenant.tenant_id, self.theirs.tenant.tenant_id, owner.user_id)

    def companies_at(self, house: House) -> tuple[Company, Company]:
        """The same two companies, to be called in another house."""
        return self.ours.at(house), self.theirs.at(house)


@pytest_asyncio.fixture(scope="session")
async def world(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("world")
    database = databases.clone()
    async with House(database, folder) as house:
        ours, theirs = await make_company(house, "acme"), await make_company(house, "globex")
    yield World(database, folder, ours, theirs)
    databases.drop(database)


@pytest.fixture(scope="module")
def world_database(databases: Databases, world: World) -> Iterator[ScratchDatabase]:
    """A clone of the world for one module."""
    made = databases.clone(world.database.name)
    yield made
    databases.drop(made)


@pytest_asyncio.fixture(scope="module")
async def world_house(world_database: ScratchDatabase, world: World) -> AsyncIterator[House]:
    async with House(world_database, world.folder) as made:
        yield made
