"""`bulkhead keys rotate` and `prune` as a person runs them, and what doctor says in between."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bulkhead_cli import doctor
from bulkhead_kit import clock, keyrotation
from bulkhead_kit.keyfiles import ACCESS, generate_keys


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    generate_keys(tmp_path)
    return tmp_path


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bulkhead_cli", "keys", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def verdict(keys: Path, name: str = ACCESS) -> tuple[str, str]:
    finding = doctor.key_rotation(keys, name)
    return finding.verdict, finding.mend


def test_a_rotation_from_end_to_end(keys: Path) -> None:
    before = keyrotation.state_of(keys, ACCESS)
    assert verdict(keys) == ("ok", "")

    assert run("rotate", ACCESS, "--directory", keys, "--publish-only").returncode == 0
    state = keyrotation.state_of(keys, ACCESS)
    assert state.signs == before.signs
    assert state.upcoming in state.published
    assert verdict(keys) == ("note", "bulkhead keys rotate access")

    answer = run("rotate", ACCESS, "--directory", keys, "--overlap", 0)
    assert answer.returncode == 0, answer.stderr
    assert f"{state.upcoming} signs" in answer.stdout
    assert keyrotation.state_of(keys, ACCESS).retired == (before.signs,)
    assert verdict(keys) == ("ok", "")

    answer = run("prune", "--directory", keys)
    assert answer.returncode == 1
    assert f"{before.signs} may have signed living tokens for another" in answer.stdout
    age = clock.unix() - keyrotation.KEEP_SECONDS - 1
    os.utime(keys / "access.private.pem", (age, age))
    assert verdict(keys) == ("note", "bulkhead keys prune access")
    answer = run("prune", "--directory", keys)
    assert (answer.returncode, f"{before.signs} is forgotten" in answer.stdout) == (0, True)
    assert keyrotation.state_of(keys, ACCESS).retired == ()


def test_without_a_name_every_key_held_here_is_rotated(keys: Path) -> None:
    for name in ("identity", "audit"):
        (keys / f"{name}.private.pem").unlink()
    before = {path.name: path.read_bytes() for path in keys.iterdir()}
    assert run("rotate", "--directory", keys, "--overlap", 0).returncode == 0
    changed = {path.name for path in keys.glob("*.pem") if before[path.name] != path.read_bytes()}
    assert changed == {f"{name}.{part}.pem" for name in (ACCESS, "issues") for part in ("private", "public")}


def test_two_at_once_make_one_new_key(keys: Path) -> None:
    command = [sys.executable, "-m", "bulkhead_cli", "keys", "rotate", ACCESS, "--directory", str(keys)]
    both = [subprocess.Popen([*command, "--overlap", "4"], stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    state = keyrotation.state_of(keys, ACCESS)
    assert (len(state.published), len(state.retired), state.upcoming) == (2, 1, None)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["rotate", "gateway"], "holds no private key named gateway"),
        (["prune", "--directory", "nowhere"], "nowhere holds no private key"),
    ],
)
def test_what_cannot_be_done_is_said(keys: Path, words: list[str], complaint: str) -> None:
    answer = run(*words, *([] if "--directory" in words else ["--directory", keys]))
    assert answer.returncode == 1
    assert complaint in answer.stderr.replace("\n", " ")
    assert "To mend it" in answer.stderr


def test_doctor_sees_keys_that_cannot_work(keys: Path) -> None:
    other = keys / "other"
    generate_keys(other)
    (keys / "access.public.pem").write_bytes((other / "access.public.pem").read_bytes())
    assert verdict(keys) == ("broken", "bulkhead keys rotate access")
    (keys / "access.public.pem").write_text("nothing")
    assert verdict(keys)[0] == "broken"
    age = clock.unix() - 400 * 86400
    os.utime(keys / "audit.private.pem", (age, age))
    assert verdict(keys, "audit") == ("note", "bulkhead keys rotate audit")
