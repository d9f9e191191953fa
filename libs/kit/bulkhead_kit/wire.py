"""Between protobuf's values and ours: times as integers, texts checked.

PostgreSQL's binary timestamptz is the number of microseconds since 2000; a protobuf Timestamp made from it by
keyword costs half a microsecond, one made from a datetime costs six times that.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.moments import Y2K_UNIX, us_since_2000

_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_SECOND = -62_135_596_800  # 0001-01-01, the first a Timestamp may hold
_LAST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59

# Cc as Unicode has it (C0, DEL, C1), and the two that break a line without being in Cc.
_not_in_line = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]").search
_not_in_prose = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]").search


def timestamp(us_since_2000: int | None) -> Timestamp | None:
    """From PostgreSQL's binary timestamptz; None stays None, so it can be passed on as a keyword argument."""
    if us_since_2000 is None:
        return None
    seconds, micros = divmod(us_since_2000, 1_000_000)
    return Timestamp(seconds=seconds + Y2K_UNIX, nanos=micros * 1000)


def timestamp_of(moment: datetime | None) -> Timestamp | None:
    """From a datetime with a zone; `timestamp` is the faster way for what comes from the database."""
    return None if moment is None else timestamp(us_since_2000(moment))


def to_datetime(stamp: Timestamp, field: str = "time") -> datetime:
    """Cut to microseconds, which is all PostgreSQL keeps; one outside a Timestamp's range names the field."""
    if not _FIRST_SECOND <= stamp.seconds <= _LAST_SECOND or not 0 <= stamp.nanos < 1_000_000_000:
        raise InvalidArgument.field(field, "must be a time from year 1 to 9999 with nanos from 0 to 999,999,999")
    return _UNIX + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)


def line(text: str, field: str) -> str:
    """A text of one line, such as a title: no control characters and no line breaks of any kind."""
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


def _control_character(text: str, position: int, field: str) -> InvalidArgument:
    return InvalidArgument.field(
        field, f"must not contain control characters: U+{ord(text[position]):04X} at character {position}"
    )
