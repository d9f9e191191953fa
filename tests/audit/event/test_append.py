"""Appending: numbers without gaps, repeats without effect, months made when they are needed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from bulkhead.audit.v1 import audit_writer_service_pb2 as writer_pb
from bulkhead_audit.event import actions, encoding, wire
from bulkhead_audit.event.actions import Appended
from bulkhead_audit.event.rules import NewEvent
from bulkhead_audit.partition.actions import Months
from bulkhead_kit import clock, ids
from bulkhead_kit.db import PLATFORM_LOG, Database, PoolSettings
from bulkhead_kit.errors import InvalidArgument

from tests.audit.builders import make_event, service
from tests.support.postgres import ScratchDatabase


@pytest.fixture(scope="module")
async def db(database: ScratchDatabase) -> AsyncIterator[Database]:
    made = Database(database.dsn("bulkhead_audit_app"), PoolSettings(max_size=8))
    await made.open()
    yield made
    await made.close()


async def append(db: Database, tenant: UUID, *events: writer_pb.NewEvent) -> Appended:
    request = writer_pb.AppendEventsRequest(events=events)
    new = wire.new_events(request, clock.now())
    # Each time with a memory of its own, as several processes have.
    return await actions.Appender(db).append_events(service(tenant), new)


def stored(database: ScratchDatabase, tenant: UUID) -> list[dict[str, Any]]:
    """Everything of a tenant's log, by the administrator, who sees past the wall."""
    with psycopg.connect(database.admin_dsn, row_factory=psycopg.rows.dict_row) as connection:
        return connection.execute(
            "select e.*, v.salt, v.changes::text as changes, v.ip, v.user_agent from audit.events as e"
            " left join audit.event_values as v using (tenant_id, occurred_at, event_id)"
            " where e.tenant_id = %s order by e.seq",
            (tenant,),
        ).fetchall()


def demand_whole(rows: list[dict[str, Any]]) -> None:
    """No gap and no number twice; both hashes are those of the stored columns."""
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    for row in rows:
        changes = encoding.parse_changes(row["changes"], "changes")
        digest = encoding.values_digest(row["salt"], encoding.changes_text(changes), row["ip"], row["user_agent"])
        assert digest == row["values_digest"]
        names = NewEvent.__dataclass_fields__.keys() - {"changes", "occurred_at"}
        event = NewEvent(
            **{name: _text(row[name]) for name in names}, changes=changes, occurred_at=_us(row["occurred_at"])
        )
        line = encoding.envelope(
            str(row["tenant_id"]), event, seq=row["seq"], recorded_at=_us(row["recorded_at"]), digest=digest
        )
        assert encoding.leaf_hash(line) == row["leaf_hash"]
        assert row["fields"] == event.fields


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value


def _us(moment: datetime) -> int:
    return (moment - datetime(2000, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


async def test_an_event_is_stored_as_it_was_sent(db: Database, database: ScratchDatabase) -> None:
    tenant = ids.new_id()
    full = make_event(
        on_behalf_of=str(ids.new_id()),
        sub_id=str(ids.new_id()),
        project_id=str(ids.new_id()),
        service="issues",
        visibility=2,
        changes_json='{"b\\"{}\\\\,x": [null, 1.50], "a": ["\\u00e9 \U0001f680", [1, {"y": true, "x": null}]]}',
    )
    bare = make_event(actor_id="", request_id="", rpc="", changes_json="", ip="", user_agent="")
    assert await append(db, tenant, full, bare) == Appended(2, 2)
    rows = stored(database, tenant)
    demand_whole(rows)
    assert [str(row["event_id"]) for row in rows] == [full.event_id, bare.event_id]
    assert rows[0]["fields"] == ["a", 'b"{}\\,x']
    assert {str(rows[0][name]) for name in ("on_behalf_of", "sub_id", "project_id")} == {
        full.on_behalf_of,
        full.sub_id,
        full.project_id,
    }
    assert rows[0]["visibility"] == 2
    assert rows[1]["actor_id"] is None
    assert rows[1]["ip"] is None
    assert rows[1]["changes"] == "{}"


async def test_a_batch_sent_again_changes_nothing(db: Database, database: ScratchDatabase) -> None:
    tenant = ids.new_id()
    events = [make_event() for _ in range(5)]
    assert await append(db, tenant, *events) == Appended(5, 5)
    before = stored(database, tenant)
    for _ in range(10):
        assert await append(db, tenant, *events) == Appended(0, 5)
    assert stored(database, tenant) == before
    demand_whole(before)


async def test_an_overlapping_batch_adds_only_what_is_new(db: Database, database: ScratchDatabase) -> None:
    tenant = ids.new_id()
    events = [make_event() for _ in range(9)]
    assert await append(db, tenant, *events[:4]) == Appended(4, 4)
    # Out of order, across what is known, and one of them twice in the batch.
    mixed = [events[6], events[2], events[5], events[6], events[0], events[4]]
    assert await append(db, tenant, *mixed) == Appended(3, 7)
    rows = stored(database, tenant)
    demand_whole(rows)
    assert [str(row["event_id"]) for row in rows] == [
        event.event_id for event in (*events[:4], events[6], events[5], events[4])
    ]


async def test_what_the_first_one_said_stands(db: Database, database: ScratchDatabase) -> None:
    tenant = ids.new_id()
    first = make_event(action="issue.created")
    other = make_event(event_id=first.event_id, occur_time=first.occur_time, action="issue.deleted")
    await append(db, tenant, first)
    assert await append(db, tenant, other) == Appended(0, 1)
    assert [row["action"] for row in stored(database, tenant)] == ["issue.created"]


async def test_several_appenders_of_one_tenant_leave_no_gap(
    db: Database, database: ScratchDatabase, rng: random.Random
) -> None:
    tenant = ids.new_id()
    entities = {str(ids.new_id()): [] for _ in range(4)}  # type: dict[str, list[writer_pb.NewEvent]]
    for entity, of_entity in entities.items():
        of_entity += [make_event(entity_id=entity, changes_json=f'{{"n": [{n}, {n + 1}]}}') for n in range(40)]

    async def deliver(of_entity: list[writer_pb.NewEvent]) -> int:
        """In batches of any size, each sent twice in two of three cases, as a relay does after lost answers."""
        count, at = 0, 0
        while at < len(of_entity):
            batch = of_entity[at : at + rng.randint(1, 9)]
            for _ in range(rng.choice((1, 2, 2))):
                count += (await append(db, tenant, *batch)).count
            at += len(batch)
        return count

    counts = await asyncio.gather(*(deliver(of_entity) for of_entity in entities.values() for _ in range(2)))
    rows = stored(database, tenant)
    assert sum(counts) == len(rows) == 160
    demand_whole(rows)
    for entity, of_entity in entities.items():
        got = [str(row["event_id"]) for row in rows if str(row["entity_id"]) == entity]
        assert got == [event.event_id for event in of_entity]


async def test_a_failed_batch_leaves_nothing_and_takes_no_number(db: Database, database: ScratchDatabase) -> None:
    tenant = ids.new_id()
    await append(db, tenant, make_event())
    with pytest.raises(InvalidArgument):
        await append(db, tenant, make_event(), make_event(user_agent="nul \0 byte"))
    assert await append(db, tenant, make_event()) == Appended(1, 2)
    demand_whole(stored(database, tenant))


async def test_a_late_month_is_made_before_its_event(db: Database, database: ScratchDatabase) -> None:
    tenant = ids.new_id()
    late = datetime(2021, 3, 31, 23, 59, 59, 999999, tzinfo=UTC)
    early = late + timedelta(microseconds=1)
    events = [make_event(occur_time=moment) for moment in (late, early, clock.now())]
    assert await append(db, tenant, *events) == Appended(3, 3)
    demand_whole(stored(database, tenant))
    with psycopg.connect(database.admin_dsn) as connection:
        places = connection.execute(
            "select tableoid::regclass::text from audit.events where tenant_id = %s and occurred_at < '2022-01-01'"
            " order by seq",
            (tenant,),
        ).fetchall()
    assert places == [("audit.events_2021_03",), ("audit.events_2021_04",)]


async def test_many_makers_of_one_month_do_not_fail(db: Database, database: ScratchDatabase) -> None:
    tenant = ids.new_id()
    moment = datetime(2022, 7, 1, tzinfo=UTC)
    batches = [[make_event(occur_time=moment)] for _ in range(6)]
    appended = await asyncio.gather(*(append(db, tenant, *batch) for batch in batches))
    assert sorted(one.log_size for one in appended) == [1, 2, 3, 4, 5, 6]
    demand_whole(stored(database, tenant))


@pytest.mark.parametrize("moment", [datetime(2019, 12, 31, 23, 59, 59, tzinfo=UTC), "far"])
async def test_a_clock_that_is_wrong_makes_no_months(
    db: Database, database: ScratchDatabase, moment: datetime | str
) -> None:
    at = moment if isinstance(moment, datetime) else clock.now() + timedelta(days=93)
    with pytest.raises(InvalidArgument, match="2020 to three months"):
        await append(db, ids.new_id(), make_event(occur_time=at))
    with pytest.raises(InvalidArgument):
        await Months(db).ensure(service(ids.new_id()), [datetime(2019, 1, 1, tzinfo=UTC).date()])


async def test_a_time_finer_than_microseconds_is_refused(db: Database) -> None:
    event = make_event()
    event.occur_time.nanos += 1
    with pytest.raises(InvalidArgument, match="whole microseconds"):
        await append(db, ids.new_id(), event)


async def test_the_platform_log_takes_events(db: Database, database: ScratchDatabase) -> None:
    before = len(stored(database, PLATFORM_LOG))
    await append(db, PLATFORM_LOG, make_event(outcome=3))
    assert len(stored(database, PLATFORM_LOG)) == before + 1


async def test_full_batch_of_500(db: Database, database: ScratchDatabase) -> None:
    tenant = ids.new_id()
    events = [make_event() for _ in range(500)]
    began = clock.monotonic()
    assert await append(db, tenant, *events) == Appended(500, 500)
    print(f"500 events: {(clock.monotonic() - began) * 1000:.1f} ms")
    demand_whole(stored(database, tenant))
