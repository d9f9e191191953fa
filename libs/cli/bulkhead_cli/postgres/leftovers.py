"""What a killed run may have left: a live server without a master, orphaned backends, a stale pid file."""

import contextlib
import signal
from pathlib import Path

import psutil

from bulkhead_cli.children import ended, kill_tree

PATIENCE = 15.0


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
