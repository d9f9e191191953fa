"""A PgBouncer of the tests' own, in transaction mode unless another is asked for."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support.postgres import LOGINS, PostgresServer, ScratchDatabase, password_of

# Where Debian puts it is not on the path of every login.
PROGRAM = shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
needs_pgbouncer = pytest.mark.skipif(
    PROGRAM is None, reason="pgbouncer is not installed; the last lines of pytest say so too"
)


class PgBouncer:
    """Few connections to the server, so that clients do share them. Every login of the tests may come in."""

    def __init__(
        self, server: PostgresServer, *, size: int = 2, mode: str = "transaction", forced: str = "", ignored: str = ""
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._server = server
        # Not of pytest's folders, which belong to root where root tests.
        self._temporary = tempfile.TemporaryDirectory(prefix="bulkhead-pgbouncer-")
        self._folder = Path(self._temporary.name)
        self._settings = f"""
            pool_mode = {mode}
            default_pool_size = {size}
            max_client_conn = 400
            ignore_startup_parameters = {ignored}
            """
        self._login = f" user={forced} password={password_of(forced)}" if forced else ""
        self._process: subprocess.Popen[bytes] | None = None

    def through(self, database: ScratchDatabase) -> ScratchDatabase:
        """The same database for logins; who needs a connection of their own still comes to it directly."""
        return replace(database, pooler=self._here())

    def relays(self, database: ScratchDatabase, login: str) -> str:
        """What no relay may do."""
        return self._here().url(database.name, login, password_of(login))

    def administrators(self, database: ScratchDatabase) -> str:
        return self._here().admin_url(database.name)

    def _here(self) -> PostgresServer:
        return replace(self._server, host="127.0.0.1", port=self.port)

    def __enter__(self) -> Self:
        self._write()
        assert PROGRAM is not None
        with (self._folder / "pgbouncer.log").open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, str(self._folder / "pgbouncer.ini")], stdout=log, stderr=log, user=_who_may_run_it()
            )
        give_up = time.monotonic() + 10
        while not self._answers():
            assert time.monotonic() < give_up, (self._folder / "pgbouncer.log").read_text()
            time.sleep(0.02)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        assert process is not None
        process.kill()
        process.wait()
        self._temporary.cleanup()

    def _write(self) -> None:
        files = {
            "users.txt": "".join(f'"{login}" "{password_of(login)}"\n' for login in LOGINS)
            + f'"{self._server.user}" "{self._server.password}"\n',
            "pgbouncer.ini": f"[databases]\n* = host={self._server.host} port={self._server.port}{self._login}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = plain\n"
            f"auth_file = {self._folder / 'users.txt'}\n"
            + "\n".join(line.strip() for line in self._settings.splitlines())
            + "\n",
        }
        for name, text in files.items():
            (self._folder / name).write_text(text)
        # It will not run as root, and who it runs as instead must come to its files.
        if (user := _who_may_run_it()) is not None:
            for path in (self._folder, *self._folder.iterdir()):
                os.chown(path, user, -1)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False


def _who_may_run_it() -> int | None:
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
