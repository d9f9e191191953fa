"""Time zones and language tags."""

from __future__ import annotations

import pytest
from bulkhead_identity.user import rules
from bulkhead_kit.errors import InvalidArgument


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("de", "de"),
        ("DE-at", "de-AT"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("sl-rozaj-biske", "sl-rozaj-biske"),
        ("de-CH-1996", "de-CH-1996"),
        ("en-US-u-ca-gregory", "en-US-u-ca-gregory"),
        ("en-x-ours", "en-x-ours"),
        ("zh-cmn-Hans-CN", "zh-cmn-Hans-CN"),
    ],
)
def test_language_tags_are_kept_in_their_usual_case(given: str, kept: str) -> None:
    assert rules.locale(given, "user.locale") == kept


@pytest.mark.parametrize(
    "wrong", ["d", "de_AT", "de-", "-de", "de--AT", "german", "de-A", "de-AT-", "d\u00e9", "en-u", "1"]
)
def test_what_is_no_language_tag_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidArgument, match=r"user\.locale"):
        rules.locale(wrong, "user.locale")


@pytest.mark.parametrize(
    "zone", ["", "UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Asia/Kolkata", "Etc/GMT+5"]
)
def test_time_zones_that_are_there(zone: str) -> None:
    assert rules.time_zone(zone, "user.time_zone") == zone


@pytest.mark.parametrize(
    "wrong", ["Berlin", "europe/berlin", "Europe/Berlin ", "../etc/passwd", "/UTC", "localtime", "Factory"]
)
def test_time_zones_that_are_none(wrong: str) -> None:
    with pytest.raises(InvalidArgument, match=r"user\.time_zone"):
        rules.time_zone(wrong, "user.time_zone")
