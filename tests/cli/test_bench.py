"""The bench's figures: a ratio compares neighbours, and what is written is what was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bulkhead_cli.bench import report
from bulkhead_cli.bench.load import Load

CALLS = {"GetIssue", "ListIssues(1)", "ListIssues(50)", "CreateIssue", "CreateIssue with request_id", "AddComment"}


def load(cpu_us: float, latencies: int = 100) -> Load:
    return Load(latencies, 2.0, cpu_us, 10.0, [ms / 1000 for ms in range(1, latencies + 1)])


def test_the_ratio_is_the_median_of_each_rounds_own() -> None:
    pairs = [(load(300), load(100)), (load(800), load(400)), (load(500), load(100))]
    result = report.summed_up("GetIssue", 16, pairs, 2.0, 1.0)
    # Of the sums it would be 1600 / 600; of the medians 500 / 100.
    assert result.cpu_ratio == 3.0
    assert (result.p50_ms, result.p95_ms, result.p99_ms) == (51.0, 96.0, 100.0)
    assert result.rps == 50.0


@pytest.mark.soak
def test_a_short_bench_measures_every_call(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bulkhead_cli", "bench", "--rounds", "1", "--seconds", "0.2", "--json"]
    ended = subprocess.run(
        [*command, "--state", str(tmp_path)], capture_output=True, text=True, timeout=240, check=False
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    written = json.loads(ended.stdout)
    assert written == json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert set(written) - {"all"} == CALLS
    for call in CALLS:
        assert {"cpu_ratio", "pg_cpu_us", "rps", "p50_ms", "p95_ms", "p99_ms"} <= set(written[call])
        assert written[call]["cpu_ratio"] > 1
        assert written[call]["pg_cpu_us"] > 0
    # Neither grows with the page.
    for figure in ("statements", "round_trips"):
        assert written["ListIssues(50)"][figure] == written["ListIssues(1)"][figure]
    assert written["GetIssue"]["round_trips"] == 1
