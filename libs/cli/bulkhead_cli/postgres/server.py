"""One private PostgreSQL server as a child of this process."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import psutil

from bulkhead_cli.children import kill_tree
from bulkhead_cli.errors import MendableError
from bulkhead_cli.lock import Lock
from bulkhead_cli.ports import HOST, Ports
from bulkhead_cli.postgres import account, binaries, leftovers

SUPERUSER = "postgres"
START_PATIENCE = 300.0  # recovery after a kill reads all WAL since the last checkpoint
STOP_PATIENCE = 15.0
LOG_LIMIT = 20_000_000
# Linux allows 107 bytes for the path of a socket, to which PostgreSQL adds its name. Above: TCP only.
SOCKET_FOLDER_LIMIT = 80

SETTINGS: Mapping[str, str] = {
    "listen_addresses": HOST,
    "max_connections": "200",
    "shared_buffers": "256MB",
    "jit": "off",
    "autovacuum_naptime": "5s",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# For tests: a power cut may destroy the data, a kill -9 not, because the kernel has every page and all WAL.
# (synchronous_commit stays on: without it a kill loses the last commits.) Most databases of a test live for seconds.
CARELESS: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off", "autovacuum_naptime": "60s"}


@dataclass(frozen=True)
class Server:
    host: str
    port: int
    superuser: str
    password: str = field(repr=False)
    socket_folder: Path | None
    pid: int
    version: str

    @property
    def dsn(self) -> str:
        return self.dsn_for()

    def dsn_for(self, database: str = "postgres", user: str | None = None, password: str | None = None) -> str:
        name, secret = (user, password) if user else (self.superuser, self.password)
        login = f"{name}:{quote(secret, safe='')}" if secret else name
        return f"postgresql://{login}@{self.host}:{self.port}/{database}"


class EmbeddedPostgres:
    """Keeps everything below `state`: start() makes the cluster the first time and reuses it from then on."""

    def __init__(
        self,
        state: Path,
        *,
        durable: bool = True,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.state = state.resolve()
        self.cluster = self.state / "cluster"
        self.data = self.cluster / "data"
        self.log = self.state / "postgres.log"
        self._durable = durable
        self._ports = Ports(self.state / "port", wanted=port)
        self._settings = dict(settings or {})
        self._lock = Lock(self.state / "lock", "PostgreSQL")
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Server:
        if self._process is not None:
            raise MendableError("This PostgreSQL is already started.", "call stop() first.")
        # The kernel ties a child to the thread that made it: from a short-lived one it would die too early.
        return self._guarded(tied=threading.current_thread() is threading.main_thread())

    def restart(self, server: Server) -> Server:
        """After a crash, at the address everybody knows. Call it in a thread that lives as long as the server."""
        self.kill()
        self._ports = Ports(self.state / "port", wanted=server.port)
        return self._guarded(tied=True)

    def _guarded(self, *, tied: bool) -> Server:
        self._take_state()
        try:
            return self._start(tied=tied)
        except BaseException:
            self.kill()
            raise

    def _take_state(self) -> None:
        try:
            self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock.take()
        except PermissionError as error:
            raise MendableError(
                f"{self.state} belongs to another user ({error.strerror}).",
                f"run as that user, give another state folder, or chown -R {os.geteuid()} {self.state}.",
            ) from error

    def _start(self, *, tied: bool) -> Server:
        programs = binaries.find(self._major())
        self.cluster.mkdir(exist_ok=True, mode=0o700)
        # Before the identity is chosen: that may change the owner of the folder.
        leftovers.clear(self.cluster)
        who = account.choose(self.cluster, programs["postgres"])
        self._initdb(who, programs)
        password = self._password_file().read_text(encoding="ascii").strip()
        for port in self._ports.offers():
            pid = self._launch(who, programs, port, tied=tied)
            if self._ready():
                self._ports.remember(port)
                return Server(HOST, port, SUPERUSER, password, self._socket_folder(who), pid, programs.version)
        raise self._ports.taken()

    def _major(self) -> int | None:
        version = self.data / "PG_VERSION"
        return int(version.read_text(encoding="ascii")) if version.exists() else None

    def _initdb(self, who: account.Account, programs: binaries.Binaries) -> None:
        if self.data.exists():
            return
        # Made beside and then renamed: a run killed in the middle leaves nothing that looks like a cluster.
        fresh = self.cluster / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        pwfile = self.cluster / "pwfile"
        pwfile.write_text(self._new_password(), encoding="ascii")
        pwfile.chmod(0o600)
        os.chown(pwfile, who.uid, who.gid)
        words = f"-U {SUPERUSER} -A scram-sha-256 -E UTF8 --locale=C.UTF-8 --no-instructions".split()
        if not self._durable:
            words.append("--no-sync")
        program = [programs["initdb"], "-D", str(fresh), "--pwfile", str(pwfile), *words]
        answer = who.run(self.cluster, program)
        pwfile.unlink()
        if answer.returncode != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            raise MendableError(
                f"initdb failed: {answer.stdout.decode(errors='replace').strip()}",
                f"see whether the disk is full and {self.cluster} is writable.",
            )
        fresh.rename(self.data)

    def _password_file(self) -> Path:
        file = self.state / "superuser-password"
        if not file.exists():
            raise MendableError(
                f"{file} is gone, and the data was made with it.",
                f"put the file back, or delete {self.state} and start with empty data.",
            )
        return file

    def _new_password(self) -> str:
        file = self.state / "superuser-password"
        file.touch(mode=0o600)
        file.chmod(0o600)
        password = secrets.token_urlsafe(24)
        file.write_text(password + "\n", encoding="ascii")
        return password

    def _socket_folder(self, who: account.Account) -> Path | None:
        folder = self.cluster / "socket"
        if len(str(folder)) > SOCKET_FOLDER_LIMIT:
            return None
        folder.mkdir(exist_ok=True, mode=0o700)
        who.own(folder)
        return folder

    def _launch(self, who: account.Account, programs: binaries.Binaries, port: int, *, tied: bool) -> int:
        settings = {
            **SETTINGS,
            **({} if self._durable else CARELESS),
            **self._settings,
            "port": str(port),
            "unix_socket_directories": str(self._socket_folder(who) or ""),
        }
        program = [programs["postgres"], "-D", str(self.data)]
        for name, value in settings.items():
            program += ["-c", f"{name}={value}"]
        self._turn_log()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                who.command(self.cluster, program, tied=tied),
                env=account.ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # the terminal's Ctrl-C is the supervisor's: it stops services first
            )
        return self._process.pid

    def _turn_log(self) -> None:
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))
        self._log_start = self.log.stat().st_size if self.log.exists() else 0

    def _ready(self) -> bool:
        """False when the port was taken in the last moment."""
        process = self._process
        assert process is not None
        deadline = time.monotonic() + START_PATIENCE
        while time.monotonic() < deadline:
            if self._reports_ready(process.pid):
                return True
            if process.poll() is not None:
                self._process = None
                said = self._said()
                if "could not create any TCP/IP sockets" in said or "Address already in use" in said:
                    return False
                raise MendableError(f"PostgreSQL did not start: {said[-2000:].strip()}", f"read {self.log}.")
            time.sleep(0.02)
        raise MendableError(f"PostgreSQL was not ready after {START_PATIENCE:.0f} s.", f"read {self.log}.")

    def _reports_ready(self, pid: int) -> bool:
        with contextlib.suppress(OSError, IndexError):
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            return lines[0].strip() == str(pid) and lines[7].strip() == "ready"
        return False

    def _said(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Fast shutdown: open sessions are ended, everything committed is on disk."""
        process = self._process
        if process is not None:
            for number, patience in ((signal.SIGINT, STOP_PATIENCE), (signal.SIGQUIT, 5.0)):
                with contextlib.suppress(subprocess.TimeoutExpired, ProcessLookupError):
                    process.send_signal(number)
                    process.wait(patience)
                    break
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the whole server, as a crash would; start() afterwards recovers."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                kill_tree(psutil.Process(process.pid), STOP_PATIENCE)
            process.wait()
        self._lock.release()
