"""The pool, and the only ways to a connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from sqlalchemy import Boolean, Column, Double, Integer, MetaData, Table, Text, cast, column, func, select, text

from bulkhead_kit import clock
from bulkhead_kit.caller import Caller
from bulkhead_kit.db.pooling import PoolerWatch
from bulkhead_kit.db.query import Query
from bulkhead_kit.db.refusals import unavailable
from bulkhead_kit.db.session import Connection, Session, Traffic
from bulkhead_kit.db.transaction import Reader, Snapshot, StaleContext, Transaction
from bulkhead_kit.errors import DeadlineExceeded
from bulkhead_kit.poolers import Pooler
from bulkhead_kit.roles import FAULTS, LOGIN, Login, RoleFault, login_faults, said
from bulkhead_kit.shares import Shares

log = logging.getLogger(__name__)

MINIMUM_VERSIONS = {18: 180007, 17: 170012, 16: 160016, 15: 150020}
"""The first release of each major without the known holes in row-level security (CVE-2026-120154 and others)."""


_ROLE_FAULTS = Query(
    text(FAULTS).columns(column("role", Text), column("fault", Text), column("mend", Text)),
    row=RoleFault,
)


_LOGIN = Query(
    text(LOGIN).columns(
        column("name", Text),
        column("acts_as", Text),
        column("is_superuser", Boolean),
        column("bypasses_rls", Boolean),
        column("owns", Boolean),
    ),
    row=Login,
)


class ServerState(NamedTuple):
    server_version: int
    """As in server_version_num: 180006 is 18.6."""
    revision: str
    is_read_only: bool
    """A standby, or set to read only: calls that change something fail."""
    unix: float
    """The server's clock, in seconds since 1970."""


@cache
def _state_of(schema: str) -> Query[ServerState]:
    version = Table("alembic_version", MetaData(), Column("version_num", Text), schema=schema)
    return Query(
        select(
            cast(func.current_setting("server_version_num"), Integer).label("server_version"),
            version.c.version_num.label("revision"),
            (func.current_setting("transaction_read_only") == "on").label("is_read_only"),
            cast(func.extract("epoch", func.clock_timestamp()), Double).label("unix"),
        ),
        row=ServerState,
    )


def known_holes(server_version: int) -> str | None:
    """What to say about a server that is not safe; None of one that is."""
    major, minor = divmod(server_version, 10_000)
    least = MINIMUM_VERSIONS.get(major, MINIMUM_VERSIONS[max(MINIMUM_VERSIONS)])
    if server_version >= least:
        return None
    wanted = "{}.{}".format(*divmod(least, 10_000))
    return f"PostgreSQL {major}.{minor} has known holes in row-level security: update it to {wanted}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    min_size: int = 2
    max_size: int = 16
    wait: float = 2.0
    """Seconds a call waits for a connection before it is answered UNAVAILABLE."""
    max_lifetime: float = 3600.0
    safe_only: bool = False
    """Whether servers with known holes are refused."""
    login: str = ""
    """The one that is worked with; connections of any other, or of a superuser, are refused. Empty takes each."""
    pooler: Pooler = "none"
    """Without statements prepared by name behind one in transaction mode; one that was not said is refused."""
    pooler_setting: str = "DATABASE_POOLER"
    """Where an operator says it."""


class Database:
    """One service's way to PostgreSQL, as the service's own role."""

    def __init__(self, url: str, settings: PoolSettings | None = None, *, application: str = "bulkhead") -> None:
        self._settings = settings or PoolSettings()
        self._traffic = Traffic()
        self._shares = Shares(self._settings.max_size)
        self._returning: set[asyncio.Task[None]] = set()
        self._watch = PoolerWatch(self._settings.pooler, self._settings.pooler_setting, self._traffic)
        self.refused: str | None = None
        """Why the server is not worked with, when it can be reached and must not be."""
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            connection_class=Connection,
            kwargs={"autocommit": True, "prepare_threshold": None, "application_name": application},
            min_size=self._settings.min_size,
            max_size=self._settings.max_size,
            max_lifetime=self._settings.max_lifetime,
            configure=self._configure,
            reconnect_timeout=10.0,
            open=False,
            name=application,
        )

    async def open(self) -> None:
        """Starts connecting. Does not wait for the database: a service starts without it and says so by its health."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        while self._returning:
            await asyncio.wait(self._returning)
        await self._pool.close()

    async def renew(self) -> None:
        """Takes new connections: what the server is told of all its sessions, an open one may never hear."""
        await self._pool.drain()

    def stats(self) -> dict[str, int]:
        """Counters of the pool and of what went through it, by name."""
        pool, shares = self._pool.get_stats(), self._shares
        return {
            **pool,
            # Calls wait for their tenant's turn first, and then hardly ever in the pool.
            "requests_waiting": pool.get("requests_waiting", 0) + shares.waiting,
            "requests_queued": pool.get("requests_queued", 0) + shares.queued,
            "requests_wait_ms": pool.get("requests_wait_ms", 0) + int(shares.waited * 1000),
            "requests_errors": pool.get("requests_errors", 0) + shares.given_up,
            "round_trips": self._traffic.round_trips,
            "statements": self._traffic.statements,
        }

    async def state(self, schema: str, caller: Caller) -> ServerState:
        """Server version and the schema's revision. Raises Unavailable when the database cannot be reached."""
        return await self.read(caller).one(_state_of(schema))

    async def role_faults(self, caller: Caller) -> list[RoleFault]:
        """What is wrong with the installation's roles. Raises Unavailable when the database cannot be reached."""
        return await self.read(caller).all(_ROLE_FAULTS)

    async def login_faults(self, caller: Caller) -> list[RoleFault]:
        """What is wrong with our own login now. Raises Unavailable when the database cannot be reached."""
        found = await self.read(caller).one(_LOGIN)
        return login_faults(found, self._settings.login or found.name)

    def read(self, caller: Caller) -> Reader:
        """Each await of the reader is one round trip: context, membership check and statement, in one snapshot."""
        return Snapshot(self.session, caller)

    @asynccontextmanager
    async def transaction(
        self, caller: Caller, *, locks_limits: bool = False, importing: bool = False, checked: bool = True
    ) -> AsyncIterator[Transaction]:
        """Commits at the end, rolls back on any exception.

        `locks_limits` takes the tenant's limits first, as every change of members or counted things must.
        `checked=False` is for what is written down about a caller, whatever her standing and the tenant's state.
        """
        async with self.session(caller) as session:
            tx = Transaction(caller, session)
            tx.begin(locks_limits=locks_limits, importing=importing, checked=checked)
            yield tx
            await tx.commit()

    @asynccontextmanager
    async def session(self, caller: Caller) -> AsyncIterator[Session]:
        holder = caller.shares()
        connection = await self._checkout(caller, holder)
        session = Session(connection)
        try:
            yield session
        except StaleContext:
            log.critical("a pooled connection still had a tenant's context and was closed")
            await connection.close()
            raise
        except psycopg.OperationalError as error:
            await connection.close()
            raise unavailable() from error
        finally:
            # In a task of its own: a cancellation in the middle of returning would lose the connection to the pool,
            # which goes on counting it. Only a call that leaves something behind waits for its end.
            returning = self._in_a_task(self._bring_back(session, holder))
            if not session.at_rest:
                await asyncio.shield(returning)

    async def _checkout(self, caller: Caller, holder: tuple[Hashable, ...]) -> Connection:
        if found := self._watch.found:
            self.refused = found
            raise unavailable()
        patience = min(self._settings.wait, caller.time_left())
        ends = clock.monotonic() + patience
        try:
            if not self._shares.take_now(holder):
                await self._shares.take(holder, patience)
            try:
                return await self._connection(ends)
            except BaseException:
                self._shares.give_back(holder)
                raise
        except (PoolTimeout, TimeoutError) as error:
            # Told apart for the caller: one of them is worth another try.
            raise (unavailable() if caller.time_left() > 0 else DeadlineExceeded()) from error

    async def _connection(self, ends: float) -> Connection:
        while True:
            connection = await self._pool.getconn(timeout=max(0.001, ends - clock.monotonic()))
            if connection.is_there():
                return connection
            # The server was restarted since. No call has to pay for that while there are others.
            await asyncio.shield(self._in_a_task(self._pool.putconn(connection)))

    async def _configure(self, connection: Connection) -> None:
        try:
            self.refused = self._reason_against(connection) or await self._watch.reason_against(connection)
            if self.refused is not None:
                # The pool tries again, later and later; meanwhile every call is answered UNAVAILABLE.
                raise psycopg.OperationalError(self.refused)
        except BaseException:
            await connection.close()
            raise
        await connection.start_pipelining(self._traffic, prepares=self._watch.prepares)

    def _reason_against(self, connection: Connection) -> str | None:
        """By what the server says of itself when it is connected to; no statement is sent."""
        if wanted := self._settings.login:
            status = connection.info.parameter_status
            name = status("session_authorization") or connection.info.user
            mighty = status("is_superuser") == "on"
            if faults := login_faults(Login(name, name, mighty, bypasses_rls=False, owns=False), wanted):
                return f"the login is not to be trusted: {said(faults)}"
        return known_holes(connection.info.server_version) if self._settings.safe_only else None

    def _in_a_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)
        return task

    async def _bring_back(self, session: Session, holder: tuple[Hashable, ...]) -> None:
        try:
            if not session.at_rest:
                await session.abandon()
        finally:
            try:
                if not session.at_rest:
                    await session.connection.close()
                await self._pool.putconn(session.connection)
            finally:
                self._shares.give_back(holder)
