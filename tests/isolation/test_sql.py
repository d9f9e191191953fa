"""SQL as each service's own login: no row of another tenant is seen, changed, added or even guessed.

And behind the wall: no login can do more than expected.py says, and no role level more than its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.isolation.conftest import World
from tests.isolation.report import Report
from tests.isolation.right_probes import probe_levels, probe_owners, probe_platform, probe_rights
from tests.isolation.sql_probes import APP_ROLES, Prober
from tests.support.parts import PARTS
from tests.support.postgres import ScratchDatabase

_denied: list[int] = []
by_role = pytest.mark.parametrize("role", APP_ROLES)


@pytest.fixture(scope="module", autouse=True)
def _say_how_many() -> Iterator[None]:
    yield
    PARTS.found["Isolation by SQL"] = f"{sum(_denied)} probes denied"


def hold(report: Report) -> None:
    assert not report.leaks, "\n".join(["", *report.leaks])
    assert not report.untwinned, "\n".join(["", *report.untwinned])
    _denied.append(report.denied)


@by_role
def test_nothing_of_theirs_is_reached(role: str, world: World, world_database: ScratchDatabase) -> None:
    with Prober(world_database, role, world.pair) as prober:
        hold(prober.run())


@by_role
def test_no_role_level_does_more_than_its_own(role: str, world: World, world_database: ScratchDatabase) -> None:
    with Prober(world_database, role, world.pair) as prober:
        hold(probe_levels(prober))


def test_no_login_does_more_than_expected(world_database: ScratchDatabase) -> None:
    hold(probe_rights(world_database))


def test_row_security_holds_for_owners_too(world_database: ScratchDatabase) -> None:
    hold(probe_owners(world_database))


def test_the_platforms_login_sees_nothing_within_a_tenant(world: World, world_database: ScratchDatabase) -> None:
    hold(probe_platform(world_database, world.pair))
