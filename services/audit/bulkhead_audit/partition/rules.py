"""Which months there should be."""

from __future__ import annotations

from datetime import date
from typing import Final

AHEAD: Final = 3
"""Months made beyond this one: a worker that is down for a quarter of a year is noticed before that."""


def month_of(day: date) -> date:
    return day.replace(day=1)


def last_ahead(today: date) -> date:
    months = today.year * 12 + (today.month - 1) + AHEAD
    return date(months // 12, months % 12 + 1, 1)
