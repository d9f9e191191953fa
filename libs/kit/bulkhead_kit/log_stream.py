"""Where log lines go: a thread writes them, so that a disk or a reader that does not take them holds up no call.

A stream can be full, closed or stuck at any time. Lines then wait in memory up to a bound, are dropped beyond it, and
are counted; once the stream takes lines again, one of them says how many are missing.
"""

from __future__ import annotations

import atexit
import os
import select
import threading
from collections.abc import Callable
from typing import BinaryIO, Final, Protocol

from prometheus_client import REGISTRY, CollectorRegistry, Counter

LIMIT: Final = 4 * 1024 * 1024
"""Bytes that wait: some ten thousand lines."""
_LINE_END: Final = ord("\n")
_LAST_WORDS: Final = 1.0
"""Seconds that the end of a process waits for its lines."""


class LogStream(Protocol):
    def write(self, lines: bytes) -> None:
        """Whole lines, each with its end. Returns at once and never raises."""


class DirectStream:
    """For tests, which read what was written at once."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def write(self, lines: bytes) -> None:
        self._out.write(lines)
        self._out.flush()


class BackgroundStream:
    """Writes to a file descriptor from a thread of its own.

    `told` makes the line that says how many are missing.
    """

    def __init__(
        self,
        descriptor: int,
        told: Callable[[int], bytes],
        *,
        limit: int = LIMIT,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._descriptor = descriptor
        self._told = told
        self._limit = limit
        self._changed = threading.Condition()
        self._waiting: list[bytes] = []
        self._size = 0
        self._writing = False
        self._missing = 0
        self._is_cut = False
        self._dropped = _counter(registry)
        threading.Thread(target=self._run, name="log", daemon=True).start()
        atexit.register(self.flush)

    def write(self, lines: bytes) -> None:
        with self._changed:
            if self._size + len(lines) > self._limit:
                self._drop(lines, "full")
                return
            self._waiting.append(lines)
            self._size += len(lines)
            if not self._writing:
                self._changed.notify_all()

    def flush(self, timeout: float = _LAST_WORDS) -> bool:
        """Whether everything was written, or dropped, in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._writing, timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting)
                self._writing = True
                lines, self._waiting = b"".join(self._waiting), []
            self._put(lines)
            with self._changed:
                self._size -= len(lines)

    def _put(self, lines: bytes) -> None:
        """Half a line, left by a write that failed, is ended before the next."""
        missing = self._missing
        before = b"\n" if self._is_cut else b""
        before += self._told(missing) if missing else b""
        data = before + lines
        written = self._write(data)
        if written:
            self._is_cut = data[written - 1] != _LINE_END
        with self._changed:
            if written >= len(before):
                self._missing -= missing
            if written < len(data):
                self._drop(data[max(written, len(before)) :], "failed")

    def _write(self, data: bytes) -> int:
        """How many bytes the stream took before it failed."""
        done = 0
        while done < len(data):
            try:
                done += os.write(self._descriptor, data[done : done + 65_536])
            except BlockingIOError:
                # Somebody who shares the terminal or the pipe has made it non-blocking.
                select.select([], [self._descriptor], [], 1.0)
            except OSError:
                break
        return done

    def _drop(self, lines: bytes, reason: str) -> None:
        count = lines.count(b"\n")
        self._missing += count
        self._dropped.labels(reason).inc(count)


def standard_error(told: Callable[[int], bytes]) -> BackgroundStream:
    """The one of this process, made once; a second call changes what is told."""
    global _standard_error  # noqa: PLW0603 - there is one standard error
    if _standard_error is None:
        _standard_error = BackgroundStream(2, told)
    _standard_error._told = told
    return _standard_error


_standard_error: BackgroundStream | None = None


def _counter(registry: CollectorRegistry) -> Counter:
    known = _counters.get(registry)
    if known is None:
        known = _counters[registry] = Counter(
            "bulkhead_log_lines_dropped",
            "Log lines that were not written: the stream failed, or too many waited for it.",
            ["reason"],
            registry=registry,
        )
        for reason in ("full", "failed"):
            known.labels(reason)
    return known


_counters: dict[CollectorRegistry, Counter] = {}
