"""Reads and transactions for a Caller: context, membership check and statements in as few round trips as can be."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import psycopg
from psycopg import pq
from sqlalchemy import text

from bulkhead_kit.caller import Caller
from bulkhead_kit.db.context import LOCK_LIMITS, enter
from bulkhead_kit.db.query import Bound, Query
from bulkhead_kit.db.refusals import translate
from bulkhead_kit.db.session import Failed, Session
from bulkhead_kit.errors import DomainError

R = TypeVar("R")
R1 = TypeVar("R1")
R2 = TypeVar("R2")

Sessions = Callable[[Caller], AbstractAsyncContextManager[Session]]
"""Lends a connection to a caller."""

_BEGIN: Query[Any] = Query(text("begin"))
_COMMIT: Query[Any] = Query(text("commit"))


class StaleContext(RuntimeError):
    """A connection came out of the pool with a tenant's context still on it. It is closed, the call fails."""


class MoreThanOneRow(LookupError):
    """A query that names one row found several."""


class Reader:
    """What a store's reading functions need. Each await is one round trip and one snapshot of its own."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    async def all(self, query: Query[R], **values: Any) -> list[R]:
        (result,) = await self._fetch([Bound(query, values)])
        return query.decode(result)

    async def one_or_none(self, query: Query[R], **values: Any) -> R | None:
        rows = await self.all(query, **values)
        if len(rows) > 1:
            raise MoreThanOneRow(query.sql)
        return rows[0] if rows else None

    async def one(self, query: Query[R], **values: Any) -> R:
        """Raises LookupError when there is no row; for rows whose absence would be a fault of ours."""
        row = await self.one_or_none(query, **values)
        if row is None:
            raise LookupError(query.sql)
        return row

    async def together(self, first: Bound[R1], second: Bound[R2]) -> tuple[list[R1], list[R2]]:
        """Two queries in one round trip."""
        one, two = await self._fetch([first, second])
        return first.query.decode(one), second.query.decode(two)

    async def _fetch(self, bounds: list[Bound[Any]]) -> list[pq.abc.PGresult]:
        raise NotImplementedError


class Snapshot(Reader):
    """Reads without a transaction of their own: a pipeline is one up to its sync."""

    def __init__(self, sessions: Sessions, caller: Caller) -> None:
        super().__init__(caller)
        self._sessions = sessions

    async def _fetch(self, bounds: list[Bound[Any]]) -> list[pq.abc.PGresult]:
        entry, context = enter(self.caller, writing=False)
        async with self._sessions(self.caller) as session:
            session.add(entry, context)
            for bound in bounds:
                session.add(bound.query, _supplied(self.caller, bound.values))
            results = await _run(session, (bound.query for bound in bounds))
            _refuse_stale(entry, results[0])
            return results[1:]


class Transaction(Reader):
    """BEGIN to COMMIT. Statements are sent with the first that has to be waited for, or with COMMIT."""

    def __init__(self, caller: Caller, session: Session) -> None:
        super().__init__(caller)
        self._session = session
        self._used: list[Query[Any]] = []
        self._waiting: list[_Awaited] = []

    def begin(self, *, locks_limits: bool, importing: bool, checked: bool) -> None:
        self._session.add(_BEGIN, {})
        self._expect(None)
        if locks_limits:
            # First of all locks, before the membership's: any other order deadlocks.
            self._session.add(LOCK_LIMITS, {"tenant_id": self.caller.tenant()})
            self._expect(None)
        entry, context = enter(self.caller, writing=True, checked=checked, importing=importing)
        self._session.add(entry, context)
        self._expect(lambda result: _refuse_stale(entry, result))

    async def execute(self, query: Query[Any], **values: Any) -> int:
        """The number of rows touched. Row-level security hides rows from a write silently: 0 is never success."""
        (result,) = await self._fetch([Bound(query, values)])
        return result.command_tuples or 0

    def send(self, query: Query[Any], *, must_touch: DomainError | None = None, **values: Any) -> None:
        """Queues a write that nothing waits for. Its errors surface at the next await or at the end.

        `must_touch` is raised there when it touched no row; left to the end, that costs a round trip of its own.
        """
        self._add(Bound(query, values))
        self._expect(None if must_touch is None else lambda result: _refuse_untouched(result, must_touch))

    async def commit(self) -> None:
        if any(check is not None for check in self._waiting):
            # What is still to be checked must not be committed by then.
            await self._settle()
        self._session.add(_COMMIT, {})
        self._expect(_refuse_rollback)
        await self._settle()

    async def _fetch(self, bounds: list[Bound[Any]]) -> list[pq.abc.PGresult]:
        for bound in bounds:
            self._add(bound)
            self._expect(None)
        return (await self._settle())[-len(bounds) :]

    def _add(self, bound: Bound[Any]) -> None:
        self._session.add(bound.query, _supplied(self.caller, bound.values))
        self._used.append(bound.query)

    def _expect(self, check: _Awaited) -> None:
        self._waiting.append(check)

    async def _settle(self) -> list[pq.abc.PGresult]:
        checks, self._waiting = self._waiting, []
        results = await _run(self._session, self._used)
        for check, result in zip(checks, results, strict=True):
            if check is not None:
                check(result)
        return results


_Awaited = Callable[[pq.abc.PGresult], None] | None


async def _run(session: Session, queries: Any) -> list[pq.abc.PGresult]:
    try:
        return await session.run()
    except Failed as failed:
        error = translate(failed.error, queries)
        raise error from (None if isinstance(error, DomainError) else failed)


def _supplied(caller: Caller, values: Any) -> dict[str, Any]:
    """A statement's binds tenant_id and caller_id always come from the Caller, never from its arguments."""
    return {**values, "tenant_id": caller.tenant_id, "caller_id": caller.user_id}


def _refuse_stale(entry: Query[Any], result: pq.abc.PGresult) -> None:
    if result.get_value(0, 0) is not None:
        raise StaleContext


def _refuse_untouched(result: pq.abc.PGresult, error: DomainError) -> None:
    if not result.command_tuples:
        raise error


def _refuse_rollback(result: pq.abc.PGresult) -> None:
    if result.command_status != b"COMMIT":
        raise psycopg.InternalError("the transaction ended without being committed")
