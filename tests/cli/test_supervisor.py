"""The supervisor on small programs of its own: what they say is kept, the fallen rise, nobody is left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from bulkhead_cli import supervisor
from bulkhead_cli.supervisor import Program, Supervisor

STEADY = "import time\nprint('ready', flush=True)\ntime.sleep(600)"
FALLING = "print('I fall'); raise SystemExit(3)"
# Says what it was told, and obeys.
POLITE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print('goodbye', flush=True), sys.exit(0)))
print('ready', flush=True)
time.sleep(600)
"""
DEAF = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(600)"
WITH_CHILD = """
import subprocess, sys, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
print('child', child.pid, flush=True)
time.sleep(600)
"""


class Said:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __call__(self, name: str, line: str) -> None:
        self.lines.append((name, line))

    def of(self, name: str) -> list[str]:
        return [line for said, line in self.lines if said == name]


def program(name: str, text: str) -> Program:
    return Program(name, [sys.executable, "-c", text], dict(os.environ))


def until(check: Callable[[], object], within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    while not check():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def run(tmp_path: Path, said: Said) -> Iterator[Callable[..., Supervisor]]:
    started: list[Supervisor] = []
    before = psutil.Process().children()

    def start(**texts: str) -> Supervisor:
        made = Supervisor([program(*item) for item in texts.items()], tmp_path / "logs", said)
        started.append(made)
        made.start()
        return made

    yield start
    for made in started:
        made.stop()
    assert [process for process in psutil.Process().children() if process not in before] == []


def test_what_a_program_says_is_shown_and_kept(run: Callable[..., Supervisor], said: Said, tmp_path: Path) -> None:
    run(one=STEADY, two=STEADY)
    until(lambda: said.of("one") and said.of("two"))
    assert said.of("one") == ["ready"]
    assert (tmp_path / "logs" / "two.log").read_text() == "ready\n"


def test_a_killed_program_is_started_again_alone(run: Callable[..., Supervisor], said: Said) -> None:
    made = run(one=STEADY, two=STEADY)
    until(lambda: len(said.of("one")) + len(said.of("two")) == 2)
    one, two = made.children
    first, other = one.pid, two.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    until(lambda: one.lives == 2 and said.of("one")[-1] == "ready")
    assert one.pid != first
    assert two.pid == other
    assert any("was ended by SIGKILL" in line for line in said.of("one"))


def test_the_pause_doubles_while_a_program_falls_at_once(
    run: Callable[..., Supervisor], said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE", 0.1)
    made = run(bad=FALLING)
    until(lambda: made.children[0].lives == 4)
    pauses = [line.rpartition(" in ")[2] for line in said.of("bad") if "starts again" in line]
    assert pauses[:3] == ["0.1 s", "0.2 s", "0.4 s"]
    assert any(line.startswith("ended with status 3") for line in said.of("bad"))


def test_a_program_that_lived_long_starts_without_the_long_pause(
    run: Callable[..., Supervisor], said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE", 0.1)
    monkeypatch.setattr(supervisor, "STEADY_AFTER", 0.0)
    made = run(bad=FALLING)
    until(lambda: made.children[0].lives == 4)
    assert not any("in 0.4 s" in line for line in said.of("bad"))


def test_stopping_asks_first(run: Callable[..., Supervisor], said: Said) -> None:
    made = run(one=POLITE)
    until(lambda: said.of("one") == ["ready"])
    made.stop()
    assert said.of("one") == ["ready", "goodbye"]


def test_the_deaf_are_killed_with_their_children_and_named(
    run: Callable[..., Supervisor], said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "STOP_PATIENCE", 0.5)
    made = run(deaf=WITH_CHILD, polite=POLITE)
    until(lambda: said.of("deaf") and said.of("polite"))
    grandchild = int(said.of("deaf")[0].split()[1])
    made.stop()
    assert any("was killed" in line for line in said.of("deaf"))
    assert said.of("polite")[-1] == "goodbye"
    until(lambda: not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE)


def broken() -> None:
    raise LookupError("nothing to see")


def test_a_look_that_breaks_stops_nobody(tmp_path: Path, said: Said) -> None:
    made = Supervisor([program("one", STEADY)], tmp_path, said)
    made.look_first(broken)
    made.start()
    until(lambda: said.of("one") and said.of("supervisor"))
    made.stop()
    assert said.of("supervisor")[0] == "LookupError: nothing to see"


def test_a_killed_supervisor_takes_its_programs_with_it(tmp_path: Path) -> None:
    script = f"""
import os, sys, time
from pathlib import Path
from bulkhead_cli.supervisor import Program, Supervisor
one = Program("one", [sys.executable, "-c", {STEADY!r}], dict(os.environ))
made = Supervisor([one], Path({str(tmp_path)!r}), lambda *_: None)
made.start()
while not made.children[0].pid: time.sleep(0.01)
print(made.children[0].pid, flush=True)
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    until(lambda: (tmp_path / "one.log").exists() and "ready" in (tmp_path / "one.log").read_text())
    process.kill()
    process.wait()
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_a_full_log_is_turned_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LOG_LIMIT", 100)
    log = supervisor.Log(tmp_path / "one.log")
    seen = []
    with log.open() as writer:
        for number in range(20):
            writer.write(f"line {number:04}\nha".encode())
            writer.flush()
            seen += log.new_lines()
            writer.write(b"lf\n")
            writer.flush()
    seen += log.new_lines()
    assert seen == [line for number in range(20) for line in (f"line {number:04}", "half")]
    assert (tmp_path / "one.log").stat().st_size <= 120
    assert (tmp_path / "one.log.1").stat().st_size <= 120


def test_an_earlier_runs_lines_are_not_shown(run: Callable[..., Supervisor], said: Said, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "one.log").write_text("yesterday\n")
    run(one=STEADY)
    until(lambda: said.of("one"))
    assert said.of("one") == ["ready"]
