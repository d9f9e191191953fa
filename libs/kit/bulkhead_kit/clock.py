"""The only reader of the system's clocks, so that a test can set the time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta


class Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def unix(self) -> float:
        """Seconds since 1970, for tokens and for what is sent to others."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps, for deadlines and durations."""
        return time.monotonic()


class ManualClock(Clock):
    """Stands still until told otherwise; for tests."""

    def __init__(self, at: datetime) -> None:
        if at.tzinfo is None:
            raise ValueError("a clock needs a time with a zone")
        self._now = at.astimezone(UTC)
        self._monotonic = 1000.0

    def now(self) -> datetime:
        return self._now

    def unix(self) -> float:
        return self._now.timestamp()

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Moves both clocks forward."""
        if seconds < 0:
            raise ValueError("a monotonic clock does not go back")
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds


_clock: Clock = Clock()


def now() -> datetime:
    """The time, with zone UTC."""
    return _clock.now()


def unix() -> float:
    return _clock.unix()


def monotonic() -> float:
    return _clock.monotonic()


@contextmanager
def replaced(clock: Clock) -> Iterator[None]:
    """The whole process reads this clock inside the block; for tests."""
    global _clock  # noqa: PLW0603 - the one replaceable thing; passing a clock through every call buys nothing
    before, _clock = _clock, clock
    try:
        yield
    finally:
        _clock = before
