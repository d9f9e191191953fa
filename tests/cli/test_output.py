"""What a terminal gets: no command of somebody else's, and letters that it may lack without an end of the program."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bulkhead.issues.v1 import import_pb2, import_service_pb2
from bulkhead_cli.importing import archive, github
from bulkhead_cli.importing.sending import Report
from bulkhead_cli.output import console, plain, visible
from bulkhead_cli.screen import Screen
from rich.table import Table

EVIL = "\x1b]0;owned\x07\x1b[31m\x9b2J\r\x08\u202e\ud83d[red]x[/]:bug:"
COMMANDS = set(map(chr, (*range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0), 0x202E, 0xD83D)))


def shown(what: object, **options: object) -> str:
    file = io.StringIO()
    console(file=file, width=200, **options).print(what)
    return file.getvalue()


def test_control_characters_are_spelled_out_and_all_else_stays() -> None:
    assert visible("\x1b[2J\x9b\u202e\ud83d") == "\\x1b[2J\\x9b\\u202e\\ud83d"
    for text in ("", "two\nlines\tand a tab", "Fünf 🛟 \N{WOMAN}\u200d\N{ROCKET} 中文", "[bold]"):
        assert visible(text) == text


def test_no_way_to_print_lets_a_command_through() -> None:
    table = Table("what")
    table.add_row(EVIL)
    for text in (shown(EVIL), shown(table), shown(plain(EVIL)), shown(f"[bold]{plain(EVIL)}[/]")):
        assert not COMMANDS & set(text)
    assert shown(plain(EVIL)) == visible(EVIL) + "\n"
    # What the program itself says in colour still is.
    assert "\x1b[" in shown(f"[red]{plain('x')}[/]", force_terminal=True, color_system="standard")


def test_a_report_of_an_import_commands_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    found = archive.parse(
        {
            "magic": github.MAGIC,
            "repo": "a/b",
            "issues": [{"number": 1, "id": EVIL, "labels": [f"l{EVIL}"], "createdAt": "2025-03-01T09:00:00Z"}],
        }
    )
    failure = import_pb2.ImportFailure(position=1, item=EVIL[:-10].replace("\ud83d", ""), reason="X", message="\x1b[2J")
    file = io.StringIO()
    report = Report(found, import_service_pb2.ImportItemsResponse(failures=[failure]))
    report.show(console(file=file, width=300))
    Screen().error(EVIL, EVIL)
    Screen().line("up", EVIL)
    said = capsys.readouterr()
    for text in (file.getvalue(), said.out, said.err, report.to_json()):
        assert "x" in text
        assert not COMMANDS & set(text)


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8"])
def test_a_letter_that_the_terminal_lacks_ends_nothing(tmp_path: Path, locale: str) -> None:
    """Python's own help for such terminals is off, as it is where a program is given another character set."""
    folder = os.fsencode(tmp_path) + "/Schlüssel 🛟".encode() + b" \xe9"
    quiet = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    if locale != "C.UTF-8":
        quiet["PYTHONIOENCODING"] = "ascii"
    command: list[str | bytes] = [sys.executable, "-m", "bulkhead_cli", "keys", "--directory", folder]
    ended = subprocess.run(command, env=os.environ | quiet, capture_output=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert b"files made in" in ended.stdout
