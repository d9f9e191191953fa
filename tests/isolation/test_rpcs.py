"""Every RPC of every contract, with every id of another tenant and by everybody who may not call it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest
from google.protobuf.descriptor import MethodDescriptor

from tests.isolation.conftest import World
from tests.isolation.rpc_probes import RpcProber, methods_to_probe, name_of
from tests.isolation.samples import SAMPLES
from tests.isolation.state import changed, state_of
from tests.isolation.world import Company
from tests.support.house import House
from tests.support.parts import PARTS
from tests.support.postgres import ScratchDatabase

METHODS = methods_to_probe()
LEAST = 1_500


@dataclass
class Rivals:
    ours: Company
    theirs: Company
    denied: int = 0


@pytest.fixture(scope="module")
def rivals(world: World, world_house: House) -> Iterator[Rivals]:
    made = Rivals(*world.companies_at(world_house))
    yield made
    PARTS.found["Isolation by RPC"] = f"{made.denied} probes denied over {len(METHODS)} methods"


@pytest.fixture(scope="module")
def admin(world_database: ScratchDatabase) -> Iterator[psycopg.Connection]:
    with psycopg.connect(world_database.admin_dsn, autocommit=True) as connection:
        yield connection


def test_every_method_has_a_sample() -> None:
    assert SAMPLES.keys() == {name_of(method) for method in METHODS}


@pytest.mark.parametrize("method", METHODS, ids=name_of)
async def test_nothing_of_theirs_is_reached(
    method: MethodDescriptor, rivals: Rivals, admin: psycopg.Connection
) -> None:
    before = state_of(admin, rivals.theirs.tenant.tenant_id)
    found = await RpcProber(rivals.ours, rivals.theirs).probe(method)
    assert not found.leaks, "\n".join(["", *found.leaks])
    assert not changed(before, state_of(admin, rivals.theirs.tenant.tenant_id))
    rivals.denied += found.denied


def test_enough_was_tried(rivals: Rivals, request: pytest.FixtureRequest) -> None:
    if len([item for item in request.session.items if "test_nothing_of_theirs" in item.name]) < len(METHODS):
        pytest.skip("counts only when every method is probed")
    assert rivals.denied >= LEAST
