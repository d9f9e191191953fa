"""Time as PostgreSQL sends it: microseconds since 2000-01-01 UTC. The only place that counts from there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

Y2K: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def us_since_2000(moment: datetime) -> int:
    """Exact, unlike `datetime.timestamp()`, whose float loses microseconds."""
    return (moment - Y2K) // _MICROSECOND


def from_us_since_2000(us: int) -> datetime:
    return Y2K + timedelta(microseconds=us)
