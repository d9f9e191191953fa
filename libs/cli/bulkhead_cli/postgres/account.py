"""Under which identity PostgreSQL can run here: as root it needs another one, and not every way is open."""

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bulkhead_cli.children import launching
from bulkhead_cli.errors import MendableError

# Nothing of the caller's environment reaches the server: PGPORT or PGDATA there would change what it does.
ENVIRONMENT: Mapping[str, str] = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"}


@dataclass(frozen=True)
class Account:
    """`mode` is one of launch.py's: plain, namespace, account, account-reaching."""

    mode: str
    uid: int
    gid: int

    def own(self, path: Path) -> None:
        """The whole tree: the cluster may come from a run under another identity."""
        if path.stat().st_uid == self.uid:
            return
        for folder, _, files in os.walk(path):
            for name in files:
                os.chown(Path(folder) / name, self.uid, self.gid, follow_symlinks=False)
            os.chown(folder, self.uid, self.gid)

    def command(self, folder: Path, program: Sequence[str], *, tied: bool = False) -> list[str]:
        return launching(
            program, folder=folder, mode=self.mode, uid=self.uid, gid=self.gid, tie=signal.SIGINT if tied else None
        )

    def run(
        self, folder: Path, program: Sequence[str], output: IO[bytes] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.command(folder, program),
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=output or subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )


def choose(folder: Path, postgres: str) -> Account:
    """The first way that really starts `postgres` with `folder` writable; the folder then belongs to it."""
    refusals = []
    for account in ways(folder):
        account.own(folder)
        answer = account.run(folder, [postgres, "--version"])
        if answer.returncode == 0:
            return account
        refusals.append(f"{account.mode}: {answer.stdout.decode(errors='replace').strip()}")
    raise MendableError(
        f"PostgreSQL cannot run as this user ({'; '.join(refusals)}).",
        "start as an ordinary user, or set BULKHEAD_DATABASE_URL to a running server.",
    )


def ways(folder: Path) -> Iterator[Account]:
    if os.geteuid() != 0:
        yield Account("plain", os.geteuid(), os.getegid())
        return
    if folder.stat().st_uid == 0 and sys.platform == "linux":
        yield Account("namespace", 0, 0)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        yield Account("account", entry.pw_uid, entry.pw_gid)
        if sys.platform == "linux":
            yield Account("account-reaching", entry.pw_uid, entry.pw_gid)
