"""Caps on size. The habit is far below: 250 lines a file, 30 a function."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.architecture.sources import Rule, Source

FILE, TEST_FILE, FUNCTION, HANDLER_METHOD = 400, 600, 60, 30
EVERYWHERE = ("deploy/", "libs/", "services/", "tests/", "tools/")
Findings = Iterator[tuple[int, str]]


def file_length(source: Source) -> Findings:
    if "/migrations/versions/" in source.path:
        return  # SQL, one paragraph a table: splitting it hides the order
    cap = TEST_FILE if source.path.startswith("tests/") else FILE
    if len(source.lines) > cap:
        yield cap, f"{len(source.lines)} lines, {cap} are allowed"


def function_length(source: Source) -> Findings:
    cap = HANDLER_METHOD if source.path.endswith("/handler.py") else FUNCTION
    for node in source.nodes():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > cap:
                yield node.lineno, f"{node.name} has {length} lines, {cap} are allowed"


RULES = [
    Rule("file length", file_length, Source("libs/kit/x.py", "x = 1\n" * (FILE + 1)), within=EVERYWHERE),
    Rule(
        "function length",
        function_length,
        Source("libs/kit/x.py", "def f():\n" + "    x = 1\n" * FUNCTION),
        within=EVERYWHERE,
    ),
    Rule(
        "handler length",
        function_length,
        Source("services/a/b/handler.py", "def f():\n" + "    x = 1\n" * HANDLER_METHOD),
        within=EVERYWHERE,
    ),
]
