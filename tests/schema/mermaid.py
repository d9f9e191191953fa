"""As much of Mermaid's erDiagram as the pages use; anything else is an error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

BARE = re.compile(r'(?P<id>[a-z][a-z0-9_]*)\["(?P<label>[a-z0-9_.]+)"\]')
COLUMN = re.compile(r"(?P<type>[a-z][a-z0-9_]*(\[\])?) (?P<name>[a-z][a-z0-9_]*) (PK|FK|UK)(, (PK|FK|UK))*")
RELATION = re.compile(
    r'(?P<left>[a-z0-9_]+) (?:\|\||\|o|\}o|\}\|)(?P<line>--|\.\.)(?:\|\||o\||o\{|\|\{) (?P<right>[a-z0-9_]+) : "[^"]+"'
)


class MermaidError(ValueError):
    pass


@dataclass
class Diagram:
    entities: dict[str, str] = field(default_factory=dict)
    """By id: the label."""
    columns: dict[str, list[str]] = field(default_factory=dict)
    lines: list[tuple[str, str]] = field(default_factory=list)
    """Labels of what is tied by a foreign key: referred to, referring."""
    dotted: list[tuple[str, str]] = field(default_factory=list)


def in_page(text: str) -> Iterator[str]:
    yield from re.findall(r"^```mermaid\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def parse(text: str) -> Diagram:
    heading, *lines = text.splitlines()
    if heading != "erDiagram":
        raise MermaidError(f"no erDiagram: {heading}")
    diagram = Diagram()
    inside: str | None = None
    for line in map(str.strip, lines):
        if inside:
            inside = _inside(diagram, inside, line)
        elif found := BARE.fullmatch(line.removesuffix(" {")):
            if found["id"] in diagram.entities:
                raise MermaidError(f"twice: {line}")
            diagram.entities[found["id"]] = found["label"]
            diagram.columns[found["label"]] = []
            inside = found["label"] if line.endswith(" {") else None
        elif found := RELATION.fullmatch(line):
            _relate(diagram, found)
        else:
            raise MermaidError(f"not understood: {line}")
    if inside:
        raise MermaidError(f"{inside} is not closed")
    return diagram


def _inside(diagram: Diagram, label: str, line: str) -> str | None:
    if line == "}":
        return None
    found = COLUMN.fullmatch(line)
    if found is None:
        raise MermaidError(f"not a column: {line}")
    diagram.columns[label].append(found["name"])
    return label


def _relate(diagram: Diagram, found: re.Match[str]) -> None:
    try:
        pair = diagram.entities[found["left"]], diagram.entities[found["right"]]
    except KeyError as error:
        raise MermaidError(f"{error} is nowhere declared") from error
    (diagram.lines if found["line"] == "--" else diagram.dotted).append(pair)
