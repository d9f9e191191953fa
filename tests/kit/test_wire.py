from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
from bulkhead_kit import wire
from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.moments import from_us_since_2000, us_since_2000
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

moments = st.integers(min_value=-63_082_281_600_000_000, max_value=252_455_529_600_000_000 - 1).map(from_us_since_2000)


@given(moments)
def test_a_time_survives_postgres_and_protobuf(moment: datetime) -> None:
    us = us_since_2000(moment)
    assert from_us_since_2000(us) == moment
    stamp = wire.timestamp(us)
    assert stamp is not None
    assert wire.to_datetime(stamp) == moment
    by_protobuf = Timestamp()
    by_protobuf.FromDatetime(moment)
    assert stamp == by_protobuf
    assert wire.timestamp_of(moment) == stamp


def test_no_time_stays_no_time() -> None:
    assert wire.timestamp(None) is None
    assert wire.timestamp_of(None) is None


def test_nanoseconds_are_cut_not_rounded() -> None:
    assert wire.to_datetime(Timestamp(seconds=0, nanos=1999)) == datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)


def test_the_edges_of_the_range_are_taken() -> None:
    assert wire.to_datetime(Timestamp(seconds=-62_135_596_800)) == datetime(1, 1, 1, tzinfo=UTC)
    last = wire.to_datetime(Timestamp(seconds=253_402_300_799, nanos=999_999_999))
    assert last == datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "nanos"),
    [(-62_135_596_801, 0), (253_402_300_800, 0), (2**63 - 1, 0), (-(2**63), 0), (0, -1), (0, 1_000_000_000)],
)
def test_a_timestamp_outside_its_rules_names_the_field(seconds: int, nanos: int) -> None:
    with pytest.raises(InvalidArgument) as caught:
        wire.to_datetime(Timestamp(seconds=seconds, nanos=nanos), "issue.due_time")
    assert caught.value.violations[0].field == "issue.due_time"


def test_a_line_and_prose_take_what_people_write() -> None:
    for text in ("", "Zażółć gęślą jaźń", "日本語", "🧱 𝔅𝔲𝔩𝔨 👩‍👩‍👧", "a\u00a0b", "אבג", "\\n"):
        assert wire.line(text, "title") == text
        assert wire.prose(text, "body") == text
    assert wire.prose("a\n\tb", "body") == "a\n\tb"
    assert wire.prose("a\r\nb\r\n", "body") == "a\nb\n"


def breaks_a_line(text: str) -> bool:
    return any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in text)


@given(st.text())
def test_no_control_character_passes(text: str) -> None:
    if breaks_a_line(text):
        with pytest.raises(InvalidArgument) as caught:
            wire.line(text, "title")
        assert caught.value.violations[0].field == "title"
    else:
        assert wire.line(text, "title") == text


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0)])
def test_every_control_character_is_refused_but_the_two_of_prose(code: int) -> None:
    text = f"a{chr(code)}b"
    with pytest.raises(InvalidArgument, match=f"U\\+{code:04X} at character 1"):
        wire.line(text, "title")
    if chr(code) in "\n\t":
        assert wire.prose(text, "body") == text
    else:
        with pytest.raises(InvalidArgument, match="body: must not contain control characters"):
            wire.prose(text, "body")


def test_offset_times_are_compared_in_utc() -> None:
    assert us_since_2000(datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=1)) == 1
