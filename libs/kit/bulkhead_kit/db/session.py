"""One checked-out connection, spoken to in libpq's pipeline mode: a batch is one round trip.

psycopg opens, watches and closes the connection; only sending and receiving is done here, on psycopg.pq, because
psycopg's own pipeline costs four times as much CPU as the statements it carries.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors, pq

from bulkhead_kit.db.query import Query

log = logging.getLogger(__name__)

_BINARY = pq.Format.BINARY
_SYNC = pq.ExecStatus.PIPELINE_SYNC
_ABORTED = pq.ExecStatus.PIPELINE_ABORTED
_FAILED = pq.ExecStatus.FATAL_ERROR
_STRAYED = (errors.InvalidSqlStatementName, errors.DuplicatePreparedStatement)
PREPARED_MAX = 500
"""Statements kept prepared on one connection; beyond it the least used one is closed."""


@dataclass(slots=True)
class Traffic:
    """What went to the server since the process started, for metrics and for the bench."""

    round_trips: int = 0
    statements: int = 0
    strayed: int = 0
    """Prepared statements that were not where they had been left: a pooler lends the server to several clients."""


class Connection(psycopg.AsyncConnection[Any]):
    """What the pool holds: a connection that stays in pipeline mode and knows its prepared statements."""

    prepared: OrderedDict[bytes, None]
    traffic: Traffic
    pooled: bool = False
    prepares: bool

    async def start_pipelining(self, traffic: Traffic, *, prepares: bool = True) -> None:
        self.prepared = OrderedDict()
        self.traffic = traffic
        self.prepares = prepares
        self.pgconn.nonblocking = 1
        self.pgconn.enter_pipeline_mode()

    def is_there(self) -> bool:
        """Whether the server has not hung up. Looks only at what has come in: no round trip, some microseconds."""
        try:
            self.pgconn.consume_input()
            # The first look may have found only its last words.
            self.pgconn.consume_input()
        except psycopg.OperationalError:
            return False
        return self.pgconn.status == pq.ConnStatus.OK


class Failed(Exception):
    """A statement of a batch was refused by the server."""

    def __init__(self, error: psycopg.Error, query: Query[Any] | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.query = query


_Step = tuple[Query[Any] | None, bytes | None]
"""What an answer belongs to: a query and None; to prepare it, with its name; to close one, its name alone."""


class Session:
    """Statements queued by `add` go out with the next `run`, which answers with one result for each of them."""

    __slots__ = ("_connection", "_loop", "_pgconn", "_queued", "_received", "_running", "_sent")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pgconn = connection.pgconn
        self._loop = asyncio.get_running_loop()
        self._queued: list[_Step] = []
        self._sent: list[_Step] = []
        # Kept here and not by who waits for it: who is cancelled would take along what had come in.
        self._received: list[pq.abc.PGresult] = []
        self._running = False

    @property
    def connection(self) -> Connection:
        return self._connection

    @property
    def at_rest(self) -> bool:
        """Nothing is queued or under way and no transaction is open."""
        return not self._running and not self._queued and self._pgconn.transaction_status == pq.TransactionStatus.IDLE

    def add(self, query: Query[Any], values: Mapping[str, Any]) -> None:
        parameters, formats = query.encode(values)
        connection = self._connection
        prepared = connection.prepared
        if query.uses_left or not connection.prepares:
            query.uses_left = max(0, query.uses_left - 1)
            connection.traffic.statements += 1
            self._pgconn.send_query_params(query.sql, parameters, param_formats=formats, result_format=_BINARY)
            self._queued.append((query, None))
            return
        if query.name in prepared:
            prepared.move_to_end(query.name)
        else:
            if len(prepared) >= PREPARED_MAX:
                oldest, _ = prepared.popitem(last=False)
                self._pgconn.send_close_prepared(oldest)
                self._queued.append((None, oldest))
            self._pgconn.send_prepare(query.name, query.sql)
            self._queued.append((query, query.name))
            prepared[query.name] = None
        self._connection.traffic.statements += 1
        self._pgconn.send_query_prepared(query.name, parameters, param_formats=formats, result_format=_BINARY)
        self._queued.append((query, None))

    async def run(self) -> list[pq.abc.PGresult]:
        """Sends what is queued and reads all answers. Raises Failed for the first statement that was refused."""
        self._connection.traffic.round_trips += 1
        received = await self._exchange()
        results: list[pq.abc.PGresult] = []
        failure: Failed | None = None
        for (query, name), result in zip(self._sent, received, strict=False):
            if result.status in (_FAILED, _ABORTED):
                if result.status == _FAILED:
                    failure = Failed(errors.error_from_result(result), query)
            elif name is None:
                results.append(result)
        if len(received) > len(self._sent) and failure is None:
            # What ends without BEGIN and COMMIT ends at the sync, and may fail there.
            failure = Failed(errors.error_from_result(received[-1]), None)
        if failure is not None:
            self._keep_account()
            if isinstance(failure.error, _STRAYED):
                self._connection.traffic.strayed += self._connection.pooled
            if isinstance(failure.error, (errors.FeatureNotSupported, *_STRAYED)):
                # A plan no longer fits its table. Made anew it would need a name of its own: a new connection has all.
                await self._connection.close()
            raise failure
        return results

    async def abandon(self, *, patience: float = 2.0) -> None:
        """Stops what is running and ends the transaction, within about `patience` seconds, or closes the connection."""
        try:
            async with asyncio.timeout(patience):
                if self._running:
                    await self._connection.cancel_safe(timeout=patience)
                    await self._flush()
                    await self._receive()
                    self._running = False
                    self._keep_account()
                if self._queued:
                    await self._exchange()
                    self._keep_account()
                if not self.at_rest:
                    await self.rollback()
        except (psycopg.Error, OSError, TimeoutError):
            log.warning("a connection could not be brought back to rest and was closed")
            await self._connection.close()

    async def rollback(self) -> None:
        self._pgconn.send_query_params(b"rollback", [])
        self._queued.append((None, None))
        await self._exchange()

    async def _exchange(self) -> list[pq.abc.PGresult]:
        """Sends what is queued and waits for all of its answers, good or bad."""
        self._sent, self._queued, self._received = self._queued, [], []
        self._running = True
        self._pgconn.pipeline_sync()
        await self._flush()
        received = await self._receive()
        self._running = False
        return received

    def _keep_account(self) -> None:
        """After a failure or a cancellation: what was to be prepared or closed behind it was not."""
        prepared = self._connection.prepared
        # A failure at the sync itself is one answer more.
        for (query, name), result in zip(self._sent, self._received, strict=False):
            if name is None or result.status not in (_FAILED, _ABORTED):
                continue
            if query is None:
                prepared[name] = None
            else:
                prepared.pop(name, None)

    async def _flush(self) -> None:
        while self._pgconn.flush():
            # The server may be waiting for us to read before it reads on.
            await self._wait(writable=True)
            self._pgconn.consume_input()

    async def _receive(self) -> list[pq.abc.PGresult]:
        """Every result up to the next sync."""
        pgconn, received = self._pgconn, self._received
        ended = False
        while True:
            while pgconn.is_busy():
                await self._wait(writable=False)
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is not None:
                if result.status == _SYNC:
                    return received
                received.append(result)
            elif ended:
                raise psycopg.OperationalError("the connection ended before its answers")
            # Each statement's answers end with a None; two in a row mean that nothing more will come.
            ended = result is None

    async def _wait(self, *, writable: bool) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        socket = self._pgconn.socket
        self._loop.add_reader(socket, _wake, ready)
        if writable:
            self._loop.add_writer(socket, _wake, ready)
        try:
            await ready
        finally:
            self._loop.remove_reader(socket)
            if writable:
                self._loop.remove_writer(socket)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
