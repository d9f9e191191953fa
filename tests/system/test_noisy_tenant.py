"""One tenant calls as fast as it can; what another's calls cost beside that, over a service in a process of its own."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from tests.support.builders import make_issue, make_project
from tests.support.client import Client
from tests.support.house import House, Tenant
from tests.support.served import served

NOISE = 60
"""Calls of the noisy tenant at once."""
BOUND = 12.0
"""How many times as long a call of the quiet tenant may take beside the noise, at the median."""


async def times(call: Callable[[], Awaitable[Any]], count: int) -> list[float]:
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        await call()
        taken.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(0.005)
    return taken


class Noise:
    """Lists of a hundred issues, again as soon as they are there."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.taken: list[float] = []
        self.refused = 0
        self._loud = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def _call(self) -> None:
        while True:
            began = time.perf_counter()
            try:
                await self._client.issues.ListIssues(page_size=100)
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                self.refused += 1
                await asyncio.sleep(0.02)
            else:
                self.taken.append((time.perf_counter() - began) * 1000)
                if len(self.taken) == NOISE:
                    self._loud.set()

    async def __aenter__(self) -> Noise:
        self._tasks = [asyncio.create_task(self._call()) for _ in range(NOISE)]
        await asyncio.wait_for(self._loud.wait(), 60)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            assert not task.done(), task
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def furnished(house: House, slug: str, issues: int) -> tuple[Tenant, list[Any]]:
    tenant = await house.tenant(slug)
    project = await make_project(tenant.owner)
    return tenant, [await make_issue(tenant.owner, project.project_id) for _ in range(issues)]


@pytest.mark.parametrize("method", [pytest.param("GetIssue", marks=pytest.mark.soak), "CreateIssue"])
async def test_others_are_slowed_by_less_than_the_stated_bound(method: str, house: House, tmp_path: Path) -> None:
    noisy, _ = await furnished(house, "noisy", 100)
    quiet, (issue,) = await furnished(house, "quiet", 1)
    async with served(house, tmp_path, "issues", RATE_PER_PRINCIPAL="off", RATE_PER_TENANT="off") as channel:
        client = Client({"issues": channel}, quiet.owner.metadata)

        async def call() -> Any:
            if method == "GetIssue":
                return await client.issues.GetIssue(issue_id=issue.issue_id)
            return await make_issue(client, issue.project_id)

        await times(call, 30)
        alone = await times(call, 100)
        async with Noise(Client({"issues": channel}, noisy.owner.metadata)) as noise:
            beside = await times(call, 100)
    ratio = statistics.median(beside) / statistics.median(alone)
    print(
        f"{method} of a quiet tenant: {statistics.median(alone):.1f} ms alone, {statistics.median(beside):.1f} ms "
        f"beside {NOISE} calls of a noisy one at once ({ratio:.1f} times; the bound is {BOUND:.0f}), whose own took "
        f"{statistics.median(noise.taken):.0f} ms; {noise.refused} of its {len(noise.taken) + noise.refused} refused"
    )
    assert ratio < BOUND
    assert statistics.median(beside) < statistics.median(noise.taken) / 2
