"""Between protobuf's values and ours: times as integers, texts checked.

PostgreSQL's binary timestamptz is the number of microseconds since 2000; a protobuf Timestamp made from it by
keyword costs half a microsecond, one made from a datetime costs six times that.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.moments import Y2K_UNIX, us_since_2000
from bulkhead_kit.texts import line, prose

__all__ = ["line", "prose", "timestamp", "timestamp_of", "to_datetime"]

_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_SECOND = -62_135_596_800  # 0001-01-01, the first a Timestamp may hold
_LAST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59


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
