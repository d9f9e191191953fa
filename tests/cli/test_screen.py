"""What people see: short lines on a terminal, words for what they typed wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bulkhead_cli import database as database_of
from bulkhead_cli.brief import brief, hanging
from bulkhead_cli.errors import MendableError

from tests.support.postgres import ScratchDatabase

CALL = (
    "2026-11-20T15:22:31.381Z [info     ] rpc                            [bulkhead.access] service=identity"
    " rpc=bulkhead.identity.v1.AuthService/SignUp request_id=01a1f98d trace_id=e8ab41e3 "
)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (CALL + "code=OK reason= ms=129.2", "15:22:31 rpc AuthService/SignUp code=OK ms=129.2"),
        (
            CALL + "code=NOT_FOUND reason=RESOURCE_NOT_FOUND ms=2.1",
            "15:22:31 rpc AuthService/SignUp request_id=01a1f98d code=NOT_FOUND reason=RESOURCE_NOT_FOUND ms=2.1",
        ),
        (
            "2026-11-20T15:22:15.483Z [warning  ] unsafe_postgresql              [bulkhead.program] service=audit"
            " detail='PostgreSQL 18.6 has known holes: update it'",
            "15:22:15 warning unsafe_postgresql detail='PostgreSQL 18.6 has known holes: update it'",
        ),
        ("2026-11-20T15:22:15.483Z [info     ] serving    [bulkhead.health] service=audit", "15:22:15 serving"),
        ("  File 'x.py', line 3", "  File 'x.py', line 3"),
    ],
)
def test_a_line_of_a_service_is_shortened_for_the_eye(line: str, shown: str) -> None:
    assert brief(line) == shown


def test_a_long_line_hangs_and_no_word_is_cut() -> None:
    assert hanging("one two three/four/five/six/seven", 4, 24) == "one two\n    three/four/five/six/seven"
    assert hanging("", 4, 24) == ""


def test_a_mistyped_command_makes_no_keys(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bulkhead_cli", "keys", "rotat"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode != 0
    assert "rotat" in ended.stdout + ended.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "cannot be read"),
        ("{bad", "cannot be read"),
        (json.dumps(["bulkhead_identity_app"]), "no password for each login"),
        (json.dumps({"bulkhead_identity_app": ""}), "no password for each login"),
        (json.dumps({"identity_ap": "x"}), "names what is no login: identity_ap"),
    ],
)
def test_passwords_that_cannot_be_used_are_refused_with_words(text: str | None, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "passwords.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(MendableError, match=complaint):
        database_of.read_passwords(file)


def test_a_login_that_may_not_make_roles_is_told_who_may(database: ScratchDatabase) -> None:
    with pytest.raises(MendableError, match=r"may not make the roles: .+CREATEROLE"):
        database_of.migrate(database.dsn("bulkhead_ops"), {}, print)


def test_a_url_that_is_none_is_refused_with_words() -> None:
    with pytest.raises(MendableError, match="is no PostgreSQL URL") as caught:
        database_of.migrate("postgres//admin:s3cr3t@db", {}, print)
    assert "s3cr3t" not in str(caught.value)
