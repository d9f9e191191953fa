"""A company and a project of its own for every test."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.builders import make_project
from tests.support.house import House, Tenant


@pytest.fixture(name="tenant")
async def fixture_tenant(house: House) -> Tenant:
    return await house.tenant("acme")


@pytest.fixture(name="stranger")
async def fixture_stranger(house: House) -> Tenant:
    """Another company."""
    return await house.tenant("globex")


@pytest.fixture(name="project")
async def fixture_project(tenant: Tenant) -> Any:
    return await make_project(tenant.owner)
