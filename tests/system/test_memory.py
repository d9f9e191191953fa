"""Strangers take no memory from a service, however much they send, and what they take comes back."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from bulkhead_kit import clock

from tests.system.site import Site

MEGABYTE = 1 << 20
MORE = 150
"""Megabytes that an attack may cost. Before anything was bounded 24 connections cost a thousand, for good."""
LEFT = 48
"""Of them, when it is over: what returning would not be worth the while."""
GIVEN_BACK_WITHIN = 60.0

IMPORT = "/bulkhead.issues.v1.ImportService/ImportItems"
CREATE = "/bulkhead.issues.v1.IssueService/CreateIssue"
HEALTH = "/grpc.health.v1.Health/Check"
ATTACKS = [
    pytest.param(IMPORT, "upload", 1, id="uploads from one address"),
    pytest.param(IMPORT, "upload", 20, id="uploads from twenty addresses"),
    pytest.param(CREATE, "hold", 20, id="requests that never end"),
    pytest.param(HEALTH, "hold", 20, id="health checks that never end"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site")).started() as made:
        yield made


@contextmanager
def attack(site: Site, path: str, kind: str, connections: int, addresses: int, calls: int) -> Iterator[None]:
    numbers = [str(number) for number in (connections, addresses, calls)]
    command = [sys.executable, "-m", "tests.support.hostile", site.addresses["issues"], path, *numbers, kind]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline(), "the attack has not begun"
        yield
        assert process.poll() is None, "the attack has ended by itself"
    finally:
        process.kill()
        process.communicate()


def attacked(site: Site, path: str, kind: str, connections: int, addresses: int, seconds: float) -> None:
    service = psutil.Process(site.running["issues"].process.pid)
    before = peak = service.memory_info().rss
    with attack(site, path, kind, connections, addresses, calls=5):
        ends = clock.monotonic() + seconds
        while clock.monotonic() < ends:
            peak = max(peak, service.memory_info().rss)
            time.sleep(0.05)
    print(f"{path} {kind}: {before // MEGABYTE} MB, at most {(peak - before) // MEGABYTE} more")
    assert peak - before < MORE * MEGABYTE
    ends = clock.monotonic() + GIVEN_BACK_WITHIN
    while service.memory_info().rss - before > LEFT * MEGABYTE:
        assert clock.monotonic() < ends, "not given back"
        time.sleep(0.2)


@pytest.mark.parametrize(("path", "kind", "addresses"), ATTACKS)
def test_a_few_strangers_cost_little(site: Site, path: str, kind: str, addresses: int) -> None:
    attacked(site, path, kind, connections=24, addresses=addresses, seconds=2.0)


@pytest.mark.soak
@pytest.mark.parametrize(("path", "kind", "addresses"), ATTACKS)
def test_many_strangers_cost_little(site: Site, path: str, kind: str, addresses: int) -> None:
    attacked(site, path, kind, connections=200, addresses=addresses, seconds=20.0)
