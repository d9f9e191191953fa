"""A Caller's reads and transactions on the real server, as the service's own role."""

from __future__ import annotations

import asyncio
import random
import time
from uuid import uuid4

import psycopg
import pytest
from bulkhead_kit.caller import Role
from bulkhead_kit.db import Database, PoolSettings, Query, QueryCache, StaleContext
from bulkhead_kit.db.session import Connection
from bulkhead_kit.errors import (
    AlreadyExists,
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from sqlalchemy import text

from tests.kit.db import labels
from tests.kit.db.conftest import Make, make_tenant
from tests.support.postgres import ScratchDatabase


async def add(database: Database, make: Make, name: str) -> labels.Label:
    async with database.transaction(make()) as tx:
        return await tx.one(labels.INSERT, label_id=uuid4(), name=name, color="#ffffff")


async def test_write_is_read_back_by_its_tenant_only(issues: Database, owner: Make, database: ScratchDatabase) -> None:
    label = await add(issues, owner, "bug 😀")
    assert await issues.read(owner()).one_or_none(labels.GET, label_id=label.label_id) == label
    tenant, user = make_tenant(database)
    stranger = owner(tenant_id=tenant, user_id=user)
    assert await issues.read(stranger).one_or_none(labels.GET, label_id=label.label_id) is None
    # Not the statement's own predicate: the wall.
    assert (await issues.read(stranger).one(labels.COUNT_ANY)).number == 0


async def test_tenant_of_a_statement_cannot_be_given_by_hand(
    issues: Database, owner: Make, database: ScratchDatabase
) -> None:
    label = await add(issues, owner, "mine")
    tenant, _ = make_tenant(database)
    found = await issues.read(owner()).one_or_none(labels.GET, label_id=label.label_id, tenant_id=tenant)
    assert found == label


async def test_error_leaves_nothing_behind(issues: Database, owner: Make) -> None:
    async def write() -> None:
        async with issues.transaction(owner()) as tx:
            tx.send(labels.INSERT, label_id=uuid4(), name="one", color="#000000")
            await tx.all(labels.INSERT, label_id=uuid4(), name="One", color="#000000")

    with pytest.raises(AlreadyExists) as caught:
        await write()
    assert caught.value.metadata == {"field": "label.name"}
    assert (await issues.read(owner()).one(labels.COUNT)).number == 0


async def test_exception_of_the_caller_rolls_back_what_was_only_queued(issues: Database, owner: Make) -> None:
    async def write() -> None:
        async with issues.transaction(owner()) as tx:
            tx.send(labels.INSERT, label_id=uuid4(), name="one", color="#000000")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await write()
    assert (await issues.read(owner()).one(labels.COUNT)).number == 0


async def test_queued_write_that_touches_no_row_is_no_success(issues: Database, owner: Make) -> None:
    async def write() -> None:
        async with issues.transaction(owner()) as tx:
            tx.send(labels.INSERT, label_id=uuid4(), name="one", color="#000000")
            tx.send(labels.RENAME, must_touch=NotFound("label"), id=uuid4(), name="two")

    with pytest.raises(NotFound):
        await write()
    assert (await issues.read(owner()).one(labels.COUNT)).number == 0


async def test_role_without_the_right_is_refused_by_the_database(
    issues: Database, owner: Make, database: ScratchDatabase
) -> None:
    tenant, _ = make_tenant(database)
    with psycopg.connect(database.admin_dsn) as connection:
        viewer = uuid4()
        connection.execute("set role bulkhead_identity_owner")
        connection.execute(
            "insert into identity.users (user_id, kind, email, full_name) values (%s, 'person', %s, 'Bob')",
            (viewer, f"{viewer}@example.com"),
        )
        connection.execute(
            "insert into identity.memberships (tenant_id, user_id, kind, role, display_name)"
            " values (%s, %s, 'person', 1, 'Bob')",
            (tenant, viewer),
        )
    with pytest.raises(PermissionDenied):
        await add(issues, lambda: owner(tenant_id=tenant, user_id=viewer, role=Role.VIEWER), "no")
    # A role in the token that is not the membership's is out of date, whichever way it differs.
    with pytest.raises(Unauthenticated) as caught:
        await add(issues, lambda: owner(tenant_id=tenant, user_id=viewer, role=Role.OWNER), "no")
    assert caught.value.reason_name == "MEMBERSHIP_CHANGED"


async def test_two_queries_together_are_one_round_trip(issues: Database, owner: Make) -> None:
    label = await add(issues, owner, "a")
    found, counted = await issues.read(owner()).together(
        labels.SOME.bind(ids=[label.label_id, uuid4()]), labels.COUNT.bind()
    )
    assert found == [label]
    assert counted[0].number == 1


async def test_cancelled_statement_is_gone_from_the_server(
    issues: Database, owner: Make, database: ScratchDatabase
) -> None:
    reading = asyncio.create_task(issues.read(owner()).all(labels.SLEEP))
    await _until_sleeping(database, 1)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await _until_sleeping(database, 0)
    # The connection is as good as before.
    assert (await issues.read(owner()).one(labels.COUNT)).number == 0


async def test_cancelled_transaction_leaves_nothing(issues: Database, owner: Make, database: ScratchDatabase) -> None:
    async def write() -> None:
        async with issues.transaction(owner()) as tx:
            await tx.one(labels.INSERT, label_id=uuid4(), name="late", color="#000000")
            await tx.all(labels.SLEEP)

    writing = asyncio.create_task(write())
    await _until_sleeping(database, 1)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await _until_sleeping(database, 0)
    assert (await issues.read(owner()).one(labels.COUNT)).number == 0


async def test_statement_ends_with_the_deadline(issues: Database, owner: Make) -> None:
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await issues.read(owner(deadline=time.monotonic() + 0.2)).all(labels.SLEEP)
    assert time.monotonic() - started < 3
    with pytest.raises(DeadlineExceeded):
        await issues.read(owner(deadline=time.monotonic() - 1)).all(labels.COUNT)


async def test_nul_character_is_the_callers_fault(issues: Database, owner: Make) -> None:
    with pytest.raises(InvalidArgument):
        await add(issues, owner, "a\x00b")


async def test_connection_with_a_context_left_on_it_is_not_used(database: ScratchDatabase, owner: Make) -> None:
    one = Database(database.dsn("bulkhead_issues_app"), PoolSettings(min_size=1, max_size=1))
    await one.open()
    try:
        await one.read(owner()).one(labels.COUNT)
        async with one.session(owner()) as session:
            # What no code of ours does: a setting that outlives its transaction.
            await _run_raw(session.connection, b"select set_config('app.tenant_id', gen_random_uuid()::text, false)")
        with pytest.raises(StaleContext):
            await one.read(owner()).one(labels.COUNT)
        assert (await one.read(owner()).one(labels.COUNT)).number == 0
    finally:
        await one.close()


async def test_database_that_went_away_is_unavailable_and_comes_back(
    issues: Database, owner: Make, database: ScratchDatabase
) -> None:
    await issues.read(owner()).one(labels.COUNT)
    with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'bulkhead_issues_app'"
        )
    seen = []
    for _ in range(20):
        try:
            seen.append((await issues.read(owner()).one(labels.COUNT)).number)
            break
        except Unavailable:
            await asyncio.sleep(0.05)
    assert seen == [0]


async def test_pool_that_is_empty_answers_unavailable_in_its_time(database: ScratchDatabase, owner: Make) -> None:
    one = Database(database.dsn("bulkhead_issues_app"), PoolSettings(min_size=1, max_size=1, wait=1.0))
    await one.open()
    try:
        holding = asyncio.create_task(one.read(owner()).all(labels.SLEEP))
        await _until_sleeping(database, 1)
        with pytest.raises(Unavailable):
            await one.read(owner()).one(labels.COUNT)
        holding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holding
    finally:
        await one.close()


async def test_many_statements_keep_few_prepared(database: ScratchDatabase, owner: Make) -> None:
    one = Database(database.dsn("bulkhead_issues_app"), PoolSettings(min_size=1, max_size=1))
    await one.open()
    try:
        queries = labels.many(600)
        for query in queries:
            await one.read(owner()).one(query)
        # The first ones were closed on the server and are prepared anew.
        for query in queries[:5]:
            await one.read(owner()).one(query)
        async with one.session(owner()) as session:
            assert len(session.connection.prepared) == 500
    finally:
        await one.close()


async def _run_raw(connection: Connection, sql: bytes) -> None:
    connection.pgconn.send_query_params(sql, [])
    connection.pgconn.pipeline_sync()
    connection.pgconn.flush()
    await asyncio.sleep(0.05)
    connection.pgconn.consume_input()
    for _ in range(3):
        connection.pgconn.get_result()


async def _until_sleeping(database: ScratchDatabase, number: int) -> None:
    """Until that many statements of the app role sleep on the server; fails after a second."""
    for _ in range(100):
        with psycopg.connect(database.admin_dsn) as connection:
            found = connection.execute(
                "select count(*) from pg_stat_activity"
                " where usename = 'bulkhead_issues_app' and state = 'active' and query = 'select pg_sleep(30)'"
                " and datname = current_database()"
            ).fetchone()
        if found == (number,):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"expected {number} sleeping statements, found {found}")


async def test_calls_given_up_at_any_moment_lose_no_connection(
    database: ScratchDatabase, owner: Make, rng: random.Random
) -> None:
    some = Database(database.dsn("bulkhead_issues_app"), PoolSettings(min_size=4, max_size=4))
    await some.open()

    async def impatient(ends: float) -> None:
        while time.monotonic() < ends:
            call = asyncio.create_task(some.read(owner()).all(labels.NAP))
            await asyncio.sleep(rng.uniform(0, 0.02))
            call.cancel()
            await asyncio.wait([call])

    try:
        await asyncio.gather(*(impatient(time.monotonic() + 3) for _ in range(12)))
        async with asyncio.timeout(10):
            while (stats := some.stats())["pool_available"] < stats["pool_size"]:  # noqa: ASYNC110 - the pool tells nobody
                await asyncio.sleep(0.05)
        assert stats["pool_size"] == 4
        found = await asyncio.gather(*(some.read(owner()).one(labels.COUNT) for _ in range(8)))
        assert [row.number for row in found] == [0] * 8
    finally:
        await some.close()


async def test_shapes_that_do_not_come_again_are_not_prepared(database: ScratchDatabase, owner: Make) -> None:
    one = Database(database.dsn("bulkhead_issues_app"), PoolSettings(min_size=1, max_size=1))
    await one.open()
    cache = QueryCache()
    try:
        for shape, query in enumerate(labels.many(50)):
            await one.read(owner()).one(cache.get(shape, lambda query=query: query))  # type: ignore[misc]  # bound now
        recurring = cache.get(0, lambda: labels.COUNT)
        for _ in range(10):
            await one.read(owner()).one(recurring)
        async with one.session(owner()) as session:
            assert recurring.name in session.connection.prepared
            # It, and what every read begins with.
            assert len(session.connection.prepared) == 2
    finally:
        await one.close()


async def test_a_reader_cannot_write(issues: Database, owner: Make) -> None:
    """Nor by a function, nor by saying otherwise: whoever came to read has waited for no fence."""
    values = {"label_id": uuid4(), "name": "late", "color": "#000000"}
    with pytest.raises(Unavailable):
        await issues.read(owner()).all(labels.INSERT, **values)
    again: Query[object] = Query(text("select set_config('transaction_read_only', 'off', true)"))
    with pytest.raises((psycopg.Error, Unavailable)):
        await issues.read(owner()).together(again.bind(), labels.INSERT.bind(**values))
    assert (await issues.read(owner()).one(labels.COUNT)).number == 0
