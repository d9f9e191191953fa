"""Loosens the wall stone by stone and demands that the probes notice: who watches the watchmen."""

from __future__ import annotations

import itertools
from collections import defaultdict

import psycopg
import pytest

from tests.isolation.conftest import World
from tests.isolation.mirror import mirror
from tests.isolation.mutants import EQUIVALENT, Known, Mutant, all_mutants, plant, probe
from tests.isolation.sql_probes import APP_ROLES, relations
from tests.support.parts import PARTS
from tests.support.postgres import Databases, ScratchDatabase

A_KIND = 2
"""So many mutants of each kind in a short run."""


@pytest.fixture(scope="module")
def known(world: World, databases: Databases) -> Known:
    clone = databases.clone(world.database.name)
    with psycopg.connect(clone.admin_dsn, autocommit=True) as admin:
        found = {role: relations(admin, role) for role in APP_ROLES}
    databases.drop(clone)
    return found


@pytest.fixture(scope="module")
def mutants(world: World, databases: Databases) -> list[Mutant]:
    clone = databases.clone(world.database.name)
    with psycopg.connect(clone.admin_dsn, autocommit=True) as admin:
        found = all_mutants(admin)
    databases.drop(clone)
    return found


def sample(mutants: list[Mutant]) -> list[Mutant]:
    """Spread over the tables, the same ones every time."""
    kinds: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        kinds[mutant.kind].append(mutant)
    chosen = []
    for place, found in enumerate(kinds.values()):
        step = max(1, len(found) // A_KIND)
        chosen += list(itertools.islice(found[place % step :: step], A_KIND))
    return chosen


def batches(mutants: list[Mutant]) -> list[list[Mutant]]:
    """Together in one clone are mutants of different tables, as each is probed at its own table only."""
    made: list[list[Mutant]] = []
    for mutant in mutants:
        fitting = next((batch for batch in made if mutant.table not in {other.table for other in batch}), None)
        if fitting is None:
            made.append([mutant])
        else:
            fitting.append(mutant)
    return made


def hunt(batches: list[list[Mutant]], world: World, known: Known, databases: Databases) -> list[Mutant]:
    """The ones that nobody noticed."""
    survivors = []
    for batch in batches:
        clone = databases.clone(world.database.name)
        if any(mutant.kind == "key without tenant" for mutant in batch):
            # Beside a tenant with the same ids, as clients may choose them.
            with psycopg.connect(clone.admin_dsn, autocommit=True) as admin:
                mirror(admin, world.pair.ours)
        planted = [mutant for mutant in batch if can_be_planted(clone, mutant)]
        for mutant in planted:
            report = probe(clone, mutant, world.pair, known)
            if not report.leaks and not report.untwinned:
                survivors.append(mutant)
        databases.drop(clone)
    return survivors


def can_be_planted(clone: ScratchDatabase, mutant: Mutant) -> bool:
    try:
        plant(clone, mutant)
    except psycopg.errors.UniqueViolation:
        return False  # noticed: two tenants do have the same value, each its own
    return True


def test_a_sample_of_mutants_is_noticed(
    mutants: list[Mutant], world: World, known: Known, databases: Databases
) -> None:
    chosen = sample([mutant for mutant in mutants if mutant.name not in EQUIVALENT])
    survivors = hunt(batches(chosen), world, known, databases)
    PARTS.found["Isolation mutants (SQL)"] = f"{len(chosen) - len(survivors)} of {len(chosen)} caught"
    assert len(chosen) >= 15
    assert not survivors, "\n".join(["", *map(str, survivors)])


@pytest.mark.soak
def test_every_mutant_is_noticed(mutants: list[Mutant], world: World, known: Known, databases: Databases) -> None:
    survivors = hunt([[mutant] for mutant in mutants], world, known, databases)
    different = [mutant for mutant in mutants if mutant.name not in EQUIVALENT]
    missed = [mutant for mutant in survivors if mutant.name not in EQUIVALENT]
    PARTS.found["Isolation mutants (SQL), all"] = (
        f"{len(different) - len(missed)} of {len(different)} caught, {len(EQUIVALENT)} change nothing"
    )
    assert not missed, "\n".join(["", *map(str, missed)])
    assert {mutant.name for mutant in survivors} == EQUIVALENT.keys(), "one that is said to change nothing was noticed"
