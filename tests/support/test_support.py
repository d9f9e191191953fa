"""The test base itself: seeds that replay, and last lines that say what was not there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import seeds

ROOT = Path(__file__).resolve().parents[2]
CONFTEST = """
from tests.conftest import pytest_configure, pytest_runtest_makereport, pytest_terminal_summary, rng
"""
RANDOM_TESTS = """
from hypothesis import given, settings, strategies

def test_drawn(rng):
    assert not rng.random(), "drew"

@settings(database=None)
@given(strategies.integers(0, 10**9))
def test_given(number):
    assert number < 1000, f"was given {number}"
"""


def run(folder: Path, **environment: str) -> str:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_random.py").write_text(RANDOM_TESTS)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-c",
            "/dev/null",
            "--rootdir",
            str(folder),
            str(folder),
        ],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def drawn(output: str) -> list[str]:
    return re.findall(r"not (0\.\d+)|was given (\d+)", output)


def test_a_failing_random_test_prints_the_seed_that_replays_it(tmp_path: Path) -> None:
    first = run(tmp_path)
    printed = set(re.findall(r"BULKHEAD_TEST_SEED=(\d+)", first))
    assert len(printed) == 1
    assert "test_random.py::test_drawn'" in first
    assert "test_random.py::test_given'" in first
    again = run(tmp_path, BULKHEAD_TEST_SEED=printed.pop())
    assert drawn(first)
    assert drawn(again) == drawn(first)
    assert drawn(run(tmp_path, BULKHEAD_TEST_SEED="1")) != drawn(first)


def test_the_last_lines_name_what_was_not_there(tmp_path: Path) -> None:
    output = run(tmp_path, DOCKER_HOST="unix:///nowhere")
    assert re.search(r"=+ parts =+\n(.*\n)*Docker was not there: ", output)


def test_each_test_draws_its_own_numbers() -> None:
    assert seeds.generator("a").random() == seeds.generator("a").random()
    assert seeds.generator("a").random() != seeds.generator("b").random()


def test_an_unknown_choice_of_server_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support import postgres  # noqa: PLC0415 - patched here

    monkeypatch.setattr(postgres, "CHOICE", "oracle")
    with pytest.raises(ValueError, match="'oracle': use auto, url, docker or embedded"):
        postgres._choose()
