"""What may be in a text of people, what there is to see in it, and what names are compared by."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from bulkhead_kit import texts
from bulkhead_kit.errors import InvalidArgument

NOTHING = ["", " ", "\u00a0", "\u2003", "\u200b", "\u3164", "\u2800", "\ufeff", "\u200d", "\u2060", "\u00ad", "\u180e"]
NOTHING += ["\u0301", "\u034f", "\ufe0f", "\U000e0041", "\U000e0fff", "\u200b \u3164\u2800", "\u200e\u200f", "\u061c"]
SOMETHING = ["a", ".", "\u00b4", "a\u0301", "\U0001f469\u200d\U0001f4bb", "\u2764\ufe0f", "\u0600", "\u4e2d"]
SAME = [
    ("bug", "bu\u200bg"),
    ("bug", " BUG\u00a0"),
    ("bug", "\uff22\uff55\uff47"),
    ("a b", "a  b"),
    ("a b", "a\u3000\u2003b"),
    ("a b", "a\u2800b"),
    ("Caf\u00e9", "cafe\u0301"),
    ("stra\u00dfe", "STRASSE"),
    ("stra\u1e9ee", "strasse"),
    ("\u03bf\u03b4\u03bf\u03c2", "\u039f\u0394\u039f\u03a3"),
    ("\ufb01x", "FIX"),
    ("\u1f80", "\u1f88"),
    ("\u13a0", "\uab70"),
]


@pytest.mark.parametrize("text", NOTHING)
def test_nothing_to_see_is_no_text(text: str) -> None:
    assert not texts.shows(text)
    for read in (texts.name, texts.body):
        with pytest.raises(InvalidArgument) as refusal:
            read(text, "title")
        assert refusal.value.violations[0].field == "title"
    assert texts.mended_line(text, "(empty)") == texts.mended_prose(text, "(empty)") == "(empty)"


@pytest.mark.parametrize("text", NOTHING)
def test_what_may_be_left_out_is_blank_or_refused(text: str) -> None:
    if text.strip():
        with pytest.raises(InvalidArgument):
            texts.optional_line(text, "industry")
        with pytest.raises(InvalidArgument):
            texts.optional_prose(text, "description")
    else:
        assert texts.optional_line(text, "industry") == texts.optional_prose(text, "description") == ""


@pytest.mark.parametrize("text", SOMETHING)
def test_what_shows_is_kept(text: str) -> None:
    assert texts.name(f" {text} ", "title") == unicodedata.normalize("NFC", text)
    assert texts.body(text, "body") == text
    assert texts.mended_line(text) == unicodedata.normalize("NFC", text) == texts.mended_prose(text)


@pytest.mark.parametrize(
    "unseen", ["\u200b", "\u200d", "\u00ad", "\u2060", "\ufeff", "\u3164", "\ufe0f", "\u200e", "\U000e0062"]
)
def test_a_name_is_kept_without_what_nobody_sees(unseen: str) -> None:
    assert texts.name(f"bu{unseen}g", "name") == "bug"
    assert texts.name(f"bu\u034f{unseen}g", "name") == "bug"
    assert texts.name(f"e{unseen}\u0301", "name") == "\u00e9"
    assert texts.body(f"bu{unseen}g", "body") == f"bu{unseen}g"


@pytest.mark.parametrize(
    "name",
    ["\U0001f469\u200d\U0001f4bb", "1\ufe0f\u20e3", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u2764\ufe0f"],
)
def test_what_joins_and_parts_letters_stays(name: str) -> None:
    assert texts.name(name, "name") == name


@pytest.mark.parametrize(("one", "other"), SAME)
def test_names_are_compared_by_what_they_look_like(one: str, other: str) -> None:
    assert texts.fold(one) == texts.fold(other)


def test_different_names_stay_different() -> None:
    names = ["bug", "bag", "b ug", "bugs", "b\u00fcg", "\u0431ug", "\u0131", "i", "\u30ab", "\u30ac"]
    assert len({texts.fold(name) for name in names}) == len(names)


@pytest.mark.parametrize("sign", "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
def test_nothing_in_a_line_turns_what_stands_around_it(sign: str) -> None:
    with pytest.raises(InvalidArgument):
        texts.line(f"a{sign}b", "title")
    assert texts.prose(f"a{sign}b", "body") == f"a{sign}b"
    assert texts.mended_line(f"a{sign}b") == "a b"


def test_folding_knows_every_letter_and_is_done_at_once() -> None:
    """Unicode's own full case folding, of every letter that Python knows; twice folded is folded."""
    for code in range(sys.maxunicode + 1):
        letter = chr(code)
        if unicodedata.category(letter) in {"Cs", "Cn"}:
            continue
        folded = texts.fold(letter)
        assert texts.fold(folded) == folded, hex(code)
        assert texts.fold(letter.casefold()) == folded, hex(code)
        assert texts.fold(unicodedata.normalize("NFD", letter)) == folded, hex(code)
