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


def test_nobody_calls_herself_support() -> None:
    with pytest.raises(InvalidArgument, match="those who come to help"):
        texts.name("Ann (Bulkhead support)", "full_name")
