"""Fixtures for every test. Each is small: what it builds lives in tests/support."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import ExitStack

import hypothesis
import hypothesis.core
import pytest
import pytest_asyncio

from tests.support import seeds, workers
from tests.support.house import House
from tests.support.parts import PARTS, look_around
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import Databases, PostgresServer, ScratchDatabase, postgres_server


def pytest_xdist_auto_num_workers() -> int:
    return workers.how_many()


def pytest_configure(config: pytest.Config) -> None:
    workers.share_seed()
    config.pluginmanager.register(workers.Workers())
    config.addinivalue_line("markers", "soak: long: kills, races, many rounds; left out of `make test`")
    if url := os.environ.get("BULKHEAD_TEST_REDIS_URL"):
        # Every service that a test builds or starts counts its calls there.
        os.environ["BULKHEAD_REDIS_URL"] = url
    # How fast values are drawn and tried says how busy the machine is.
    hypothesis.settings.register_profile(
        "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("unhurried")
    if config.getoption("--hypothesis-seed", None) is None:
        # What --hypothesis-seed itself sets.
        setattr(hypothesis.core, "global_force_seed", seeds.SEED)  # noqa: B010 - declared as None there


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and seeds.is_random(item):
        report.sections.append(("random test", seeds.replay_note(item)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    look_around()
    terminalreporter.section("parts")
    for line in PARTS.lines():
        terminalreporter.write_line(line)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers that BULKHEAD_TEST_SEED replays; a failing test prints the seed."""
    return seeds.generator(request.node.nodeid)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def databases(postgres: PostgresServer) -> Iterator[Databases]:
    """To make further databases, empty or cloned, within a test."""
    made = Databases(postgres)
    yield made
    made.drop_all()


@pytest.fixture(scope="module")
def database(databases: Databases) -> Iterator[ScratchDatabase]:
    """A migrated database of this test module's own; with BULKHEAD_TEST_POOLER, logins come through a PgBouncer."""
    made = databases.clone()
    with ExitStack() as stack:
        if os.environ.get("BULKHEAD_TEST_POOLER"):
            yield stack.enter_context(PgBouncer(databases.server)).through(made)
        else:
            yield made
    databases.drop(made)


@pytest_asyncio.fixture(scope="module")
async def house(database: ScratchDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """The three services on the module's database; `await house.tenant("acme")` begins most tests."""
    async with House(database, tmp_path_factory.mktemp("house")) as made:
        yield made
