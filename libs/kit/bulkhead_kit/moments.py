"""Time as PostgreSQL sends it: microseconds since 2000-01-01 UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

Y2K: Final = datetime(2000, 1, 1, tzinfo=UTC)
Y2K_UNIX: Final = 946_684_800
"""The same in seconds since 1970."""
_MICROSECOND: Final = timedelta(microseconds=1)


def us_since_2000(moment: datetime) -> int:
    """Exact, unlike `datetime.timestamp()`, whose float loses microseconds."""
    return (moment - Y2K) // _MICROSECOND


def unix_seconds(us: int) -> int:
    """As tokens count; what is left of a second is cut."""
    return us // 1_000_000 + Y2K_UNIX


def from_us_since_2000(us: int) -> datetime:
    return Y2K + timedelta(microseconds=us)
