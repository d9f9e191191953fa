"""Which statements a connection has prepared is known exactly, however a call on it ended."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from bulkhead_kit import clock
from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database, PoolSettings, Query
from bulkhead_kit.db.query import Bound
from bulkhead_kit.db.session import PREPARED_MAX
from bulkhead_kit.errors import AlreadyExists, Unavailable
from sqlalchemy import text

from tests.kit.db import labels
from tests.kit.db.conftest import Make
from tests.support.postgres import ScratchDatabase

SLOW: Query[Any] = Query(text("select 'slow' from (select pg_sleep(30)) as s"))
_numbers = itertools.count()


def fresh() -> Query[Any]:
    """Never prepared before."""
    return Query(text(f"select 'fresh {next(_numbers)}'"))


@pytest.fixture
async def one(database: ScratchDatabase) -> AsyncIterator[Database]:
    """With one connection, which every call has to use."""
    made = Database(database.dsn("bulkhead_issues_app"), PoolSettings(min_size=1, max_size=1))
    await made.open()
    yield made
    await made.close()


async def write(one: Database, owner: Make, *queries: Bound[Any]) -> None:
    """All in one round trip."""
    async with one.transaction(owner()) as tx:
        for query in queries:
            tx.send(query.query, **query.values)


async def test_what_stood_behind_a_cancelled_statement_is_prepared_again(one: Database, owner: Make) -> None:
    for moment in (0.0, 0.01, 0.1, 0.3):
        last = fresh()
        writing = asyncio.create_task(write(one, owner, SLOW.bind(), last.bind()))
        await asyncio.sleep(moment)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert len(await one.read(owner()).all(last)) == 1


async def taken(one: Database, owner: Make) -> Bound[Any]:
    """A statement that will be refused."""
    async with one.transaction(owner()) as tx:
        await tx.one(labels.INSERT, label_id=uuid4(), name="taken", color="#000000")
    return labels.INSERT.bind(label_id=uuid4(), name="taken", color="#000000")


async def test_what_stood_behind_a_refused_statement_is_prepared_again(one: Database, owner: Make) -> None:
    refused, last = await taken(one, owner), fresh()
    with pytest.raises(AlreadyExists):
        await write(one, owner, refused, last.bind())
    assert len(await one.read(owner()).all(last)) == 1


async def test_what_was_only_queued_in_a_failed_transaction_is_prepared_again(one: Database, owner: Make) -> None:
    refused, last = await taken(one, owner), fresh()

    async def leave_it_queued() -> None:
        async with one.transaction(owner()) as tx:
            try:
                await tx.all(refused.query, **refused.values)
            finally:
                tx.send(last)

    with pytest.raises(AlreadyExists):
        await leave_it_queued()
    assert len(await one.read(owner()).all(last)) == 1


async def test_what_was_to_be_closed_behind_a_refused_statement_is_still_there(one: Database, owner: Make) -> None:
    many = labels.many(PREPARED_MAX)
    for query in many:
        await one.read(owner()).all(query)
    refused, more = await taken(one, owner), [fresh() for _ in range(20)]
    with pytest.raises(AlreadyExists):
        await write(one, owner, refused, *(query.bind() for query in more))
    for query in [*many, *more]:
        await one.read(owner()).all(query)


async def test_a_look_at_the_state_prepares_one_statement(one: Database, owner: Make) -> None:
    """One a look was a new statement every few seconds, up to the most a connection keeps."""
    counted: Query[Any] = Query(text("select count(*) from pg_prepared_statements"))
    await one.state("issues", owner())
    ((before,),) = await one.read(owner()).all(counted)
    for _ in range(20):
        await one.state("issues", owner())
    ((after,),) = await one.read(owner()).all(counted)
    assert (before, after) == (before, before)


@contextmanager
def wider_names(database: ScratchDatabase) -> Iterator[None]:
    """What a migration may do to a column while services run."""
    with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
        connection.execute("create table issues.prepared (name varchar(10))")
        connection.execute("grant select on issues.prepared to bulkhead_issues_app")
        yield
        connection.execute("drop table issues.prepared")


async def test_a_plan_that_no_longer_fits_is_made_anew(one: Database, owner: Make, database: ScratchDatabase) -> None:
    query: Query[Any] = Query(text("select name from issues.prepared"))
    with wider_names(database):
        await one.read(owner()).all(query)
        with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
            connection.execute("alter table issues.prepared alter column name type integer using 1")
        with pytest.raises(Unavailable):
            await one.read(owner()).all(query)
        assert await one.read(owner()).all(query) == []
        assert (await one.read(owner()).one(labels.COUNT)).number >= 0


async def test_column_that_got_another_type_is_read_as_what_it_is_now(
    database: ScratchDatabase, one: Database, owner: Make
) -> None:
    with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
        connection.execute("create table issues.kinds (tenant_id uuid, kind integer)")
        connection.execute("grant select on issues.kinds to bulkhead_issues_app")
        connection.execute("insert into issues.kinds values (%s, 7)", (owner().tenant_id,))
        query: Query[Any] = Query(text("select kind from issues.kinds"))
        assert await one.read(owner()).all(query) == [(7,)]
        for kind, expected in (("text", "7"), ("bigint", 7), ("numeric", 7)):
            connection.execute(f"alter table issues.kinds alter kind type {kind} using kind::{kind}")
            # The first call after the change has to prepare anew, and says so.
            with pytest.raises(Unavailable):
                await one.read(owner()).all(query)
            assert await one.read(owner()).all(query) == [(expected,)]
            # Nor does a connection that never knew the old type take it for the old one.
            other = Database(database.dsn("bulkhead_issues_app"), PoolSettings(min_size=1, max_size=1))
            await other.open()
            assert await other.read(owner()).all(query) == [(expected,)]
            await other.close()


async def test_a_refusal_that_comes_with_the_sync_is_told(one: Database, database: ScratchDatabase) -> None:
    """What is sent without BEGIN and COMMIT ends at the sync: one answer more than there were statements.

    Whoever reads in a tenant cannot write at all; this caller is in none.
    """
    caller = Caller(actor_type="system", rpc="test", request_id="test", deadline=clock.monotonic() + 30)
    insert: Query[Any] = Query(text("insert into issues.at_the_end values (1)"))
    with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
        connection.execute("create table issues.at_the_end (n integer unique deferrable initially deferred)")
        connection.execute("grant insert on issues.at_the_end to bulkhead_issues_app")
        with pytest.raises(AlreadyExists):
            await one.read(caller).together(insert.bind(), insert.bind())
        await one.read(caller).all(insert)
        connection.execute("drop table issues.at_the_end")
