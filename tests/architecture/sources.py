"""The project's Python as the architecture rules see it: path, text, syntax tree, comments."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("deploy", "libs", "services", "tests", "tools")
GENERATED = ("libs/contracts/",)


@dataclass(frozen=True)
class Source:
    path: str
    """From the project's root, with forward slashes."""
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    def nodes(self) -> Iterator[ast.AST]:
        return ast.walk(self.tree)

    def comments(self) -> Iterator[tuple[int, str]]:
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string

    def texts(self) -> Iterator[tuple[int, str]]:
        """String constants with their lines, those inside f-strings too; docstrings left out."""
        docstrings = set(self._docstrings())
        for node in self.nodes():
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                yield node.lineno, node.value

    def _docstrings(self) -> Iterator[int]:
        for node in self.nodes():
            # A bare string after an attribute documents it, so every string that stands alone counts.
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                yield id(node.value)


@dataclass(frozen=True)
class Finding:
    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


@dataclass(frozen=True)
class Rule:
    name: str
    check: Callable[[Source], Iterable[tuple[int, str]]]
    sample: Source
    """Breaks the rule: shows that the rule can fail."""
    within: tuple[str, ...] = ("deploy/", "libs/", "services/")
    allowed: Mapping[str, str] = field(default_factory=dict)
    """Paths or folders where the rule does not hold, each with its reason; one that is not needed fails."""

    def findings(self, source: Source) -> list[Finding]:
        if not source.path.startswith(self.within):
            return []
        return [Finding(source.path, line, what) for line, what in self.check(source)]

    def allows(self, path: str) -> str | None:
        """The entry of `allowed` that covers a path."""
        return next((entry for entry in self.allowed if path == entry or path.startswith(entry)), None)


def module_of(path: str) -> str:
    """The dotted name by which a file is imported."""
    parts = list(PurePosixPath(path).with_suffix("").parts)
    if parts[0] in {"libs", "services"} or parts[:2] == ["deploy", "postgres"]:
        parts = parts[2:]
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


def imports(source: Source) -> Iterator[tuple[int, str]]:
    """Every imported module, `from a import b` as both a and a.b; relative ones made absolute."""
    here = module_of(source.path).split(".")
    package = here if source.path.endswith("__init__.py") else here[:-1]
    for node in source.nodes():
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield node.lineno, module
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"


@lru_cache(maxsize=1)
def sources() -> tuple[Source, ...]:
    found = []
    for place in PLACES:
        for file in sorted((ROOT / place).rglob("*.py")):
            path = file.relative_to(ROOT).as_posix()
            if path.startswith(GENERATED) or "/." in path or "__pycache__" in path:
                continue
            found.append(Source(path, file.read_text(encoding="utf-8")))
    return tuple(found)
