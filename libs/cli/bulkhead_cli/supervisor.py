"""Keeps a set of programs running: stores what they say, starts a crashed one again, ends all of them."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from bulkhead_cli.children import kill_tree, launching

LOOK_EVERY = 0.1
STOP_PATIENCE = 20.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
# Whoever has lived this long starts again without a pause, however often it fell before.
STEADY_AFTER = 30.0
LOG_LIMIT = 20_000_000

Say = Callable[[str, str], None]
"""Takes the name of a program and a line: of its own, or about it."""


@dataclass(frozen=True)
class Program:
    name: str
    command: Sequence[str]
    environment: Mapping[str, str]


class Log:
    """The file a program writes to itself: a pipe to us would break, and the program with it, if we were killed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = path.stat().st_size if path.exists() else 0
        self._rest = b""
        self.last: deque[str] = deque(maxlen=5)

    def open(self) -> IO[bytes]:
        """Every write goes to the end, wherever that is after new_lines() has cut the file."""
        return self._path.open("ab")

    def new_lines(self) -> list[str]:
        with self._path.open("rb") as file:
            file.seek(self._read)
            found = file.read()
            self._read += len(found)
        *lines, self._rest = (self._rest + found).split(b"\n")
        if self._read > LOG_LIMIT:
            self._turn()
        texts = [line.decode(errors="backslashreplace").rstrip("\r") for line in lines]
        self.last.extend(texts)
        return texts

    def _turn(self) -> None:
        """What is written between the copy and the cut is lost; the program need not be asked to open anew."""
        shutil.copyfile(self._path, self._path.with_suffix(".log.1"))
        os.truncate(self._path, 0)
        self._read = 0


class Child:
    """One program through all its lives."""

    def __init__(self, program: Program, logs: Path, say: Say) -> None:
        self.program = program
        self.lives = 0
        self.log = Log(logs / f"{program.name}.log")
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._due = 0.0
        self._pause = FIRST_PAUSE

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        with self.log.open() as log:
            self._process = subprocess.Popen(
                launching(self.program.command, folder=Path.cwd(), tie=signal.SIGTERM),
                env=dict(self.program.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # the terminal's Ctrl-C is for the supervisor alone
            )
        self._started = time.monotonic()
        self.lives += 1

    def look(self) -> None:
        """Starts again what has ended, after a pause that doubles while it falls at once."""
        now = time.monotonic()
        if self.lives:
            self._show()
        if self._process is None:
            if now >= self._due:
                self.start()
            return
        code = self._process.poll()
        if code is None:
            return
        self._process = None
        self._show()
        lived = now - self._started
        if lived > STEADY_AFTER:
            self._pause = FIRST_PAUSE
        self._due = now + self._pause
        self._say(self.program.name, f"{cause(code)} after {lived:.1f} s; starts again in {self._pause:g} s")
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def tell_to_stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def stopped(self, deadline: float) -> bool:
        """False if it had to be killed."""
        process, self._process = self._process, None
        if process is None:
            return True
        obeyed = True
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            obeyed = False
            kill_tree(psutil.Process(process.pid), STOP_PATIENCE)
            process.wait()
        self._show()
        return obeyed

    def _show(self) -> None:
        for line in self.log.new_lines():
            self._say(self.program.name, line)


class Supervisor:
    """All children are started by one thread, which ends after them: they are tied to its life."""

    def __init__(self, programs: Sequence[Program], logs: Path, say: Say) -> None:
        self.children = [Child(program, logs, say) for program in programs]
        self._say = say
        self._logs = logs
        self._looks: list[Callable[[], None]] = [child.look for child in self.children]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def look_first(self, look: Callable[[], None]) -> None:
        """For what the children need, such as their database: it is looked after before them."""
        self._looks.insert(0, look)

    def start(self) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            for look in self._looks:
                try:
                    look()
                except Exception as error:
                    self._say("supervisor", f"{type(error).__name__}: {error}")
            self._stop.wait(LOOK_EVERY)
        self._end_all()

    def _end_all(self) -> None:
        for child in self.children:
            child.tell_to_stop()
        deadline = time.monotonic() + STOP_PATIENCE
        for child in self.children:
            if not child.stopped(deadline):
                self._say(child.program.name, f"did not stop within {STOP_PATIENCE:g} s and was killed")


def cause(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}"
    return f"was ended by {signal.Signals(-code).name}"
