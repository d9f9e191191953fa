"""Behind a real PgBouncer: what is wrong is said in one way, and in transaction mode nobody gets what is another's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import structlog
from bulkhead_issues.settings import IssuesSettings
from bulkhead_kit import migrations
from bulkhead_kit.db import Database, PoolSettings, Query, StaleContext
from bulkhead_kit.errors import Unavailable
from bulkhead_kit.outbox import rows
from bulkhead_kit.poolers import NotDirectError, Pooler
from bulkhead_kit.readiness import Readiness
from sqlalchemy import Text, column, text

from tests.kit.db import labels
from tests.kit.db.conftest import Make, make_owner, make_tenant
from tests.support.pgbouncer import PgBouncer, needs_pgbouncer
from tests.support.postgres import ScratchDatabase

pytestmark = needs_pgbouncer

LOGIN = "bulkhead_issues_app"
SETTING = "BULKHEAD_ISSUES_DATABASE_POOLER"
NAMES: Query[Any] = Query(text("select name from issues.labels order by name").columns(column("name", Text)))
SLEEP: Query[Any] = Query(text("select pg_sleep(60)"))
ROUNDS = 60


@pytest.fixture(scope="module")
def pooler(database: ScratchDatabase) -> Iterator[PgBouncer]:
    with PgBouncer(database.server, size=1) as made:
        yield made


@asynccontextmanager
async def opened(database: ScratchDatabase, pooler: Pooler, *, wait: float = 20.0) -> AsyncIterator[Database]:
    settings = PoolSettings(min_size=2, max_size=4, wait=wait, login=LOGIN, pooler=pooler, pooler_setting=SETTING)
    made = Database(database.dsn(LOGIN), settings)
    await made.open()
    yield made
    await made.close()


async def looks(database: Database, times: int = 6) -> list[str | None]:
    ready = Readiness(IssuesSettings.model_construct(), database)
    return [await ready() for _ in range(times)]


async def write(database: Database, make: Make, name: str) -> None:
    async with database.transaction(make()) as tx:
        await tx.one(labels.INSERT, label_id=uuid4(), name=name, color="#ffffff")


async def read(database: Database, make: Make) -> list[str]:
    return [name for (name,) in await database.read(make()).all(NAMES)]


def backends(database: ScratchDatabase) -> list[tuple[str, str]]:
    """State and statement of what the login has on the server."""
    with psycopg.connect(database.admin_dsn) as admin:
        return admin.execute(
            "select state, query from pg_stat_activity where datname = %s and usename = %s", (database.name, LOGIN)
        ).fetchall()


async def test_a_pooler_nobody_spoke_of_is_named_at_every_look(
    database: ScratchDatabase, pooler: PgBouncer, owner: Make
) -> None:
    async with opened(pooler.through(database), "none", wait=0.3) as bare:
        said = set(await looks(bare))
        with pytest.raises(Unavailable):
            await read(bare, owner)
    assert said == {
        f"a pooler stands between us and PostgreSQL: set {SETTING} to transaction or to session, as its pool_mode is"
    }


async def test_transaction_mode_that_is_called_session_mode_is_named_at_every_look(
    database: ScratchDatabase, pooler: PgBouncer, owner: Make
) -> None:
    async with opened(pooler.through(database), "session", wait=0.3) as misled:
        said = set(await looks(misled))
        for _ in range(20):
            with pytest.raises(Unavailable):
                await read(misled, owner)
    assert said == {
        "the pooler lends one connection of PostgreSQL to several clients, which is transaction mode:"
        f" set {SETTING} to transaction"
    }


async def test_a_pooler_that_turns_to_transaction_mode_later_is_named_from_the_first_stray_statement_on(
    database: ScratchDatabase, pooler: PgBouncer, owner: Make
) -> None:
    async with opened(pooler.through(database), "transaction") as one:
        await read(one, owner)
        async with one.session(owner()) as session:
            session.connection.prepares = True
            session.connection.prepared[NAMES.name] = None
        with structlog.testing.capture_logs():
            for _ in range(5):
                with pytest.raises(Unavailable):
                    await asyncio.gather(*(read(one, owner) for _ in range(8)))
        (said,) = set(await looks(one))
    assert said is not None
    assert said.endswith(f"set {SETTING} to transaction")


async def test_session_mode_keeps_prepared_statements(database: ScratchDatabase, owner: Make) -> None:
    with PgBouncer(database.server, size=8, mode="session") as sessions:
        async with opened(sessions.through(database), "session") as one:
            assert set(await looks(one)) == {None}
            await asyncio.gather(*(read(one, owner) for _ in range(40)))
            counted: Query[Any] = Query(text("select count(*) from pg_prepared_statements"))
            ((prepared,),) = await one.read(owner()).all(counted)
    assert prepared > 0


async def test_two_tenants_on_one_connection_of_the_server_never_meet(
    database: ScratchDatabase, pooler: PgBouncer
) -> None:
    through = pooler.through(database)
    tenants = {name: make_owner(database) for name in ("one", "two")}
    async with opened(through, "transaction") as first, opened(through, "transaction") as second:

        async def tell(name: str, number: int) -> None:
            where = first if number % 2 else second
            await write(where, tenants[name], f"{name} {number}")
            assert all(label.startswith(name) for label in await read(where, tenants[name]))

        async def look_from_outside() -> set[tuple[str | None, ...]]:
            seen = set()
            url = through.dsn(LOGIN)
            async with await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=None) as other:
                for _ in range(ROUNDS):
                    cursor = await other.execute(
                        "select nullif(current_setting('app.tenant_id', true), ''),"
                        " nullif(current_setting('app.user_id', true), ''),"
                        " nullif(current_setting('app.role', true), ''),"
                        " current_setting('statement_timeout'), current_setting('transaction_read_only'),"
                        " (select min(name) from issues.labels)"
                    )
                    seen.update(await cursor.fetchall())
            return seen

        told = (tell(name, number) for number in range(ROUNDS) for name in tenants)
        outside, *_ = await asyncio.gather(look_from_outside(), *told)
        assert outside == {(None, None, None, "30s", "off", None)}
        for name, make in tenants.items():
            assert sorted(await read(first, make)) == sorted(f"{name} {number}" for number in range(ROUNDS))
        assert len(backends(database)) == 1


async def test_a_context_that_another_client_left_on_the_server_is_not_worked_in(
    database: ScratchDatabase, owner: Make
) -> None:
    victim = make_tenant(database)[0]
    with PgBouncer(database.server, size=1) as pooler:
        through = pooler.through(database)
        with psycopg.connect(through.dsn(LOGIN), autocommit=True) as other:
            other.execute("select set_config('app.tenant_id', %s, false)", (str(victim),))
        async with opened(through, "transaction") as one:
            with pytest.raises(StaleContext):
                await read(one, owner)
            with pytest.raises(StaleContext):
                await write(one, owner, "not kept")


async def test_a_cancelled_call_stops_its_statement_through_the_pooler(
    database: ScratchDatabase, pooler: PgBouncer, owner: Make
) -> None:
    async with opened(pooler.through(database), "transaction") as one:
        sleeping = asyncio.create_task(one.read(owner()).all(SLEEP))
        async with asyncio.timeout(10):
            while not any("pg_sleep" in query and state == "active" for state, query in backends(database)):  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.01)
        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping
        # There is one connection to the server: this would wait for a minute.
        await read(one, owner)
        assert not [query for state, query in backends(database) if state == "active"]


async def test_a_pooler_that_logs_everybody_in_as_one_is_not_worked_with(database: ScratchDatabase) -> None:
    with PgBouncer(database.server, forced="bulkhead_issues_worker") as pooler:
        async with opened(pooler.through(database), "transaction") as one:
            (said,) = set(await looks(one, 3))
    assert said == (
        "the login is not to be trusted: bulkhead_issues_worker is logged in where bulkhead_issues_app is wanted:"
        " correct the database's URL"
    )


@pytest.mark.parametrize("ignored", ["", "options"])
async def test_a_relay_does_not_hold_its_lock_through_a_pooler(database: ScratchDatabase, ignored: str) -> None:
    """Whether the pooler refuses the session's options or drops them: the lock would be whoever's comes next."""
    with PgBouncer(database.server, ignored=ignored) as pooler:
        url = pooler.relays(database, "bulkhead_issues_relay")
        with pytest.raises(NotDirectError, match="give BULKHEAD_ISSUES_RELAY_DATABASE_URL the server's own address"):
            await rows.connect(url, "BULKHEAD_ISSUES_RELAY_DATABASE_URL")


def test_migrations_do_not_go_through_a_pooler(database: ScratchDatabase, pooler: PgBouncer) -> None:
    url = pooler.administrators(database)
    for migrate in (migrations.prepare, migrations.upgrade_all):
        with pytest.raises(NotDirectError, match="give MIGRATION_DATABASE_URL or --database-url the server's own"):
            migrate(url)
