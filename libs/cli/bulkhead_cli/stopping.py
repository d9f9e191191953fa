"""Being asked to stop by a signal."""

import signal
import time
from types import FrameType

LOOK_EVERY = 0.1


class StoppedError(Exception):
    """A stop was asked for before the start was through."""


class StopRequest:
    """Not a threading.Event: its set() in a signal handler waits for a lock that the interrupted wait() may hold."""

    def __init__(self) -> None:
        self.asked = False

    def listen(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)

    def wait(self, seconds: float | None = None) -> bool:
        end = None if seconds is None else time.monotonic() + seconds
        while not self.asked and (end is None or time.monotonic() < end):
            time.sleep(LOOK_EVERY if seconds is None else min(LOOK_EVERY, seconds))
        return self.asked

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            # Asked twice: the children are tied to this process and stop on their own.
            signal.raise_signal(signal.SIGKILL)
        self.asked = True
