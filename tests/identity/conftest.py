from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.identity.world import PostOffice
from tests.support.house import House


@pytest_asyncio.fixture(scope="module")
async def mails(house: House, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostOffice]:
    office = PostOffice(house, tmp_path_factory.mktemp("mails"))
    await office.database.open()
    yield office
    await office.database.close()
