"""What a killed run may have left: a live server without a master, orphaned backends, a stale pid file."""

import contextlib
import fcntl
import os
import signal
from pathlib import Path

import psutil

from bulkhead_cli.children import ended, kill_tree
from bulkhead_cli.errors import MendableError

PATIENCE = 15.0


class Lock:
    """Held as long as one process runs this cluster; the kernel lets it go however that process ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def take(self) -> None:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(file, 32).decode().strip() or "unknown"
            os.close(file)
            raise MendableError(
                f"PostgreSQL in {self._path.parent} is already run by process {holder}.",
                "stop that process first, or give another state folder.",
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def clear(cluster: Path) -> None:
    """Call with the lock held: then every server on this cluster is an orphan."""
    data = cluster / "data"
    pid_file = data / "postmaster.pid"
    if pid_file.exists():
        for process in servers_on(data):
            end(process)
    # The number in these may be another program's by now, or a zombie's, and PostgreSQL would believe it.
    for stale in (pid_file, *(cluster / "socket").glob(".s.PGSQL.*")):
        stale.unlink(missing_ok=True)


def end(process: psutil.Process) -> None:
    """A postmaster stops its backends; a backend without one is only in the way."""
    if is_postmaster(process):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)
        if ended([process], PATIENCE):
            return
    kill_tree(process, PATIENCE)


def servers_on(data: Path) -> list[psutil.Process]:
    """Every server process works in its data folder; postmasters come first."""
    found = [process for process in psutil.process_iter() if works_on(process, data)]
    return sorted(found, key=lambda process: not is_postmaster(process))


def works_on(process: psutil.Process, data: Path) -> bool:
    try:
        return process.name().startswith("postgres") and process.cwd() == str(data)
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return False


def is_postmaster(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return "-D" in process.cmdline()
    return False
