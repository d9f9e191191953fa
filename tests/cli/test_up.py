"""`bulkhead up` and `bulkhead doctor` as people run them: as processes, with everything around the services real."""

import json
import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from bulkhead_cli import ports
from bulkhead_cli.children import is_alive
from bulkhead_cli.ports import HOST
from bulkhead_cli.postgres import EmbeddedPostgres
from bulkhead_cli.programs import PARTS, SERVICES
from bulkhead_cli.up import health

COMMAND = [sys.executable, "-c", "from tests.cli import stand_in; stand_in.command()"]
PROGRAMS = {f"{service}.{part}" for service, part, *_ in PARTS}


@dataclass
class Place:
    """One state folder with ports of its own, and every process started for it."""

    state: Path
    environment: dict[str, str]
    started: list[subprocess.Popen[str]]

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *words],
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )

    def up(self, *words: str, **more: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        """Returns when it says that it is up."""
        process = subprocess.Popen(
            [*COMMAND, "up", "--json", *words],
            env={**self.environment, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        assert process.stdout is not None
        assert process.stderr is not None
        document = ""
        for line in process.stdout:
            document += line
            if line == "}\n":
                return process, json.loads(document)
        raise AssertionError(process.stderr.read())

    def port_of(self, service: str) -> int:
        return int(self.environment[f"BULKHEAD_{service.upper()}_LISTEN"].rpartition(":")[2])

    def log(self, program: str) -> str:
        return (self.state / "logs" / f"{program}.log").read_text()


@pytest.fixture
def place() -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="bh-"))
    listens = {f"BULKHEAD_{service.upper()}_LISTEN": f"{HOST}:{free_port()}" for service in SERVICES}
    made = Place(folder / "run", {**os.environ, **listens, "BULKHEAD_STATE": str(folder / "run")}, [])
    yield made
    for process in made.started:
        process.kill()
        process.wait()
    until_nobody_is_left(made)
    shutil.rmtree(folder)


def free_port() -> int:
    """Outside the range of outgoing connections: on a busy machine one of those takes it before the service does."""
    return next(port for port in (random.randint(ports.FIRST, ports.LAST) for _ in range(100)) if ports.is_free(port))


def of_state(state: Path) -> list[psutil.Process]:
    """Every living process of an installation: they are told their folder by environment or command line."""
    found = []
    for process in psutil.process_iter():
        try:
            told = process.environ().get("BULKHEAD_STATE") == str(state) or str(state) in " ".join(process.cmdline())
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if told and process.pid != os.getpid() and is_alive(process):
            found.append(process)
    return found


def until_nobody_is_left(place: Place) -> None:
    deadline = time.monotonic() + 30
    while left := of_state(place.state):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def child_named(up: subprocess.Popen[str], name: str) -> psutil.Process:
    return next(child for child in psutil.Process(up.pid).children() if name in " ".join(child.cmdline()))


def until(check: Callable[[], object], within: float = 90.0) -> None:
    deadline = time.monotonic() + within
    while not check():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


def test_up_and_down_and_up_again(place: Place) -> None:
    process, endpoints = place.up()
    assert json.loads((place.state / "endpoints.json").read_text()) == endpoints
    assert stat.S_IMODE((place.state / "endpoints.json").stat().st_mode) == 0o600
    for service in SERVICES:
        assert health(endpoints["services"][service]) == "SERVING"
    with psycopg.connect(endpoints["database_roles"]["bulkhead_issues_app"]) as connection:
        assert connection.execute("select current_user, current_database()").fetchone() == (
            "bulkhead_issues_app",
            "bulkhead",
        )
    with psycopg.connect(endpoints["database_admin"]) as connection:
        connection.execute("create table public.kept as select 1 as n")
    until(lambda: all(f"{name} is there" in place.log(name) for name in PROGRAMS))

    # As a terminal does: to the whole foreground group. The services are not in it and stop when told.
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) == 0
    assert not of_state(place.state)
    assert not (place.state / "endpoints.json").exists()
    assert all(f"{name} says goodbye" in place.log(name) for name in PROGRAMS)

    process, again = place.up()
    assert again["database_admin"] == endpoints["database_admin"]
    assert again["database_roles"] == endpoints["database_roles"]
    with psycopg.connect(again["database_admin"]) as connection:
        assert connection.execute("select n from public.kept").fetchone() == (1,)
    process.terminate()
    assert process.wait(30) == 0
    assert not of_state(place.state)


def test_what_is_killed_comes_back(place: Place) -> None:
    process, endpoints = place.up()
    address = endpoints["services"]["issues"]
    victim = child_named(process, "issues.serve")
    victim.kill()
    until(lambda: place.log("issues.serve").count("is there") == 2 and health(address) == "SERVING")

    with psycopg.connect(endpoints["database_admin"]) as connection:
        connection.execute("create table public.kept as select 1 as n")
    child_named(process, "/postgres").kill()
    until(lambda: can_connect(endpoints["database_admin"]))
    with psycopg.connect(endpoints["database_admin"]) as connection:
        assert connection.execute("select n from public.kept").fetchone() == (1,)
    process.terminate()
    assert process.wait(30) == 0
    assert not of_state(place.state)


def can_connect(dsn: str) -> bool:
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError:
        return False
    return True


def test_a_killed_supervisor_leaves_nobody_and_nothing_in_the_way(place: Place) -> None:
    process, first = place.up()
    process.kill()
    process.wait()
    until_nobody_is_left(place)
    assert (place.state / "endpoints.json").exists()
    verdicts = {one["what"]: one for one in json.loads(place.run("doctor", "--json").stdout)}
    assert verdicts["installation"]["verdict"] == "note"
    process, second = place.up()
    assert second["database_admin"] == first["database_admin"]
    process.terminate()
    assert process.wait(30) == 0


def test_a_taken_port_is_named_before_anything_is_started(place: Place) -> None:
    with socket.create_server((HOST, place.port_of("audit"))):
        answer = place.run("up")
    assert answer.returncode == 1
    assert f"Port {place.port_of('audit')}, wanted by audit, is taken." in answer.stderr
    assert "BULKHEAD_AUDIT_LISTEN" in answer.stderr
    assert not (place.state / "postgres").exists()


def test_a_second_one_on_the_same_folder_is_refused(place: Place) -> None:
    process, _ = place.up()
    others = {f"BULKHEAD_{service.upper()}_LISTEN": f"{HOST}:{free_port()}" for service in SERVICES}
    answer = place.run("up", **others)
    assert answer.returncode == 1
    assert f"already run by process {process.pid}" in answer.stderr
    # The refused one must not take the other's things away.
    assert (place.state / "endpoints.json").exists()
    assert health(json.loads((place.state / "endpoints.json").read_text())["services"]["issues"]) == "SERVING"


def test_a_program_that_cannot_work_ends_the_start_with_its_own_words(place: Place) -> None:
    answer = place.run("up", BULKHEAD_TEST_FALLS="identity.serve")
    assert answer.returncode == 1
    assert "identity.serve does not stay up" in answer.stderr
    assert "identity.serve cannot work today" in answer.stderr
    assert not of_state(place.state)


def test_a_stop_while_it_starts(place: Place) -> None:
    process = subprocess.Popen(
        [*COMMAND, "up"], env={**place.environment, "BULKHEAD_TEST_SILENT": "1"}, stdout=subprocess.PIPE, text=True
    )
    place.started.append(process)
    until(lambda: (place.state / "logs" / "issues.relay.log").exists() and "is there" in place.log("issues.relay"))
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "bulkhead is up" not in output
    assert "everything has stopped" in output
    assert not of_state(place.state)


def test_a_given_server_is_used_and_left_running(place: Place) -> None:
    with EmbeddedPostgres(place.state.parent / "pg", durable=False) as server:
        process, endpoints = place.up("--database-url", server.dsn)
        assert endpoints["database_admin"] == server.dsn
        assert can_connect(endpoints["database_roles"]["bulkhead_audit_worker"])
        process.terminate()
        assert process.wait(30) == 0
        assert can_connect(server.dsn)
    assert not (place.state / "postgres").exists()


def test_an_unreachable_server_is_said(place: Place) -> None:
    answer = place.run("up", "--database-url", f"postgresql://postgres:x@{HOST}:{free_port()}/postgres")
    assert answer.returncode == 1
    assert "The database cannot be reached" in answer.stderr, answer.stderr
    assert "BULKHEAD_DATABASE_URL" in answer.stderr


def findings(place: Place) -> tuple[int, dict[str, dict[str, str]]]:
    answer = place.run("doctor", "--json")
    return answer.returncode, {one["what"]: one for one in json.loads(answer.stdout)}


def test_doctor_sees_what_is_wrong(place: Place) -> None:
    process, endpoints = place.up()
    status, found = findings(place)
    assert not [one for one in found.values() if one["verdict"] == "broken"]
    assert status == 0
    assert found["schema issues"]["verdict"] == found["database logins"]["verdict"] == "ok"

    key = place.state / "keys" / "access.private.pem"
    key.chmod(0o644)
    with psycopg.connect(endpoints["database_admin"]) as connection:
        connection.execute("update audit.alembic_version set version_num = '0000'")
        connection.execute("alter role bulkhead_issues_relay password 'another'")
    os.kill(child_named(process, "audit.serve").pid, signal.SIGSTOP)
    status, found = findings(place)
    assert status == 1
    assert {what for what, one in found.items() if one["verdict"] == "broken"} == {
        "keys",
        "schema audit",
        "database logins",
        "audit service",
    }
    assert f"chmod 600 {key}" in found["keys"]["mend"]
    assert "bulkhead migrate" in found["schema audit"]["mend"]
    assert "bulkhead_issues_relay" in found["database logins"]["detail"]
    key.chmod(0o600)
    os.kill(child_named(process, "audit.serve").pid, signal.SIGCONT)


def test_doctor_names_a_taken_port(place: Place) -> None:
    with socket.create_server((HOST, place.port_of("identity"))):
        status, found = findings(place)
    assert status == 1
    assert found["port of identity"]["verdict"] == "broken"
    assert "BULKHEAD_IDENTITY_LISTEN" in found["port of identity"]["mend"]


def test_migrate_with_passwords_prepares_a_given_server(place: Place) -> None:
    place.state.mkdir(parents=True)
    words = place.state / "words.json"
    words.write_text(json.dumps({"bulkhead_audit_app": "opensesame"}))
    with EmbeddedPostgres(place.state.parent / "pg", durable=False) as server:
        for _ in range(2):
            answer = place.run("migrate", "--database-url", server.dsn, "--passwords", str(words))
            assert answer.returncode == 0, answer.stderr
        assert can_connect(server.dsn_for(user="bulkhead_audit_app", password="opensesame"))
        assert not can_connect(server.dsn_for(user="bulkhead_audit_app", password="guess"))
        assert "issues: nothing -> 0" not in answer.stdout


def test_migrate_without_anything_running_says_so(place: Place) -> None:
    answer = place.run("migrate")
    assert answer.returncode == 1
    assert "No installation runs" in answer.stderr


def test_the_real_services_come_up_and_stop(place: Place) -> None:
    """Every other test here has stand-ins; this one holds the variables we set against the services' settings."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bulkhead_cli", "up", "--json"],
        env=place.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    place.started.append(process)
    until(lambda: (place.state / "endpoints.json").exists() or process.poll() is not None, within=90)
    assert process.poll() is None, process.communicate()[1]
    endpoints = json.loads((place.state / "endpoints.json").read_text())
    assert {health(address) for address in endpoints["services"].values()} == {"SERVING"}
    until(lambda: all(answers_metrics(address) for address in endpoints["metrics"].values()))
    assert all("is not a setting" not in place.log(name) for name in PROGRAMS)
    process.terminate()
    assert process.wait(40) == 0
    assert not of_state(place.state)
    assert all("Traceback" not in place.log(name) for name in PROGRAMS)


def answers_metrics(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
            return b"process_cpu_seconds_total" in answer.read()
    except OSError:
        return False
