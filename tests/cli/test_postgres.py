"""The embedded server: each identity it can run under, each way a run can end, what the next start finds."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from bulkhead_cli import ports
from bulkhead_cli.children import kill_tree
from bulkhead_cli.errors import MendableError
from bulkhead_cli.postgres import EmbeddedPostgres, account, binaries, leftovers

NOBODY = 65534
AS_ROOT = os.geteuid() == 0
# A process that starts the server, says where it is, and stays.
HOLDER = """
import sys, time
from pathlib import Path
from bulkhead_cli.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), durable=False).start()
print(server.pid, server.dsn, flush=True)
time.sleep(600)
"""


@pytest.fixture
def state() -> Iterator[Path]:
    """Not tmp_path: other users must be able to pass, and a socket's path must be short."""
    folder = Path(tempfile.mkdtemp(prefix="bh-"))
    folder.chmod(0o755)
    yield folder / "pg"
    for process in leftovers.servers_on(folder / "pg" / "cluster" / "data"):
        kill_tree(process, 10)
    shutil.rmtree(folder)


def rows(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        found = connection.execute("select count(*) from kept").fetchone()
    assert found is not None
    return int(found[0])


def add_row(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("create table if not exists kept (n bigint)")
        connection.execute("insert into kept values (1)")


def gone(pid: int, within: float = 20.0) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def holder(state: Path, mode: str = "plain", uid: int = os.geteuid()) -> tuple[subprocess.Popen[str], int, str]:
    process = subprocess.Popen(
        account.Account(mode, uid, uid).command(state.parent, [sys.executable, "-c", HOLDER, str(state)])
        if mode != "plain"
        else [sys.executable, "-c", HOLDER, str(state)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    if not line:
        process.wait()
        raise RuntimeError(process.stderr.read())
    pid, dsn = line.split()
    return process, int(pid), dsn


def test_second_start_finds_the_data_on_the_same_port(state: Path) -> None:
    with EmbeddedPostgres(state, durable=False) as first:
        add_row(first.dsn)
    with EmbeddedPostgres(state, durable=False) as second:
        assert rows(second.dsn) == 1
        assert second.port == first.port
    assert gone(second.pid)


def test_letters_beyond_ascii_have_a_case(state: Path) -> None:
    with EmbeddedPostgres(state, durable=False) as server, psycopg.connect(server.dsn) as connection:
        assert connection.execute("select lower('ÄÉЖ'), 'ÄÉЖ' ilike 'äéж'").fetchone() == ("äéж", True)


def test_a_password_is_needed_and_kept_private(state: Path) -> None:
    with EmbeddedPostgres(state, durable=False) as server:
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.dsn_for(user="postgres", password="guess"))
        assert (state / "superuser-password").stat().st_mode & 0o077 == 0
        assert server.password not in repr(server)


def test_a_killed_server_keeps_its_committed_rows(state: Path) -> None:
    embedded = EmbeddedPostgres(state, durable=False)
    add_row(embedded.start().dsn)
    embedded.kill()
    assert not leftovers.servers_on(embedded.data)
    assert rows(embedded.start().dsn) == 1
    embedded.stop()


def test_a_killed_owner_takes_the_server_with_it(state: Path) -> None:
    process, pid, dsn = holder(state)
    add_row(dsn)
    process.kill()
    process.wait()
    assert gone(pid)
    with EmbeddedPostgres(state, durable=False) as server:
        assert rows(server.dsn) == 1


def test_everything_killed_at_once(state: Path) -> None:
    process, pid, dsn = holder(state)
    add_row(dsn)
    family = psutil.Process(process.pid).children(recursive=True)
    for member in [psutil.Process(process.pid), *family]:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()
    assert gone(pid)
    with EmbeddedPostgres(state, durable=False) as server:
        assert rows(server.dsn) == 1


def test_an_orphaned_server_is_stopped_and_replaced(state: Path) -> None:
    """Without the kernel's tie, as on macOS: the server outlives its owner and holds the folder."""
    untied = HOLDER.replace("import sys", "import threading, sys; threading.main_thread = lambda: None\nimport sys", 1)
    process = subprocess.Popen([sys.executable, "-c", untied, str(state)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid, dsn = process.stdout.readline().split()
    add_row(dsn)
    process.kill()
    process.wait()
    time.sleep(0.2)
    assert psutil.pid_exists(int(pid)), "this server should have survived its owner"
    with EmbeddedPostgres(state, durable=False) as server:
        assert rows(server.dsn) == 1
        assert server.pid != int(pid)
    assert gone(int(pid))


def test_backends_without_a_postmaster_do_not_block_the_start(state: Path) -> None:
    embedded = EmbeddedPostgres(state, durable=False)
    server = embedded.start()
    add_row(server.dsn)
    busy = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import psycopg; psycopg.connect({server.dsn!r}).execute('select pg_sleep(600)')",
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        backend = wait_for_backend(server.dsn)
        os.kill(server.pid, signal.SIGKILL)
        assert psutil.pid_exists(backend), "a sleeping backend does not notice that its postmaster is gone"
        embedded.kill()
        assert rows(embedded.start().dsn) == 1
        assert gone(backend)
    finally:
        busy.kill()
        busy.wait()
        embedded.stop()


def wait_for_backend(dsn: str) -> int:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for _ in range(500):
            row = connection.execute("select pid from pg_stat_activity where query = 'select pg_sleep(600)'").fetchone()
            if row:
                return int(row[0])
            time.sleep(0.02)
    raise AssertionError("the busy session never came")


def test_a_stale_pid_that_now_belongs_to_another_program(state: Path) -> None:
    embedded = EmbeddedPostgres(state, durable=False)
    add_row(embedded.start().dsn)
    pid_file = embedded.data / "postmaster.pid"
    text = pid_file.read_text()
    embedded.kill()
    # This very process: alive, owned by the same user, and no PostgreSQL.
    pid_file.write_text("\n".join([str(os.getpid()), *text.splitlines()[1:]]))
    assert rows(embedded.start().dsn) == 1
    embedded.stop()


def test_a_run_killed_during_initdb_leaves_nothing_in_the_way(state: Path) -> None:
    half = state / "cluster" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    (state / "superuser-password").write_text("of the first try\n")
    with EmbeddedPostgres(state, durable=False) as server:
        add_row(server.dsn)
        assert server.password != "of the first try"


def test_two_runs_on_one_folder_are_refused_by_name(state: Path) -> None:
    with (
        EmbeddedPostgres(state, durable=False) as server,
        pytest.raises(MendableError, match=f"already run by process {os.getpid()}"),
    ):
        EmbeddedPostgres(state, durable=False).start()
    assert gone(server.pid)


def test_a_taken_port_is_named(state: Path) -> None:
    with socket.create_server((ports.HOST, 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(MendableError, match=f"Port {port}, wanted by PostgreSQL, is taken"):
            EmbeddedPostgres(state, durable=False, port=port).start()


def test_a_port_taken_at_the_last_moment_is_named_too(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: True)
    with socket.create_server((ports.HOST, 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(MendableError, match=f"Port {port}"):
            EmbeddedPostgres(state, durable=False, port=port).start()


def test_a_remembered_port_that_is_taken_is_replaced(state: Path) -> None:
    with EmbeddedPostgres(state, durable=False) as first:
        add_row(first.dsn)
    with socket.create_server((ports.HOST, first.port)), EmbeddedPostgres(state, durable=False) as second:
        assert second.port != first.port
        assert rows(second.dsn) == 1


def test_a_wrong_setting_is_reported_with_the_servers_own_words(state: Path) -> None:
    with pytest.raises(MendableError, match="no_such_setting"):
        EmbeddedPostgres(state, durable=False, settings={"no_such_setting": "on"}).start()
    with EmbeddedPostgres(state, durable=False):
        pass


def test_lost_password_is_said(state: Path) -> None:
    with EmbeddedPostgres(state, durable=False):
        (state / "superuser-password").unlink()
    with pytest.raises(MendableError, match="superuser-password is gone"):
        EmbeddedPostgres(state, durable=False).start()


def test_no_programs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "folders", lambda: iter([(Path("/nonexistent"), "wheel")]))
    with pytest.raises(MendableError, match=r"No PostgreSQL 15 or newer.*BULKHEAD_DATABASE_URL"):
        binaries.find()


def system_programs() -> binaries.Binaries | None:
    return next((found for found in binaries.candidates() if found.origin == "system" and found.major >= 15), None)


@pytest.mark.skipif(system_programs() is None, reason="no system PostgreSQL 15 or newer")
def test_a_system_server_stands_in_for_the_wheel(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = system_programs()
    assert system is not None
    with monkeypatch.context() as patch:
        patch.setattr(binaries, "folders", lambda: iter([(system.folder, "system")]))
        with EmbeddedPostgres(state, durable=False) as server:
            add_row(server.dsn)
            assert server.version == system.version
    # The wheel is back, of another major version: the data keeps the server that made it.
    with EmbeddedPostgres(state, durable=False) as server:
        assert server.version == system.version
        assert rows(server.dsn) == 1


@pytest.mark.skipif(not AS_ROOT, reason="only root may become somebody else")
@pytest.mark.parametrize("mode", ["namespace", "account-reaching"])
def test_as_root(mode: str, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offered = account.ways
    monkeypatch.setattr(account, "ways", lambda folder: (way for way in offered(folder) if way.mode == mode))
    state.parent.chmod(0o700)  # as below root's home: no other account may pass
    if mode == "namespace" and not namespaces_are_open(state.parent):
        pytest.skip("user namespaces are closed here")
    with EmbeddedPostgres(state, durable=False) as server:
        add_row(server.dsn)
        assert psutil.Process(server.pid).uids().real == server_owner(mode)


def server_owner(mode: str) -> int:
    return next(way.uid for way in account.ways(Path("/")) if way.mode == mode)


@pytest.mark.skipif(not AS_ROOT, reason="only root may become somebody else")
def test_a_state_folder_moves_between_identities(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First with a namespace, then on a machine that forbids it, such as a container."""
    with EmbeddedPostgres(state, durable=False) as server:
        add_row(server.dsn)
    offered = account.ways
    with monkeypatch.context() as patch:
        patch.setattr(account, "ways", lambda folder: (way for way in offered(folder) if way.mode != "namespace"))
        with EmbeddedPostgres(state, durable=False) as server:
            assert rows(server.dsn) == 1
    with EmbeddedPostgres(state, durable=False) as server:
        assert rows(server.dsn) == 1


@pytest.mark.skipif(not AS_ROOT, reason="only root may become somebody else")
@pytest.mark.parametrize("mode", ["namespace", "account-reaching"])
def test_as_an_ordinary_user_and_killed(mode: str, state: Path) -> None:
    """Python itself is no longer root: the plain way, as on a developer's machine."""
    if mode == "account-reaching":
        os.chown(state.parent, NOBODY, NOBODY)
    elif not namespaces_are_open(state.parent):
        pytest.skip("user namespaces are closed here")
    process, pid, dsn = holder(state, mode, NOBODY)
    assert psutil.Process(pid).uids().real == (0 if mode == "namespace" else NOBODY)
    add_row(dsn)
    process.kill()
    process.wait()
    assert gone(pid)
    process, pid, dsn = holder(state, mode, NOBODY)
    assert rows(dsn) == 1
    process.terminate()
    process.wait()
    assert gone(pid)


@pytest.mark.skipif(not AS_ROOT, reason="only root may become somebody else")
def test_a_folder_of_another_user_is_refused_with_the_mend(state: Path) -> None:
    if not namespaces_are_open(state.parent):
        pytest.skip("user namespaces are closed here")
    state.mkdir(mode=0o700)
    os.chown(state, NOBODY, NOBODY)
    with pytest.raises(RuntimeError, match=r"belongs to another user .* chown -R"):
        holder(state, "namespace")


def namespaces_are_open(folder: Path) -> bool:
    return account.Account("namespace", 0, 0).run(folder, [sys.executable, "-c", ""]).returncode == 0
