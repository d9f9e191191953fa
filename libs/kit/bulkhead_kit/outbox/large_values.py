"""What becomes of an event that is too large: its largest values are cut, and say so.

A change is never refused for the size of its event, and a whole version of a long text is in its revisions anyway.
What is kept of a value is its beginning, its length and its SHA-256: enough to tell whether a text at hand is it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bulkhead_kit.canonical_json import Json, canonical, in_order, parse, quote

KEPT: Final = 2_000
"""Bytes of a cut value's JSON text that are kept."""


@dataclass(slots=True)
class _Side:
    text: str
    """Canonical JSON of the value, or of its beginning as a text."""
    cut: str | None = None
    """Canonical JSON of what is known of the whole value, once it was cut."""

    @property
    def size(self) -> int:
        return len(self.text.encode())

    def shorten(self) -> None:
        whole = self.text.encode()
        self.cut = f'{{"bytes":{len(whole)},"sha256":"{hashlib.sha256(whole).hexdigest()}"}}'
        self.text = quote(whole[:KEPT].decode("utf-8", "ignore"))


def cut_to(limit: int, changes: str) -> str:
    """Changes of at most `limit` bytes, or with nothing left to cut. Raises ValueError for what are not changes."""
    tree = parse(changes)
    if not isinstance(tree, dict):
        raise ValueError("must be an object")
    fields = {name: _sides(tree[name]) for name in in_order(tree)}
    size = sum(side.size for sides in fields.values() for side in sides) + sum(len(name) + 8 for name in fields)
    largest_first = sorted((side for sides in fields.values() for side in sides), key=lambda side: -side.size)
    for side in largest_first:
        # A text within a text at most doubles: cutting what is not much larger would gain nothing.
        if size <= limit or side.size <= 3 * KEPT:
            break
        size -= side.size
        side.shorten()
        size += side.size + 150
    return "{" + ",".join(f"{quote(name)}:{''.join(_pair(*sides))}" for name, sides in fields.items()) + "}"


def _sides(pair: Json) -> tuple[_Side, _Side]:
    if not isinstance(pair, list) or len(pair) != 2:
        raise ValueError("every member must be [old, new]")
    return _Side(canonical(pair[0])), _Side(canonical(pair[1]))


def _pair(old: _Side, new: _Side) -> Iterator[str]:
    yield f"[{old.text},{new.text}"
    cuts = [f'"{name}":{side.cut}' for name, side in (("new", new), ("old", old)) if side.cut is not None]
    if cuts:
        yield f",{{{','.join(cuts)}}}"
    yield "]"
