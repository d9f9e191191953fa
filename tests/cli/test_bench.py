"""The bench's figures: a ratio compares neighbours, and what is written is what was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from bulkhead.identity.v1 import auth_pb2, auth_service_pb2
from bulkhead_cli.bench import report
from bulkhead_cli.bench.doors import RepeatedTokenError, Rotations
from bulkhead_cli.bench.load import Load

CALLS = {
    *("GetIssue", "ListIssues(1)", "ListIssues(50)", "CreateIssue", "CreateIssue with request_id", "AddComment"),
    *("Login", "RefreshToken", "ListMembers(50)"),
}
# At most. Login has two more than it needs now, for counting a try before its password is checked.
ROUND_TRIPS = {"GetIssue": 1, "Login": 5, "RefreshToken": 2, "ListMembers(50)": 1}


def load(cpu_us: float, latencies: int = 100) -> Load:
    return Load(latencies, 2.0, cpu_us, 10.0, [ms / 1000 for ms in range(1, latencies + 1)])


def test_the_ratio_is_the_median_of_each_rounds_own() -> None:
    pairs = [(load(300), load(100)), (load(800), load(400)), (load(500), load(100))]
    result = report.summed_up("GetIssue", 16, pairs, 2.0, 1.0)
    # Of the sums it would be 1600 / 600; of the medians 500 / 100.
    assert result.cpu_ratio == 3.0
    assert (result.p50_ms, result.p95_ms, result.p99_ms) == (51.0, 96.0, 100.0)
    assert result.rps == 50.0


def test_the_hash_is_named_apart() -> None:
    pairs = [
        (replace(load(20_800), apart_us=20_000.0), load(100)),
        (replace(load(30_500), apart_us=30_000.0), load(50)),
    ]
    result = report.summed_up("Login", 16, pairs, 2.0, 1.0)
    assert result.hash_cpu_us == 25_000.0
    assert result.cpu_ratio_without_hash == 9.0
    assert report.summed_up("GetIssue", 16, [(load(300), load(100))], 2.0, 1.0).hash_cpu_us is None


def test_a_refresh_that_repeats_a_token_is_no_rotation() -> None:
    def answer(token: str) -> bytes:
        given = auth_pb2.RefreshToken(token=token)
        return auth_service_pb2.RefreshTokenResponse(refresh_token=given).SerializeToString()

    rotations = Rotations(["a", "b"])
    sent = [auth_service_pb2.RefreshTokenRequest.FromString(rotations.following()).refresh_token for _ in range(2)]
    assert sent == ["a", "b"]
    rotations.heard(answer("c"))
    assert auth_service_pb2.RefreshTokenRequest.FromString(rotations.following()).refresh_token == "c"
    with pytest.raises(RepeatedTokenError):
        rotations.heard(answer("a"))


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
    for call, expected in ROUND_TRIPS.items():
        assert 1 <= written[call]["round_trips"] <= expected, call
    login = written["Login"]
    assert 0 < login["hash_cpu_us"] < login["cpu_us"]
    assert 1 < login["cpu_ratio_without_hash"] < login["cpu_ratio"]
