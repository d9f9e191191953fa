"""What the security documents say is shown by a test is shown by one that is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

DOCS = ("docs/security/threat-model.md", "docs/security/asvs.md")
_named = re.compile(r"`(tests/[\w/.]+?)(?:::(\w+))?`")
_row = re.compile(r"^\| (?!item|threat|-|\|)(.+) \|$", re.MULTILINE)


def functions_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def missing(path: str, test: str) -> bool:
    place = ROOT / path
    if place.is_dir():
        return not list(place.glob("**/test_*.py"))
    return not place.is_file() or (bool(test) and test not in functions_of(place))


@pytest.mark.parametrize("doc", DOCS)
def test_the_named_tests_are_there(doc: str) -> None:
    named = _named.findall((ROOT / doc).read_text())
    assert len(named) > 30
    assert not [f"{path}::{test}" for path, test in named if missing(path, test)]


def test_every_threat_has_a_test() -> None:
    tables = (ROOT / DOCS[0]).read_text().split("| threat |")[1:]
    rows = [row.split(" | ") for table in tables for row in _row.findall(table.partition("\n\n")[0])]
    threats = [cells for cells in rows if cells[0] != "what stands in the way"]
    assert len(threats) > 30
    assert not [cells[0] for cells in threats if "`tests/" not in cells[-1]]


def test_an_item_that_holds_is_shown() -> None:
    rows = [row.split(" | ") for row in _row.findall((ROOT / DOCS[1]).read_text())]
    assert len(rows) > 45
    assert not [
        cells[0] for cells in rows if cells[2].startswith("yes") and "`" not in cells[-1] and "none" not in cells[2]
    ]


def test_a_test_that_is_not_there_is_missed() -> None:
    assert missing("tests/architecture/test_security_docs.py", "test_of_nothing")
    assert missing("tests/nothing", "")
    assert not missing("tests/architecture/test_security_docs.py", "test_a_test_that_is_not_there_is_missed")
