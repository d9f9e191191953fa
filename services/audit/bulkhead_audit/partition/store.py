"""The one function that makes partitions; this service's roles could not make them themselves."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from bulkhead_kit.db import Query, Transaction
from sqlalchemy import Date, Integer, bindparam, func, select


class _Made(NamedTuple):
    made: int


_MAKE_MONTHS = Query(
    select(
        func.audit.make_months(
            bindparam("first_day", type_=Date), bindparam("last_day", type_=Date), type_=Integer
        ).label("made")
    ),
    row=_Made,
)


async def make_months(tx: Transaction, first_day: date, last_day: date) -> int:
    """How many partitions were missing and are there now."""
    return (await tx.one(_MAKE_MONTHS, first_day=first_day, last_day=last_day)).made
