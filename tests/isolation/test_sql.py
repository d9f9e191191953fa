"""SQL as each service's own login: no row of another tenant is seen, changed, added or even guessed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from bulkhead_kit.caller import Role

from tests.isolation.sql_probes import APP_ROLES, Pair, Prober
from tests.isolation.world import make_company
from tests.support.house import House
from tests.support.parts import PARTS
from tests.support.postgres import ScratchDatabase

_counted: dict[str, int] = {}


@pytest_asyncio.fixture(scope="module")
async def pair(house: House) -> AsyncIterator[Pair]:
    ours, theirs = await make_company(house, "acme"), await make_company(house, "globex")
    yield Pair(ours.tenant.tenant_id, theirs.tenant.tenant_id, ours.tenant.people[Role.OWNER].user_id)
    PARTS.found["Isolation by SQL"] = f"{sum(_counted.values())} probes denied for {', '.join(_counted)}"


@pytest.mark.parametrize("role", APP_ROLES)
def test_nothing_of_theirs_is_reached(role: str, pair: Pair, database: ScratchDatabase) -> None:
    prober = Prober(database, role, pair)
    report = prober.run()
    prober.close()
    assert not report.leaks, "\n".join(["", *report.leaks])
    assert not report.untwinned, "\n".join(["", *report.untwinned])
    _counted[role] = report.denied
