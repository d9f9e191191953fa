"""PostgreSQL's own texts, made readable without a change of what they mean."""

import re
import textwrap
from collections.abc import Iterable, Sequence

WIDTH = 118
# What stands in quotes stays as it is: a literal, a quoted name, a function's body.
_QUOTED = re.compile(r"('(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|(\$\w*\$).*?\2)", re.DOTALL)


def lowered(text: str) -> str:
    """Keywords in lower case; no name here needs another."""
    out, at = [], 0
    for found in _QUOTED.finditer(text):
        out += [text[at : found.start()].lower(), found.group()]
        at = found.end()
    return "".join([*out, text[at:].lower()])


def one_line(text: str) -> str:
    return " ".join(text.split())


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def wrapped(text: str, indent: str = "") -> str:
    """Broken at spaces; only for texts without literals that hold spaces."""
    return "\n".join(
        textwrap.wrap(
            text,
            WIDTH,
            initial_indent=indent,
            subsequent_indent=indent + "    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def without_prefix(definition: str) -> tuple[str, str]:
    """An index's definition as (method, the rest): `btree`, `(tenant_id, name) where ...`."""
    found = re.fullmatch(r"create (?:unique )?index \S+ on (?:only )?\S+ using (\w+) (.*)", lowered(definition))
    if found is None:
        raise ValueError(f"not an index: {definition}")
    return found[1], found[2]


def readable(expression: str) -> str:
    """As a person would write it: PostgreSQL casts every literal and spells out IN and BETWEEN."""
    text = lowered(one_line(expression))
    text = re.sub(r"(?<=')::text(?!\w|\[)", "", text)
    text = re.sub(r"= any \(array\[([^\[\]]*)\]\)", r"in (\1)", text)
    return re.sub(r"(\w+(?:\(\w+\))?) >= (\d+) and \1 <= (\d+)", r"\1 between \2 and \3", text)


def paragraphs(parts: Sequence[str]) -> str:
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"
