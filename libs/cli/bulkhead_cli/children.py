"""How child processes are started here, and how they end."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil

LAUNCH = str(Path(__file__).with_name("launch.py"))


def launching(
    program: Sequence[str],
    *,
    folder: Path,
    mode: str = "same",
    uid: int = 0,
    gid: int = 0,
    tie: signal.Signals | None = None,
) -> list[str]:
    """The command line that becomes `program`. With `tie` it gets that signal when this process dies.

    Linux ties to the thread that starts the child: start it from one that lives as long as the child should.
    """
    parent = os.getpid() if tie else 0
    words = [mode, uid, gid, parent, int(tie or 0), folder, *program]
    return [sys.executable, "-I", "-S", LAUNCH, *map(str, words)]


def kill_tree(process: psutil.Process, patience: float) -> None:
    family = [process]
    with contextlib.suppress(psutil.NoSuchProcess):
        family += process.children(recursive=True)
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    ended(family, patience)


def ended(processes: Iterable[psutil.Process], patience: float) -> bool:
    left = list(processes)
    deadline = time.monotonic() + patience
    while left := [process for process in left if is_alive(process)]:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def is_alive(process: psutil.Process) -> bool:
    """A zombie holds no memory and no lock; psutil's own wait would stay until somebody reaps it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
