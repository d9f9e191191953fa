"""Every trigger that refuses has a test that notices when it is gone: the long run drops each in turn."""

from __future__ import annotations

import psycopg
import pytest

from tests.isolation.guards import EQUIVALENT, TESTS, all_guards, run_tests
from tests.support.postgres import Databases, ScratchDatabase

A_SAMPLE = ("issues.issues bf_reporter",)


def test_every_guard_is_named(database: ScratchDatabase) -> None:
    with psycopg.connect(database.admin_dsn, autocommit=True) as admin:
        assert sorted(map(str, all_guards(admin))) == sorted([*TESTS, *EQUIVALENT])


@pytest.mark.parametrize(
    "name", [name if name in A_SAMPLE else pytest.param(name, marks=pytest.mark.soak) for name in TESTS]
)
def test_a_guard_that_is_gone_is_noticed(database: ScratchDatabase, databases: Databases, name: str) -> None:
    table, trigger = name.split()
    clone = databases.clone(database.name)
    with clone.server.admin(clone.name) as admin:
        admin.execute(f"drop trigger {trigger} on {table}".encode())
    run = run_tests(clone, [TESTS[name]])
    databases.drop(clone)
    assert not run.passed, f"{TESTS[name]} passes without it"
