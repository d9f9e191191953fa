"""Texts of an archive as the service takes them. What has to be changed is noted."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Final

from bulkhead_cli.importing.repairs import Repairs

SURROGATE: Final = "half of a letter made \N{REPLACEMENT CHARACTER}"
CONTROL: Final = "control characters taken out"
CUT: Final = "longer than what fits, cut"
NOTHING: Final = "nothing to see, named"

_surrogate = re.compile("[\ud800-\udfff]")
# What the service refuses in texts, and people only have in them by accident.
_not_in_prose = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_not_in_line = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Letters by their class that nobody sees: fillers, a blank of Braille, selectors of a letter's form.
_blank = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]")


def whole(value: Any, repairs: Repairs, place: str = "") -> Any:
    """The same JSON without halves of letters, which come from texts that were cut in the middle of one."""
    if isinstance(value, str):
        if value.isascii() or not _surrogate.search(value):
            return value
        repairs.note(SURROGATE, place.removeprefix("."))
        return _surrogate.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, list):
        return [whole(one, repairs, f"{place}[{position}]") for position, one in enumerate(value)]
    if isinstance(value, dict):
        return {
            _surrogate.sub("\N{REPLACEMENT CHARACTER}", key): whole(one, repairs, f"{place}.{key}")
            for key, one in value.items()
        }
    return value


def shows(text: str) -> bool:
    """Whether there is anything to see."""
    return any(unicodedata.category(letter)[0] not in "CZ" for letter in _blank.sub("", text))


def key(name: str) -> str:
    """Names with one key are the same to a reader: without case, width, and what nobody sees."""
    seen = "".join(letter for letter in _blank.sub("", name) if unicodedata.category(letter) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold()).split())


def line(text: str | None, repairs: Repairs, place: str, *, most: int, otherwise: str) -> str:
    """On one line. Where there is nothing to see: `otherwise`."""
    given = text or ""
    made = _not_in_line.sub(" ", given).strip()
    if made != given.strip():
        repairs.note(CONTROL, place)
    if not shows(made):
        if otherwise:
            repairs.note(NOTHING, f"{place}: {otherwise}")
        return otherwise
    return _fitting(made, repairs, place, most)


def prose(text: str | None, repairs: Repairs, place: str, *, most: int = 100_000, otherwise: str = "") -> str:
    given = (text or "").replace("\r\n", "\n").replace("\r", "\n")
    made = _not_in_prose.sub("\N{REPLACEMENT CHARACTER}", given)
    if made != given:
        repairs.note(CONTROL, place)
    if otherwise and not shows(made):
        repairs.note(NOTHING, f"{place}: {otherwise}")
        return otherwise
    return _fitting(made, repairs, place, most)


def _fitting(text: str, repairs: Repairs, place: str, most: int) -> str:
    if len(text) <= most:
        return text
    repairs.note(CUT, place)
    return text[: most - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
