"""JSON that every parser reads alike: no two members of one name, no NaN, no Infinity."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


def loads(text: str, *, number: Callable[[str], Any] | None = None) -> Any:
    """`number` makes one of its digits. Raises ValueError, and RecursionError for what is nested too deep."""
    return json.loads(
        text, parse_int=number, parse_float=number, parse_constant=_refuse_constant, object_pairs_hook=_unique
    )


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two parsers may take different ones of two equal names; so there must not be two."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice in an object")
    return members
