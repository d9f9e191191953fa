"""A file that one process holds at a time. The kernel lets go of it however that process ends."""

import fcntl
import os
from pathlib import Path

from bulkhead_cli.errors import MendableError


class Lock:
    def __init__(self, path: Path, what: str) -> None:
        """`what` is held, as the refusal of a second holder names it."""
        self._path = path
        self._what = what
        self._file: int | None = None

    def take(self) -> None:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 32).decode().strip() or "unknown"
            os.close(file)
            raise MendableError(
                f"{self._what} in {self._path.parent} is already run by process {holder}.",
                "stop that process first, or give another state folder.",
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
