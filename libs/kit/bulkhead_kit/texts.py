"""Texts of people: what may be in one, whether there is anything to see in it, and what names are compared by.

The database compares names in the same way: app.fold is made of the same tables, and tests/schema/test_texts.py holds
the two against each other. The tables are those of Unicode 14.0, written down, so that neither a newer Python nor a
newer PostgreSQL changes what is equal. Unicode's form NFC is given to every request by spelling.py.
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

FOLDS: Final = """
    41,26,1,32 C6,1,1,32 D0,1,1,32 D8,1,1,32 DE,1,1,32 110,1,1,1 126,1,1,1 141,1,1,1 14A,1,1,1 152,1,1,1 166,1,1,1
    181,1,1,210 182,2,2,1 186,1,1,206 187,1,1,1 189,2,1,205 18B,1,1,1 18E,1,1,79 18F,1,1,202 190,1,1,203 191,1,1,1
    193,1,1,205 194,1,1,207 196,1,1,211 197,1,1,209 198,1,1,1 19C,1,1,211 19D,1,1,213 19F,1,1,214 1A2,2,2,1
    1A6,1,1,218 1A7,1,1,1 1A9,1,1,218 1AC,1,1,1 1AE,1,1,218 1B1,2,1,217 1B3,2,2,1 1B7,1,1,219 1B8,1,1,1 1BC,1,1,1
    1E4,1,1,1 1F6,1,1,-97 1F7,1,1,-56 21C,1,1,1 220,1,1,-130 222,2,2,1 23A,1,1,10795 23B,1,1,1 23D,1,1,-163
    23E,1,1,10792 241,1,1,1 243,1,1,-195 244,1,1,69 245,1,1,71 246,5,2,1 345,1,1,116 370,2,2,1 376,1,1,1 37F,1,1,116
    391,17,1,32 3A3,7,1,32 3C2,1,1,1 3CF,1,1,8 3D8,12,2,1 3F7,1,1,1 3FA,1,1,1 3FD,3,1,-130 402,2,2,80 405,2,1,80
    408,4,1,80 40F,1,1,80 410,9,1,32 41A,22,1,32 460,11,2,1 478,5,2,1 48A,27,2,1 4C0,1,1,15 4C3,6,2,1 4D4,1,1,1
    4D8,1,1,1 4E0,1,1,1 4E8,1,1,1 4F6,1,1,1 4FA,27,2,1 531,38,1,48 10A0,38,1,7264 10C7,1,1,7264 10CD,1,1,7264
    13F8,6,1,-8 1C80,1,1,-6222 1C81,1,1,-6221 1C82,1,1,-6212 1C83,2,1,-6210 1C85,1,1,-6211 1C86,1,1,-6204
    1C87,1,1,-6180 1C88,1,1,35267 1C90,43,1,-3008 1CBD,3,1,-3008 1EFA,3,2,1 2132,1,1,28 2183,1,1,1 2C00,48,1,48
    2C60,1,1,1 2C62,1,1,-10743 2C63,1,1,-3814 2C64,1,1,-10727 2C67,3,2,1 2C6D,1,1,-10780 2C6E,1,1,-10749
    2C6F,1,1,-10783 2C70,1,1,-10782 2C72,1,1,1 2C75,1,1,1 2C7E,2,1,-10815 2C80,50,2,1 2CEB,2,2,1 2CF2,1,1,1
    A640,23,2,1 A680,14,2,1 A722,7,2,1 A732,31,2,1 A779,2,2,1 A77D,1,1,-35332 A77E,5,2,1 A78B,1,1,1 A78D,1,1,-42280
    A790,2,2,1 A796,10,2,1 A7AA,1,1,-42308 A7AB,1,1,-42319 A7AC,1,1,-42315 A7AD,1,1,-42305 A7AE,1,1,-42308
    A7B0,1,1,-42258 A7B1,1,1,-42282 A7B2,1,1,-42261 A7B3,1,1,928 A7B4,8,2,1 A7C4,1,1,-48 A7C5,1,1,-42307
    A7C6,1,1,-35384 A7C7,2,2,1 A7D0,1,1,1 A7D6,2,2,1 A7F5,1,1,1 AB70,80,1,-38864 10400,40,1,40 104B0,36,1,40
    10570,11,1,39 1057C,15,1,39 1058C,7,1,39 10594,2,1,39 10C80,51,1,64 118A0,32,1,32 16E40,32,1,32 1E900,34,1,34
"""
"""Unicode's full case folding of what is left after NFKD, a run of letters each: the first one in hexadecimal digits,
how many, how far apart, and what is added."""
_BIDI: Final = r"\u202a-\u202e\u2066-\u2069"
"""Embeddings, overrides and isolates: in one line they turn what stands around it."""

# Cc as Unicode has it (C0, DEL, C1), the two that break a line without being in Cc, and what turns a line around.
_not_in_line = re.compile(rf"[{CONTROL}\u2028\u2029{_BIDI}]").search
_not_in_prose = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]").search
_unseen = re.compile(f"[{UNSEEN}]+")
# What joins, parts and chooses forms of letters and emoji stays, but does nothing behind a Latin letter.
_needless = re.compile(
    rf"(?<=[A-Za-z\u00c0-\u024f])[{UNSEEN}]+"
    r"|[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2060-\u2064\u206a-\u206f\u3164\ufeff\uffa0\ufff0-\ufff8]"
).sub
_blanks = re.compile(f"[{BLANK}]+")
_seen = re.compile(f"[^{UNSEEN}{BLANK}{CONTROL}]").finditer


def _folds() -> Iterator[tuple[int, str]]:
    for run in FOLDS.split():
        first, count, step, added = run.split(",")
        start = int(first, 16)
        for letter in range(start, start + int(count) * int(step), int(step)):
            yield letter, chr(letter + int(added))
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
    """One line with something to see on it, and without what nobody sees: two names that look alike are one."""
    found = line(text, field)
    if not shows(found):
        raise _nothing_to_see(field)
    return found.strip() if found.isascii() else unicodedata.normalize("NFC", _needless("", found)).strip()


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
