"""Exceptions granted by a comment or a marker say why; nothing is left for later."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.architecture.sources import Rule, Source

EVERYWHERE = ("deploy/", "libs/", "services/", "tests/", "tools/")
Findings = Iterator[tuple[int, str]]
_WAIVER = re.compile(r"#\s*(type:\s*ignore|noqa|nosec|pragma:\s*no\s*cover|fmt:\s*(off|skip)|pylint:)", re.IGNORECASE)
_WITH_REASON = re.compile(r"#\s*(type: ignore\[[\w, -]+\]|noqa: [A-Z]+\d+(, ?[A-Z]+\d+)*)\s*(#|-|:)+\s*\w.{5,}")
_FORMAT_OFF = re.compile(r"#\s*fmt:\s*off\s*")
_LATER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


def waivers(source: Source) -> Findings:
    before = 0
    for line, comment in source.comments():
        # The formatter takes no words after this one: they stand on the line above.
        explained = _FORMAT_OFF.fullmatch(comment) and before == line - 1
        before = line
        if _WAIVER.search(comment) and not explained and not _WITH_REASON.search(comment):
            yield line, f"{comment.strip()}: name the rule and say why"


def later(source: Source) -> Findings:
    for line, comment in source.comments():
        if _LATER.search(comment):
            yield line, comment.strip()


def skips(source: Source) -> Findings:
    marks = {"pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail"}
    for node in source.nodes():
        if isinstance(node, ast.Attribute) and ast.unparse(node) in marks and not _reason_at(source.tree, node):
            yield node.lineno, f"{ast.unparse(node)} without a reason"
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"pytest.skip", "pytest.xfail"}:
            if node.args or node.keywords:
                continue
            yield node.lineno, f"{ast.unparse(node.func)} without a reason"


def _reason_at(tree: ast.Module, marker: ast.Attribute) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.func is marker:
            return any(k.arg == "reason" and ast.unparse(k.value) not in {"''", "None"} for k in node.keywords)
    return False


RULES = [
    Rule("waivers say why", waivers, Source("tests/x.py", "x = 1  # noqa: E501\n"), within=EVERYWHERE),
    Rule("nothing is left for later", later, Source("tests/x.py", "# TO" + "DO: x\n"), within=EVERYWHERE),
    Rule(
        "skipped tests say why",
        skips,
        Source("tests/x.py", "@pytest.mark.skipif(True)\ndef test(): ..."),
        within=EVERYWHERE,
    ),
]
