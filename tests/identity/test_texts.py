from __future__ import annotations

import pytest
from bulkhead_identity import texts
from bulkhead_kit.errors import InvalidArgument


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("ann@example.com", "ann@example.com"),
        ("Ann@EXAMPLE.com", "Ann@example.com"),
        ("ann+tag@corp.example", "ann+tag@corp.example"),
        ("zoe\u0308@example.com", "zo\u00eb@example.com"),
        ("ann@b\u00fccher.example", "ann@b\u00fccher.example"),
    ],
)
def test_an_address_has_one_form(given: str, normal: str) -> None:
    assert texts.address(given, "email") == normal


@pytest.mark.parametrize(
    "given",
    [
        "",
        "ann",
        "@example.com",
        "ann@",
        "a b@example.com",
        "ann@example.com\n",
        "ann@exa mple.com",
        "ann@example..com",
        "Ann <ann@example.com>",
        "ann@example.com, eve@example.com",
        "ann\u202e@example.com",
        "a" * 65 + "@example.com",
    ],
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        texts.address(given, "email")
    assert refusal.value.violations[0].field == "email"


def test_a_name_is_one_line_with_something_on_it() -> None:
    assert texts.name("  Zo\u00eb \U0001f98a ", "name") == "Zo\u00eb \U0001f98a"
    for wrong in ("", "  ", "\u2003", "a\nb", "a\x00", "a\u2028b", "\x1b[31m"):
        with pytest.raises(InvalidArgument):
            texts.name(wrong, "name")


IMITATIONS = [
    "Ann (Bulkhead support)",
    "Ann (Bulkhead support\u200b)",
    "Ann (Bulk\u00adhead support)",
    "Ann (Bulkhead\u00a0support)",
    "Ann (Bulkhead  support)",
    "Ann (Bulkhead support).",
    "Ann (bulkhead SUPPORT)",
    "Ann (Bulkhead supp\u043ert)",
    "Ann (\u0412ulkh\u0435ad support)",
    "Ann (Bulkhead supp0rt)",
    "Ann (BuIkhead support)",
    "Ann [Bulkhead\u2011support]",
    "Ann (Bulkhead\u2800support)",
    "Ann \uff08\uff22\uff55\uff4c\uff4b\uff48\uff45\uff41\uff44 support\uff09",
    "Ann (\U0001d401\U0001d42e\U0001d425\U0001d424\U0001d421\U0001d41e\U0001d41a\U0001d41d support)",
    "Ann (Bulkhe\u0301ad support)",
    "Bulkhead Support Team",
    "Bulkhead 1 Support",
    "Bulkhead \u043e support",
]
READ_BY_SQL = [one for one in IMITATIONS if not set("\u043e\u0412\u04350I") & set(one) or " \u043e " in one]
"""Without the letters of other alphabets and digits that only lookalikes.py knows."""


@pytest.mark.parametrize("given", IMITATIONS)
def test_nobody_calls_herself_support(given: str) -> None:
    for read in (texts.name, texts.optional_name):
        with pytest.raises(InvalidArgument, match="those who come to help"):
            read(given, "full_name")


@pytest.mark.parametrize("given", ["Ann Support", "Bulkhead", "Bulk Head", "Support desk", "Bulkhead sup"])
def test_an_honest_name_is_taken(given: str) -> None:
    assert texts.name(given, "full_name") == given
