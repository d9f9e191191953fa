"""The little Markdown that the pages need."""

from collections.abc import Iterable, Sequence

NOTE = "<!-- Written by `make schema` from a live database. Never edited: change a migration, then run it again. -->"


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def codes(texts: Iterable[str]) -> str:
    return ", ".join(map(code, texts))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Empty when there is no row."""
    lines = [_line(row) for row in rows]
    if not lines:
        return ""
    return "\n".join([_line(heads), "|" + "---|" * len(heads), *lines])


def _line(cells: Sequence[str]) -> str:
    # A bar would end the cell, within code too.
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def anchor(heading: str) -> str:
    """As forges make it from a heading."""
    return heading.lower().replace(" ", "-").replace(".", "")


def page(parts: Iterable[str]) -> str:
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"
