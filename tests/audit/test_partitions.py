"""Months are there before their events, made by the worker's login through one function."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime

import psycopg
import pytest
from bulkhead_audit.partition import rules
from bulkhead_audit.partition.worker import Months
from bulkhead_kit.db import Database
from bulkhead_kit.worker import Duty, keep_working
from prometheus_client import CollectorRegistry
from psycopg import errors

from tests.support.callers import worker_caller
from tests.support.postgres import ScratchDatabase


@pytest.fixture
async def worker(database: ScratchDatabase) -> AsyncIterator[Database]:
    made = Database(database.dsn("bulkhead_audit_worker"))
    await made.open()
    yield made
    await made.close()


def partitions(database: ScratchDatabase, parent: str) -> set[str]:
    with psycopg.connect(database.admin_dsn) as connection:
        found = connection.execute(
            "select c.relname from pg_inherits as i join pg_class as c on c.oid = i.inhrelid"
            " where i.inhparent = %s::regclass",
            (f"audit.{parent}",),
        )
        return {str(name) for (name,) in found}


async def test_the_worker_makes_this_month_and_three_more(database: ScratchDatabase, worker: Database) -> None:
    registry = CollectorRegistry()
    months = Months(worker, registry, lambda: date(2026, 11, 20))
    assert await months.make_ahead(worker_caller("audit")) == 8
    assert await months.make_ahead(worker_caller("audit")) == 0
    for parent in ("events", "event_values"):
        made = {f"{parent}_{month}" for month in ("2026_11", "2026_12", "2027_01", "2027_02")}
        assert partitions(database, parent) >= made
    until = registry.get_sample_value("bulkhead_audit_partitions_until_seconds")
    assert until == datetime(2027, 3, 1, tzinfo=UTC).timestamp()


async def test_a_failure_is_not_the_end_of_the_worker(database: ScratchDatabase, worker: Database) -> None:
    days = iter([date(2001, 1, 1)])
    months = Months(worker, CollectorRegistry(), lambda: next(days, date(2027, 5, 31)))
    working = asyncio.create_task(keep_working("audit", [Duty("months", 0.05, months.make_ahead)]))
    async with asyncio.timeout(10):
        while "events_2027_08" not in partitions(database, "events"):  # noqa: ASYNC110 - a table sends no event
            await asyncio.sleep(0.05)
    working.cancel()
    assert "events_2000_12" not in partitions(database, "events")


@pytest.mark.parametrize(
    ("today", "last"),
    [
        (date(2026, 11, 20), date(2027, 2, 1)),
        (date(2026, 9, 30), date(2026, 12, 1)),
        (date(2026, 1, 31), date(2026, 4, 1)),
    ],
)
def test_the_last_month_ahead(today: date, last: date) -> None:
    assert rules.last_ahead(today) == last


def test_nobody_makes_months_without_end(database: ScratchDatabase) -> None:
    with psycopg.connect(database.dsn("bulkhead_audit_worker"), autocommit=True) as connection:
        for first, last in (("2019-12-31", "2019-12-31"), ("2026-11-01", "2040-01-01"), ("2026-12-01", "2026-11-01")):
            with pytest.raises(errors.Error, match="INVALID_FIELD"):
                connection.execute("select audit.make_months(%s, %s)", (first, last))
    for role in ("bulkhead_issues_app", "bulkhead_issues_relay", "bulkhead_ops", "bulkhead_eraser"):
        with psycopg.connect(database.dsn(role)) as connection, pytest.raises(errors.InsufficientPrivilege):
            connection.execute("select audit.make_months('2026-11-01', '2026-11-01')")


def test_making_a_month_keeps_nobody_waiting(database: ScratchDatabase) -> None:
    """A reader's and a writer's transactions are open on the parent while a month is attached."""
    with (
        psycopg.connect(database.dsn("bulkhead_audit_app")) as reader,
        psycopg.connect(database.dsn("bulkhead_audit_app")) as writer,
    ):
        reader.execute("select seq from audit.events")
        writer.execute(
            "insert into audit.event_values select tenant_id, event_id, occurred_at, salt, changes, ip,"
            " user_agent from audit.event_values where false"
        )
        with psycopg.connect(database.dsn("bulkhead_audit_worker"), autocommit=True) as worker:
            worker.execute("set lock_timeout = '500ms'")
            row = worker.execute("select audit.make_months('2021-01-01', '2021-01-01')").fetchone()
        assert row == (2,)
