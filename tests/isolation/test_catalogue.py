"""What the live catalogue must look like. Every rule finds its own mutant, and no exception is there for nothing."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.isolation import functions, keys, rights, walls
from tests.isolation.catalogue import CatalogueRule
from tests.support.postgres import ScratchDatabase

RULES: list[CatalogueRule] = [*walls.RULES, *rights.RULES, *functions.RULES, *keys.RULES]
by_name = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name.replace(" ", "-"))


@pytest.fixture(scope="module")
def catalogue(database: ScratchDatabase) -> Iterator[psycopg.Connection]:
    """With this month's partitions, as the services make them when they start."""
    with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
        connection.execute("select audit.make_months(current_date, current_date)")
        connection.execute("set search_path = pg_catalog")
        yield connection


@by_name
def test_the_catalogue_keeps_the_rule(rule: CatalogueRule, catalogue: psycopg.Connection) -> None:
    broken = rule.broken(catalogue)
    assert not broken, "\n".join(["", *(f"{name}: {what}" for name, what in broken.items())])


@by_name
def test_the_mutant_is_found(rule: CatalogueRule, catalogue: psycopg.Connection) -> None:
    before = rule.broken(catalogue)
    with catalogue.transaction(force_rollback=True):
        catalogue.execute(rule.mutant.encode())
        assert rule.broken(catalogue).keys() - before.keys()


@by_name
def test_every_exception_is_needed(rule: CatalogueRule, catalogue: psycopg.Connection) -> None:
    unused = rule.allowed.keys() - rule.all_found(catalogue).keys()
    assert not unused, f"no exception is needed for {', '.join(sorted(unused))}"


def test_there_is_a_catalogue_to_look_at(catalogue: psycopg.Connection) -> None:
    counted = catalogue.execute(
        "select nspname, count(*) from pg_class inner join pg_namespace as n on n.oid = relnamespace"
        " where nspname in ('identity', 'issues', 'audit') and relkind in ('r', 'p') group by nspname"
    ).fetchall()
    assert all(count >= 5 for _, count in counted)
    assert len(counted) == 3
