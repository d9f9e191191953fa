"""Which months there should be. A month is its first day."""

from __future__ import annotations

from datetime import date
from typing import Final

AHEAD: Final = 3
"""Months made beyond this one: a worker that is down for a quarter of a year is noticed before that."""


def last_ahead(today: date) -> date:
    return _shifted(today, AHEAD)


def month_after(month: date) -> date:
    return _shifted(month, 1)


def _shifted(day: date, by: int) -> date:
    months = day.year * 12 + day.month - 1 + by
    return date(months // 12, months % 12 + 1, 1)
