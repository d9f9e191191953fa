"""Kills with -9 while clients work: each with rows undelivered and calls in flight, and a note of what it met."""

from __future__ import annotations

import asyncio
import random
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from bulkhead_kit import clock

from tests.system.relay.ledger import Clients
from tests.system.site import Site

WAIT = 20.0
TAKEOVER = 10.0
"""On a busy machine; on a quiet one it is half a second."""
AIM = 1.0
"""Seconds to wait for a batch that audit has committed and the relay has not removed yet."""

# Rows waiting, and those of them that are in the log already.
_UNDELIVERED = """
select count(*), count(*) filter (where exists (
    select from audit.events as e
    where e.tenant_id = o.tenant_id and e.occurred_at = o.occurred_at and e.event_id = o.event_id
))
from issues.outbox as o
"""


@dataclass(frozen=True)
class Kill:
    target: str
    undelivered: int
    in_flight: int
    committed: int
    """Rows that audit had committed and that were still in the outbox after the kill."""
    takeover: float | None = None
    """Seconds until another relay was active."""


class Killer:
    def __init__(self, site: Site, clients: Clients, rng: random.Random) -> None:
        self.site = site
        self.clients = clients
        self.rng = rng
        self.kills: list[Kill] = []
        self.done = asyncio.Event()

    async def run(self, plan: dict[str, int], changes: int) -> None:
        """The plan's kills in any order, spread over the changes."""
        targets = [target for target, count in plan.items() for _ in range(count)]
        self.rng.shuffle(targets)
        for number, target in enumerate(targets):
            due = changes * (number + 1) // (len(targets) + 1)
            while self.clients.changes < due:  # noqa: ASYNC110 - a call that is answered sends no event
                await asyncio.sleep(0.01)
            self.kills.append(await self._kill(target))
        self.done.set()

    async def _kill(self, target: str) -> Kill:
        connection = await asyncio.to_thread(self._connected)
        try:
            if target == "relay":
                await self._stand_by(connection)
            in_flight, undelivered = await self._moment(connection, aims=target in {"relay", "audit"})
            name = target if target != "relay" else await self._active(connection)
            pid = self._lock_holder(connection)
            began = clock.monotonic()
            await asyncio.to_thread(self.site.kill, name)
            committed = 0
            if target != "postgres":
                _, committed = self._undelivered(connection)
            takeover = await self._takeover(connection, pid, began) if target == "relay" else None
        finally:
            connection.close()
        await asyncio.to_thread(self.site.start_again, name)
        return Kill(target, undelivered, in_flight, committed, takeover)

    def _connected(self) -> psycopg.Connection:
        ends = clock.monotonic() + WAIT
        while True:
            try:
                return self.site.admin()
            except psycopg.OperationalError:
                if clock.monotonic() > ends:
                    raise

    async def _moment(self, connection: psycopg.Connection, *, aims: bool) -> tuple[int, int]:
        """Waits for a moment with rows undelivered and calls in flight; best with a batch between its two commits."""
        began = clock.monotonic()
        while True:
            undelivered, committed = self._undelivered(connection)
            in_flight = self.clients.in_flight
            if undelivered and in_flight and (committed or not aims or clock.monotonic() - began > AIM):
                return in_flight, undelivered
            assert clock.monotonic() - began < WAIT, "nothing is under way that a kill could disturb"
            await asyncio.sleep(0.001)

    def _undelivered(self, connection: psycopg.Connection) -> tuple[int, int]:
        row = connection.execute(_UNDELIVERED).fetchone()
        assert row is not None
        return int(row[0]), int(row[1])

    async def _stand_by(self, connection: psycopg.Connection) -> None:
        """Waits for the second relay: one that was killed a moment ago has to start first."""
        ends = clock.monotonic() + WAIT
        sessions = "select count(*) from pg_stat_activity where usename = 'bulkhead_issues_relay'"
        while connection.execute(sessions).fetchall()[0][0] < 2:
            assert clock.monotonic() < ends, "no relay stands by"
            await asyncio.sleep(0.05)

    async def _active(self, connection: psycopg.Connection) -> str:
        ends = clock.monotonic() + WAIT
        while (name := self.site.active_relay(connection)) is None:
            assert clock.monotonic() < ends, "no relay is active"
            await asyncio.sleep(0.05)
        return name

    def _lock_holder(self, connection: psycopg.Connection) -> int | None:
        row = connection.execute(
            "select l.pid from pg_locks as l join pg_stat_activity as a on a.pid = l.pid"
            " where l.locktype = 'advisory' and l.granted and a.usename = 'bulkhead_issues_relay'"
        ).fetchone()
        return None if row is None else int(row[0])

    async def _takeover(self, connection: psycopg.Connection, before: int | None, began: float) -> float:
        while self._lock_holder(connection) in {None, before}:
            assert clock.monotonic() - began < WAIT, "no relay took over"
            await asyncio.sleep(0.02)
        return clock.monotonic() - began


def report(kills: Sequence[Kill]) -> str:
    lines = []
    for target in ("issues", "audit", "relay", "postgres"):
        of_target = [kill for kill in kills if kill.target == target]
        if not of_target:
            continue
        waiting = [kill.undelivered for kill in of_target]
        line = (
            f"{target}: killed {len(of_target)} times, undelivered rows {min(waiting)} to {max(waiting)} (median"
            f" {statistics.median(waiting):.0f}), calls in flight {min(kill.in_flight for kill in of_target)} to"
            f" {max(kill.in_flight for kill in of_target)}, {sum(kill.committed > 0 for kill in of_target)} between"
            " audit's commit and the outbox's removal"
        )
        takeovers = [kill.takeover for kill in of_target if kill.takeover is not None]
        if takeovers:
            line += f", takeover within {max(takeovers):.1f} s (median {statistics.median(takeovers):.1f})"
        lines.append(line)
    return "\n".join(lines)


def demand_kills(kills: Sequence[Kill], plan: dict[str, int]) -> None:
    assert Counter(kill.target for kill in kills) == Counter(plan)
    assert all(kill.undelivered > 0 and kill.in_flight > 0 for kill in kills)
    assert all(kill.takeover is None or kill.takeover < TAKEOVER for kill in kills)
    if len(kills) > 20:
        # Of a few kills, all can miss the moment; of many that wait for it, some do not.
        assert any(kill.committed for kill in kills if kill.target in {"relay", "audit"})
