"""A number of calls in a time, as settings write it, and how long somebody has to wait for the next."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BeforeValidator

MINUTE: Final = 60
_UNITS: Final = {"second": 1, "minute": MINUTE, "hour": 3600}
_form = re.compile(r"([1-9][0-9]{0,8})/(second|minute|hour)", re.ASCII).fullmatch
_method_form = re.compile(r"\*|[A-Z][A-Za-z0-9]*", re.ASCII).fullmatch
OFF: Final = "off"
ANY_METHOD: Final = "*"


@dataclass(frozen=True, slots=True)
class Rate:
    calls: int
    seconds: int

    def __str__(self) -> str:
        unit = next(name for name, seconds in _UNITS.items() if seconds == self.seconds)
        return f"{self.calls}/{unit}"

    def wait(self, before: int, count: int, passed: float) -> float:
        """Seconds until one more call fits; 0 when it fits now.

        `count` calls were made in this window, of which `passed` seconds are over, and `before` in the one before it;
        those count by the part of their window that less than a window ago was still to come.
        """
        room = self.calls - 1
        weight = 1 - passed / self.seconds
        if before * weight + count <= room:
            return 0.0
        if count <= room:
            return (weight - (room - count) / before) * self.seconds
        return (weight + 1 - room / count) * self.seconds


def parse(text: str) -> Rate | None:
    """None for "off". Raises ValueError."""
    if text == OFF:
        return None
    found = _form(text)
    if found is None:
        raise ValueError("must be a number of calls and a time, such as 60/minute, 5/second, 1000/hour, or off")
    return Rate(int(found[1]), _UNITS[found[2]])


def parse_methods(text: str) -> dict[str, Rate | None]:
    """From "Login=60/minute,*=300/minute". Raises ValueError."""
    found: dict[str, Rate | None] = {}
    for entry in text.split(","):
        method, _, rate = entry.strip().partition("=")
        if _method_form(method) is None or method in found:
            raise ValueError("must be methods with their rates, each once, such as Login=60/minute,*=300/minute")
        found[method] = parse(rate)
    return found


def _read_rate(value: Any) -> Any:
    return parse(value) if isinstance(value, str) else value


def _read_methods(value: Any) -> Any:
    return parse_methods(value) if isinstance(value, str) else value


RateSetting = Annotated[Rate | None, BeforeValidator(_read_rate)]
MethodRatesSetting = Annotated[Mapping[str, Rate | None], BeforeValidator(_read_methods)]
