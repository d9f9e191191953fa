"""Texts of people: what may be in one, whether there is anything to see in it, and what names are compared by.

The database says the same: app.shows and app.fold are made of the same tables, and tests/schema/test_texts.py holds the
two against each other for every code point. The tables are those of Unicode 14.0, written down, so that neither a newer
Python nor a newer PostgreSQL changes what is equal. Unicode's form NFC is given to every request by spelling.py.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from bulkhead_kit.errors import InvalidArgument

UNSEEN: Final = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    r"\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Default_Ignorable_Code_Point, as a class of a regular expression, in Python and in PostgreSQL."""
BLANK: Final = r"\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u2800\u3000"
"""White_Space, and the Braille pattern without dots."""
CONTROL: Final = r"\u0000-\u001f\u007f-\u009f"

# Unicode's full case folding of what is left after NFKD: the first letter, how many, how far apart, what is added.
# Several to a line, as nobody reads a column of two hundred.
# fmt: off
FOLDS: Final = (
    (0x41, 26, 1, 32), (0xC6, 1, 1, 32), (0xD0, 1, 1, 32), (0xD8, 1, 1, 32), (0xDE, 1, 1, 32), (0x110, 1, 1, 1),
    (0x126, 1, 1, 1), (0x141, 1, 1, 1), (0x14A, 1, 1, 1), (0x152, 1, 1, 1), (0x166, 1, 1, 1), (0x181, 1, 1, 210),
    (0x182, 2, 2, 1), (0x186, 1, 1, 206), (0x187, 1, 1, 1), (0x189, 2, 1, 205), (0x18B, 1, 1, 1), (0x18E, 1, 1, 79),
    (0x18F, 1, 1, 202), (0x190, 1, 1, 203), (0x191, 1, 1, 1), (0x193, 1, 1, 205), (0x194, 1, 1, 207),
    (0x196, 1, 1, 211), (0x197, 1, 1, 209), (0x198, 1, 1, 1), (0x19C, 1, 1, 211), (0x19D, 1, 1, 213),
    (0x19F, 1, 1, 214), (0x1A2, 2, 2, 1), (0x1A6, 1, 1, 218), (0x1A7, 1, 1, 1), (0x1A9, 1, 1, 218), (0x1AC, 1, 1, 1),
    (0x1AE, 1, 1, 218), (0x1B1, 2, 1, 217), (0x1B3, 2, 2, 1), (0x1B7, 1, 1, 219), (0x1B8, 1, 1, 1), (0x1BC, 1, 1, 1),
    (0x1E4, 1, 1, 1), (0x1F6, 1, 1, -97), (0x1F7, 1, 1, -56), (0x21C, 1, 1, 1), (0x220, 1, 1, -130), (0x222, 2, 2, 1),
    (0x23A, 1, 1, 10795), (0x23B, 1, 1, 1), (0x23D, 1, 1, -163), (0x23E, 1, 1, 10792), (0x241, 1, 1, 1),
    (0x243, 1, 1, -195), (0x244, 1, 1, 69), (0x245, 1, 1, 71), (0x246, 5, 2, 1), (0x345, 1, 1, 116), (0x370, 2, 2, 1),
    (0x376, 1, 1, 1), (0x37F, 1, 1, 116), (0x391, 17, 1, 32), (0x3A3, 7, 1, 32), (0x3C2, 1, 1, 1), (0x3CF, 1, 1, 8),
    (0x3D8, 12, 2, 1), (0x3F7, 1, 1, 1), (0x3FA, 1, 1, 1), (0x3FD, 3, 1, -130), (0x402, 2, 2, 80), (0x405, 2, 1, 80),
    (0x408, 4, 1, 80), (0x40F, 1, 1, 80), (0x410, 9, 1, 32), (0x41A, 22, 1, 32), (0x460, 11, 2, 1), (0x478, 5, 2, 1),
    (0x48A, 27, 2, 1), (0x4C0, 1, 1, 15), (0x4C3, 6, 2, 1), (0x4D4, 1, 1, 1), (0x4D8, 1, 1, 1), (0x4E0, 1, 1, 1),
    (0x4E8, 1, 1, 1), (0x4F6, 1, 1, 1), (0x4FA, 27, 2, 1), (0x531, 38, 1, 48), (0x10A0, 38, 1, 7264),
    (0x10C7, 1, 1, 7264), (0x10CD, 1, 1, 7264), (0x13F8, 6, 1, -8), (0x1C80, 1, 1, -6222), (0x1C81, 1, 1, -6221),
    (0x1C82, 1, 1, -6212), (0x1C83, 2, 1, -6210), (0x1C85, 1, 1, -6211), (0x1C86, 1, 1, -6204), (0x1C87, 1, 1, -6180),
    (0x1C88, 1, 1, 35267), (0x1C90, 43, 1, -3008), (0x1CBD, 3, 1, -3008), (0x1EFA, 3, 2, 1), (0x2132, 1, 1, 28),
    (0x2183, 1, 1, 1), (0x2C00, 48, 1, 48), (0x2C60, 1, 1, 1), (0x2C62, 1, 1, -10743), (0x2C63, 1, 1, -3814),
    (0x2C64, 1, 1, -10727), (0x2C67, 3, 2, 1), (0x2C6D, 1, 1, -10780), (0x2C6E, 1, 1, -10749), (0x2C6F, 1, 1, -10783),
    (0x2C70, 1, 1, -10782), (0x2C72, 1, 1, 1), (0x2C75, 1, 1, 1), (0x2C7E, 2, 1, -10815), (0x2C80, 50, 2, 1),
    (0x2CEB, 2, 2, 1), (0x2CF2, 1, 1, 1), (0xA640, 23, 2, 1), (0xA680, 14, 2, 1), (0xA722, 7, 2, 1),
    (0xA732, 31, 2, 1), (0xA779, 2, 2, 1), (0xA77D, 1, 1, -35332), (0xA77E, 5, 2, 1), (0xA78B, 1, 1, 1),
    (0xA78D, 1, 1, -42280), (0xA790, 2, 2, 1), (0xA796, 10, 2, 1), (0xA7AA, 1, 1, -42308), (0xA7AB, 1, 1, -42319),
    (0xA7AC, 1, 1, -42315), (0xA7AD, 1, 1, -42305), (0xA7AE, 1, 1, -42308), (0xA7B0, 1, 1, -42258),
    (0xA7B1, 1, 1, -42282), (0xA7B2, 1, 1, -42261), (0xA7B3, 1, 1, 928), (0xA7B4, 8, 2, 1), (0xA7C4, 1, 1, -48),
    (0xA7C5, 1, 1, -42307), (0xA7C6, 1, 1, -35384), (0xA7C7, 2, 2, 1), (0xA7D0, 1, 1, 1), (0xA7D6, 2, 2, 1),
    (0xA7F5, 1, 1, 1), (0xAB70, 80, 1, -38864), (0x10400, 40, 1, 40), (0x104B0, 36, 1, 40), (0x10570, 11, 1, 39),
    (0x1057C, 15, 1, 39), (0x1058C, 7, 1, 39), (0x10594, 2, 1, 39), (0x10C80, 51, 1, 64), (0x118A0, 32, 1, 32),
    (0x16E40, 32, 1, 32), (0x1E900, 34, 1, 34),
)
# fmt: on
_BIDI: Final = r"\u202a-\u202e\u2066-\u2069"
"""Embeddings, overrides and isolates: in one line they turn what stands around it."""

# Cc as Unicode has it (C0, DEL, C1), the two that break a line without being in Cc, and what turns a line around.
_not_in_line = re.compile(rf"[{CONTROL}\u2028\u2029{_BIDI}]").search
_not_in_prose = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]").search
_unseen = re.compile(f"[{UNSEEN}]+")
_blanks = re.compile(f"[{BLANK}]+")
_seen = re.compile(f"[^{UNSEEN}{BLANK}{CONTROL}]").finditer


def _folds() -> Iterator[tuple[int, str]]:
    for first, count, step, added in FOLDS:
        for letter in range(first, first + count * step, step):
            yield letter, chr(letter + added)
    yield from ((0xDF, "ss"), (0x1E9E, "ss"))


_folded: Final = dict(_folds())


def fold(text: str) -> str:
    """What names are compared by: without case, width, form, what nobody sees, and kinds and numbers of blanks."""
    if text.isascii():
        return _blanks.sub(" ", text.lower()).strip(" ")
    plain = _unseen.sub("", unicodedata.normalize("NFKD", text)).translate(_folded)
    return unicodedata.normalize("NFKC", _blanks.sub(" ", plain).strip(" "))


def shows(text: str) -> bool:
    """Whether there is anything to see: a mark alone stands on nothing."""
    return any(not unicodedata.category(found[0]).startswith("M") for found in _seen(text))


def line(text: str, field: str) -> str:
    """A text of one line, such as a title: no control characters, no line breaks of any kind, nothing that turns it."""
    found = _not_in_line(text)
    if found is not None:
        raise _control_character(text, found.start(), field)
    return text


def prose(text: str, field: str) -> str:
    """A longer text: line feeds and tabs are fine, other control characters are not.

    CR LF, which browsers send from a text area, is kept as the line feed it means.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    found = _not_in_prose(text)
    if found is not None:
        raise _control_character(text, found.start(), field)
    return text


def name(text: str, field: str) -> str:
    """One line with something to see on it."""
    found = line(text, field).strip()
    if not shows(found):
        raise _nothing_to_see(field)
    return found


def optional_line(text: str, field: str) -> str:
    """Empty for blanks; characters that nobody sees and nothing else are refused."""
    return _optional(line(text, field).strip(), field)


def body(text: str, field: str) -> str:
    """A longer text with something to see in it."""
    found = prose(text, field)
    if not shows(found):
        raise _nothing_to_see(field)
    return found


def optional_prose(text: str, field: str) -> str:
    """Empty for blanks; characters that nobody sees and nothing else are refused."""
    found = prose(text, field)
    return found if found.strip() and _optional(found, field) else ""


def mended_line(text: str, instead: str = "") -> str:
    """For texts that must not be lost, whatever is in them: `instead` where there is nothing to see."""
    found = re.sub(rf"[{CONTROL}\u2028\u2029{_BIDI}]+", " ", unicodedata.normalize("NFC", text)).strip()
    return found if shows(found) else instead


def mended_prose(text: str, instead: str = "") -> str:
    """With a sign in the place of each character that may not be in a text."""
    found = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    found = re.sub("[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", found)
    return found if shows(found) else instead


def _optional(text: str, field: str) -> str:
    if text and not shows(text):
        raise _nothing_to_see(field)
    return text


def _nothing_to_see(field: str) -> InvalidArgument:
    return InvalidArgument.field(field, "must not be blank: there has to be something to see in it")


def _control_character(text: str, position: int, field: str) -> InvalidArgument:
    return InvalidArgument.field(
        field, f"must not contain control characters: U+{ord(text[position]):04X} at character {position}"
    )
