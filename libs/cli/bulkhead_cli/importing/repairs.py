"""What was changed so that an archive fits, told exactly: nothing is mended without a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

MAX_PLACES: Final = 5


@dataclass(slots=True)
class Repairs:
    numbers: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=dict)
    """The first of each."""

    def note(self, what: str, place: str, number: int = 1) -> None:
        self.numbers[what] += number
        known = self.places.setdefault(what, [])
        if len(known) < MAX_PLACES and place not in known:
            known.append(place)

    def rows(self) -> Sequence[tuple[str, int, str]]:
        """What, how often, and where."""
        return [(what, number, self._where(what, number)) for what, number in sorted(self.numbers.items())]

    def _where(self, what: str, number: int) -> str:
        places = self.places[what]
        return ", ".join(places) + (", ..." if number > len(places) else "")

    def to_json(self) -> list[dict[str, Any]]:
        return [{"what": what, "number": number, "where": self.places[what]} for what, number, _ in self.rows()]
