"""Texts of an archive as the service takes them. What has to be changed is noted."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Final

from bulkhead_kit.texts import fold as key
from bulkhead_kit.texts import mended_line, mended_prose, shows

from bulkhead_cli.importing.repairs import Repairs

__all__ = ["key", "label", "line", "mended_line", "prose", "shows", "whole"]

SURROGATE: Final = "half of a letter made \N{REPLACEMENT CHARACTER}"
CONTROL: Final = "control characters taken out"
CUT: Final = "longer than what fits, cut"
UNSEEN: Final = "invisible characters taken out of labels"
NOTHING: Final = "nothing to see, named"

_surrogate = re.compile("[\ud800-\udfff]")
# Without any effect on their neighbours, as joiners of emoji have.
_unseen = re.compile("[\u00ad\u180e\u200b\u2060\ufeff]")


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


def line(text: str | None, repairs: Repairs, place: str, *, most: int, otherwise: str) -> str:
    """On one line. Where there is nothing to see: `otherwise`."""
    given = unicodedata.normalize("NFC", text or "").strip()
    made = mended_line(given)
    if not made:
        if otherwise:
            repairs.note(NOTHING, f"{place}: {otherwise}")
        return otherwise
    if made != given:
        repairs.note(CONTROL, place)
    return _fitting(made, repairs, place, most)


def label(text: str | None, repairs: Repairs, place: str) -> str:
    """A name that people type to find it."""
    given = text or ""
    made = _unseen.sub("", given)
    if made != given:
        repairs.note(UNSEEN, place)
    return line(made, repairs, place, most=100, otherwise="(without name)")


def prose(text: str | None, repairs: Repairs, place: str, *, most: int = 100_000, otherwise: str = "") -> str:
    given = unicodedata.normalize("NFC", text or "").replace("\r\n", "\n").replace("\r", "\n")
    made = mended_prose(given)
    if not made:
        if otherwise:
            repairs.note(NOTHING, f"{place}: {otherwise}")
        return otherwise
    if made != given:
        repairs.note(CONTROL, place)
    return _fitting(made, repairs, place, most)


def _fitting(text: str, repairs: Repairs, place: str, most: int) -> str:
    if len(text) <= most:
        return text
    repairs.note(CUT, place)
    return text[: most - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
