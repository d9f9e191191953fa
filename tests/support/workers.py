"""Several workers for one run (pytest-xdist): most of a test's time is waiting.

A file stays with one worker, and each worker has a PostgreSQL of its own: roles belong to a server, and some tests
change them. That costs three seconds a worker. A server that was given by its URL has one worker.
"""

from __future__ import annotations

import gc
import os
from typing import Any, Final

import pytest

from tests.support import postgres, seeds
from tests.support.parts import PARTS

PER_CORE: Final = 2
LONG: Final = (
    "tests/cli/test_up.py",
    "tests/cli/test_postgres.py",
    "tests/isolation/test_code_mutants.py",
    "tests/system/test_processes.py",
    "tests/system/rolling/test_rolling.py",
    "tests/scale/test_identity_queries.py",
    "tests/isolation/test_sql.py",
    "tests/migrations/test_up_and_down.py",
    "tests/identity/throttle/test_enumeration.py",
    "tests/support/test_support.py",
    "tests/cli/test_keys.py",
    "tests/identity/membership/test_invitations.py",
    "tests/identity/mail/test_smtp.py",
    "tests/identity/membership/test_races.py",
    "tests/isolation/test_rpcs.py",
    "tests/isolation/test_mutants.py",
    "tests/migrations/test_running.py",
    "tests/system/relay/test_kills.py",
)
"""Begun first, longest first: a long file that begins last keeps one worker busy while the others are done."""


class Workers:
    """Hooks of pytest and pytest-xdist, registered by tests/conftest.py."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Each worker collects every test. Nearly all it makes stays, so looking for garbage is a fifth of the work."""
        gc.disable()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self) -> None:
        gc.freeze()
        gc.enable()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        order = {config.rootpath / name: place for place, name in enumerate(LONG)}
        items.sort(key=lambda item: order.get(item.path, len(order)))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A worker tells what it found to who prints it."""
        if (output := getattr(session.config, "workeroutput", None)) is not None:
            output["parts"] = dict(PARTS.found)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        PARTS.found.update(getattr(node, "workeroutput", {}).get("parts", {}))


def how_many() -> int:
    """0: the tests run in the process that was started."""
    return 0 if postgres.is_given() else PER_CORE * len(os.sched_getaffinity(0))


def share_seed() -> None:
    """All workers draw from one seed: what they collect must be the same."""
    os.environ["BULKHEAD_TEST_SEED"] = str(seeds.SEED)
