"""A table of no service, captured like any: what changes in it has to arrive in audit.

Its rows count up, so that a lost, doubled or misplaced change shows in its numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from bulkhead_kit.ids import new_id

from tests.support.postgres import ScratchDatabase

CREATE = """
set role bulkhead_issues_owner;
create table issues.relay_probes (
    tenant_id uuid not null,
    probe_id uuid not null,
    n integer not null,
    body text,
    constraint relay_probes_pkey primary key (tenant_id, probe_id)
);
call app.protect('issues.relay_probes');
call app.rights('issues.relay_probes', 1::smallint, 2::smallint);
grant select, insert, update on issues.relay_probes to bulkhead_issues_app;
call app.capture_on('issues.relay_probes', 'relay_probe', '{probe_id}');
reset role;
"""


def make_table(database: ScratchDatabase) -> None:
    with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
        connection.execute(CREATE)


class Writer:
    """Changes probes of one tenant as the issues service's own role does."""

    def __init__(self, connection: psycopg.Connection, tenant_id: UUID) -> None:
        self.connection = connection
        self.tenant_id = tenant_id
        self.numbers: dict[UUID, int] = {}
        """Of each probe, what is committed: the ledger."""

    def change(self, *probes: UUID, body: str | None = None) -> None:
        """One transaction: makes the probes that are new and counts up the others."""
        with self.connection.transaction():
            self.connection.execute(
                "select set_config('app.tenant_id', %s, true), set_config('app.role', '2', true),"
                " set_config('app.writing', 'true', true),"
                " set_config('app.actor_type', 'person', true), set_config('app.user_id', %s, true),"
                " set_config('app.rpc', 'test/Change', true), set_config('app.user_agent', %s, true)",
                (str(self.tenant_id), str(new_id()), "u" * 600),
            )
            for probe in probes:
                self.connection.execute(
                    "insert into issues.relay_probes as p (tenant_id, probe_id, n, body) values (%s, %s, 1, %s)"
                    " on conflict (tenant_id, probe_id) do update set n = p.n + 1, body = excluded.body",
                    (self.tenant_id, probe, body),
                )
        for probe in probes:
            self.numbers[probe] = self.numbers.get(probe, 0) + 1


@dataclass(frozen=True)
class Delivered:
    """One event as it stands in audit."""

    seq: int
    event_id: UUID
    entity_id: UUID
    action: str
    changes: dict[str, list[Any]]


def delivered(database: ScratchDatabase, tenant_id: UUID, entity_type: str = "relay_probe") -> list[Delivered]:
    """In the order of the log. By the administrator: nothing is hidden from this count."""
    with psycopg.connect(database.admin_dsn) as connection:
        rows = connection.execute(
            "select e.seq, e.event_id, e.entity_id, e.action, v.changes::text from audit.events as e"
            " join audit.event_values as v using (tenant_id, occurred_at, event_id)"
            " where e.tenant_id = %s and e.entity_type = %s order by e.seq",
            (tenant_id, entity_type),
        ).fetchall()
    return [Delivered(seq, event, entity, action, json.loads(text)) for seq, event, entity, action, text in rows]


def waiting(database: ScratchDatabase) -> int:
    with psycopg.connect(database.admin_dsn) as connection:
        row = connection.execute("select count(*) from issues.outbox").fetchone()
        assert row is not None
        return int(row[0])


def demand_ledger(events: Iterable[Delivered], numbers: dict[UUID, int]) -> None:
    """Every committed change once, none that was not committed, each probe's in their order."""
    seen: dict[UUID, int] = {}
    for event in events:
        before = seen.get(event.entity_id, 0)
        old, new = event.changes["n"][:2]
        assert (old or 0, new) == (before, before + 1), event
        assert event.action == ("relay_probe.updated" if before else "relay_probe.created")
        seen[event.entity_id] = new
    assert seen == numbers
