"""The SQL of the relay, on one direct connection. The role sees the outbox and nothing else.

The connection is the relay's mandate: its session holds the lock that makes this relay the active one, so whoever has
lost it can neither read nor remove a row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

import psycopg
from psycopg.rows import AsyncRowFactory, class_row, scalar_row
from psycopg.sql import SQL, Composed, Identifier

from bulkhead_kit.poolers import REFUSES_OPTIONS, SERVER_PROCESS, NotDirectError
from bulkhead_kit.roles import FAULTS, LOGIN, Login, RoleFault, login_faults

R = TypeVar("R")

WHY_DIRECT: Final = "a relay holds its lock as long as its connection"
PATIENCE: Final = 15.0
SESSION: Final = (
    "-c statement_timeout=10s -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the outbox. Free texts are cut to what audit takes, as no user agent is worth a stuck tenant."""

    outbox_id: int
    event_id: UUID
    occurred_at: datetime
    action: str
    entity_type: str
    entity_id: UUID
    sub_id: UUID | None
    project_id: UUID | None
    visibility: int
    outcome: str
    actor_id: UUID | None
    actor_type: str
    on_behalf_of: UUID | None
    service: str | None
    rpc: str | None
    request_id: str | None
    ip: str | None
    user_agent: str | None
    changes: str


class Waiting(NamedTuple):
    """A tenant with rows to deliver, and of the first of them when it was written and who caused it."""

    tenant_id: UUID
    oldest: datetime
    cause: UUID | None


class Parked(NamedTuple):
    tenant_id: UUID
    attempts: int
    is_due: bool


class Backlog(NamedTuple):
    depth: int
    horizon: int | None
    """The oldest transaction that somebody's snapshot may still want to see, if others began after it."""


# One row a tenant by its index, however many rows each has.
_WAITING = """
with recursive firsts as (
    (
        select o.tenant_id, o.occurred_at, coalesce(o.on_behalf_of, o.actor_id) as cause
        from {outbox} as o order by o.tenant_id, o.outbox_id limit 1
    )
    union all
    select n.tenant_id, n.occurred_at, n.cause from firsts as f cross join lateral (
        select o.tenant_id, o.occurred_at, coalesce(o.on_behalf_of, o.actor_id) as cause
        from {outbox} as o where o.tenant_id > f.tenant_id order by o.tenant_id, o.outbox_id limit 1
    ) as n
)
select tenant_id, occurred_at as oldest, cause from firsts
"""
# The first rows of a tenant that fit into one message together; always at least one.
_BATCH = """
select outbox_id, event_id, occurred_at, action, entity_type, entity_id, sub_id, project_id, visibility, outcome,
    actor_id, actor_type, on_behalf_of, service, rpc, request_id, ip, user_agent, changes
from (
    select o.outbox_id, o.event_id, o.occurred_at, o.action, o.entity_type, o.entity_id, o.sub_id, o.project_id,
        o.visibility, o.outcome, o.actor_id, o.actor_type, o.on_behalf_of, left(o.service, 64) as service,
        left(o.rpc, 200) as rpc, left(o.request_id, 128) as request_id, left(o.ip, 64) as ip,
        left(o.user_agent, 512) as user_agent, o.changes::text as changes,
        row_number() over (order by o.outbox_id) as place,
        sum(octet_length(o.changes::text)) over (order by o.outbox_id) as total
    from (
        select r.outbox_id, r.event_id, r.occurred_at, r.action, r.entity_type, r.entity_id, r.sub_id, r.project_id,
            r.visibility, r.outcome, r.actor_id, r.actor_type, r.on_behalf_of, r.service, r.rpc, r.request_id, r.ip,
            r.user_agent, r.changes
        from {outbox} as r where r.tenant_id = %(tenant_id)s order by r.outbox_id limit %(rows)s
    ) as o
) as b
where place = 1 or total <= %(bytes)s
order by outbox_id
"""
_REMOVE = "delete from {outbox} where tenant_id = %(tenant_id)s and outbox_id = any(%(ids)s)"
_PARKED = "select tenant_id, attempts, retry_at <= now() as is_due from {parked}"
_PARK = """
insert into {parked} as p (tenant_id, retry_at, last_error)
values (%(tenant_id)s, now() + make_interval(secs => %(seconds)s), left(%(error)s, 2000))
on conflict (tenant_id) do update set attempts = p.attempts + 1, retry_at = excluded.retry_at,
    last_error = excluded.last_error
"""
_UNPARK = "delete from {parked} where tenant_id = %(tenant_id)s"
_RETRY = "update {parked} set retry_at = now() where tenant_id = coalesce(%(tenant_id)s, tenant_id)"
_BACKLOG = """
select
    case when n.counted < %(count_to)s then n.counted else greatest(n.counted, c.reltuples::bigint) end as depth,
    (
        select a.backend_xmin::text::bigint from pg_stat_activity as a
        where a.datname = current_database() and a.pid <> pg_backend_pid() and age(a.backend_xmin) > 0
        order by age(a.backend_xmin) desc limit 1
    ) as horizon
from (select count(*) as counted from (select from {outbox} limit %(count_to)s) as o) as n
cross join pg_class as c
where c.oid = %(outbox_name)s::regclass
"""
_LOCK = "select {lead}()"


class Outbox:
    def __init__(self, connection: psycopg.AsyncConnection[Any], schema: str) -> None:
        self._connection = connection
        self._schema = schema
        names = {
            "outbox": Identifier(schema, "outbox"),
            "parked": Identifier(schema, "outbox_parked"),
            "lead": Identifier(schema, "lead_delivery"),
        }
        self._name = Identifier(schema, "outbox").as_string()
        self._sql: dict[str, Composed] = {
            text: SQL(text).format(**names)
            for text in (_WAITING, _BATCH, _REMOVE, _PARKED, _PARK, _UNPARK, _RETRY, _BACKLOG, _LOCK)
        }

    async def try_lock(self) -> bool:
        """Whether this session is the active relay now. It stays so until the session ends, however it ends."""
        (locked,) = await self._fetch(_LOCK, scalar_row)
        return bool(locked)

    async def role_faults(self) -> list[RoleFault]:
        async with asyncio.timeout(PATIENCE), self._connection.cursor() as cursor:
            await cursor.execute(LOGIN)
            (row,) = await cursor.fetchall()
            if faults := login_faults(Login(*row), f"bulkhead_{self._schema}_relay"):
                return faults
            await cursor.execute(FAULTS)
            return [RoleFault(*row) for row in await cursor.fetchall()]

    async def waiting(self) -> list[Waiting]:
        return await self._fetch(_WAITING, class_row(Waiting))

    async def batch(self, tenant_id: UUID, *, rows: int, size_bytes: int) -> list[Row]:
        values = {"tenant_id": tenant_id, "rows": rows, "bytes": size_bytes}
        return await self._fetch(_BATCH, class_row(Row), values)

    async def remove(self, tenant_id: UUID, ids: Sequence[int]) -> None:
        await self._change(_REMOVE, {"tenant_id": tenant_id, "ids": list(ids)})

    async def parked(self) -> list[Parked]:
        return await self._fetch(_PARKED, class_row(Parked))

    async def park(self, tenant_id: UUID, *, seconds: float, error: str) -> None:
        await self._change(_PARK, {"tenant_id": tenant_id, "seconds": seconds, "error": error})

    async def unpark(self, tenant_id: UUID) -> None:
        await self._change(_UNPARK, {"tenant_id": tenant_id})

    async def retry(self, tenant_id: UUID | None) -> int:
        """Makes a parked tenant's next try, or every one's, due now; how many there were."""
        return await self._change(_RETRY, {"tenant_id": tenant_id})

    async def backlog(self, count_to: int = 10_000) -> Backlog:
        """The depth is exact up to `count_to`, beyond it the planner's estimate."""
        values = {"count_to": count_to, "outbox_name": self._name}
        (found,) = await self._fetch(_BACKLOG, class_row(Backlog), values)
        return found

    async def _fetch(self, text: str, rows: AsyncRowFactory[R], values: Mapping[str, object] | None = None) -> list[R]:
        # statement_timeout does not help against a server that has stopped answering.
        async with asyncio.timeout(PATIENCE), self._connection.cursor(row_factory=rows) as cursor:
            await cursor.execute(self._sql[text], values)
            return await cursor.fetchall()

    async def _change(self, text: str, values: Mapping[str, object]) -> int:
        async with asyncio.timeout(PATIENCE):
            return (await self._connection.execute(self._sql[text], values)).rowcount


async def connect(url: str, setting: str = "RELAY_DATABASE_URL") -> psycopg.AsyncConnection[Any]:
    """A direct connection: a pooler in transaction mode would give the lock to whoever comes next.

    Raises NotDirectError, naming the setting that the URL is in.
    """
    try:
        connection = await _connect(url)
    except psycopg.OperationalError as error:
        if REFUSES_OPTIONS in str(error):
            raise NotDirectError(setting, WHY_DIRECT) from error
        raise
    try:
        async with asyncio.timeout(PATIENCE):
            row = await (await connection.execute(SERVER_PROCESS)).fetchone()
        if row is None or row[0] != connection.info.backend_pid:
            raise NotDirectError(setting, WHY_DIRECT)
    except BaseException:
        await connection.close()
        raise
    return connection


async def _connect(url: str) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(
        url,
        autocommit=True,
        connect_timeout=5,
        application_name="bulkhead_relay",
        # A machine that vanishes says no goodbye: both ends must notice within seconds.
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,
        options=SESSION,
    )
