"""Values that a column takes and that somebody behind it may not."""

from __future__ import annotations


def nested(levels: int, *, lists: bool = False) -> str:
    """JSON text of an object with so many containers in one another."""
    inner = levels - 1
    return '{"a":' + ("[" * inner + "1" + "]" * inner if lists else '{"a":' * inner + "1" + "}" * inner) + "}"


NESTED = tuple(nested(levels, lists=lists) for levels in (2, 31, 32, 33, 64, 65, 500, 4000) for lists in (False, True))
