"""Partitions are there before an event needs them: months ahead by the worker, the rest before an append."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database

from bulkhead_audit.partition import rules, store


class Months:
    """Those known to be there. They are never removed while a service runs, so each is asked for but once."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: set[date] = set()

    async def ensure(self, caller: Caller, wanted: Iterable[date]) -> None:
        """In transactions of their own, before the caller's: what they lock is free again at once."""
        for month in sorted(set(wanted) - self._known):
            await make_months(self._db, caller, month, month)
            self._known.add(month)


async def make_ahead(db: Database, caller: Caller, today: date) -> int:
    """This month and those that follow; how many partitions were missing."""
    return await make_months(db, caller, today, rules.last_ahead(today))


async def make_months(db: Database, caller: Caller, first_day: date, last_day: date) -> int:
    async with db.transaction(caller, checked=False) as tx:
        return await store.make_months(tx, first_day, last_day)
