"""A database that answers and cannot work: what it lacks is named to callers, in the log and in a counter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio
import structlog
from bulkhead_issues.settings import IssuesSettings
from bulkhead_kit import clock
from bulkhead_kit.db import Database, refusals
from bulkhead_kit.errors import Unavailable
from bulkhead_kit.readiness import Readiness
from prometheus_client import REGISTRY
from psycopg import sql

from tests.kit.db import labels
from tests.kit.db.conftest import Make
from tests.support.postgres import ScratchDatabase


def counted(sqlstate: str) -> float:
    return REGISTRY.get_sample_value("bulkhead_db_refused_total", {"sqlstate": sqlstate}) or 0.0


async def write(database: Database, make: Make) -> None:
    async with database.transaction(make()) as tx:
        await tx.one(labels.INSERT, label_id=uuid4(), name=f"state {uuid4()}", color="#ffffff")


@pytest.mark.parametrize(
    ("sqlstate", "words"),
    [
        ("53100", "the database's disk is full"),
        ("53200", "the database is out of memory"),
        ("53300", "the database has no connection left"),
        ("57P03", "the database is starting or shutting down"),
    ],
)
async def test_what_the_server_lacks_is_named(
    issues: Database, owner: Make, database: ScratchDatabase, sqlstate: str, words: str
) -> None:
    """Raised by a trigger with the code that the server gives."""
    before = counted(sqlstate)
    refusals._said.clear()
    with psycopg.connect(database.admin_dsn, autocommit=True) as admin:
        body = f"begin raise exception 'could not extend file' using errcode = '{sqlstate}'; end"
        admin.execute(f"create function issues.lacks() returns trigger language plpgsql as $${body}$$".encode())
        admin.execute("create trigger zzzz_lacks before insert on issues.labels execute function issues.lacks()")
        try:
            with structlog.testing.capture_logs() as lines, pytest.raises(Unavailable, match=words):
                await write(issues, owner)
            with pytest.raises(Unavailable, match=words):
                await write(issues, owner)
        finally:
            admin.execute("drop trigger zzzz_lacks on issues.labels; drop function issues.lacks()")
    assert counted(sqlstate) == before + 2
    (line,) = (one for one in lines if one["event"] == "database_refuses")
    assert (line["sqlstate"], line["detail"], line["message"]) == (sqlstate, words, "could not extend file")


@pytest_asyncio.fixture
async def standby(database: ScratchDatabase, owner: Make) -> AsyncIterator[Database]:
    """A database that only reads, as a standby that took the primary's address does; `owner` was made before."""
    name = sql.Identifier(database.name)
    with psycopg.connect(database.admin_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("alter database {} set default_transaction_read_only = on").format(name))
    made = Database(database.dsn("bulkhead_issues_app"))
    await made.open()
    yield made
    await made.close()
    take_writes(database)


def take_writes(database: ScratchDatabase) -> None:
    with psycopg.connect(database.admin_dsn, autocommit=True) as admin:
        admin.execute("set default_transaction_read_only = off")
        name = sql.Identifier(database.name)
        admin.execute(sql.SQL("alter database {} reset default_transaction_read_only").format(name))


async def test_a_database_that_only_reads_is_told_from_one_that_is_away(standby: Database, owner: Make) -> None:
    refusals._said.clear()
    before = counted("25006")
    assert (await standby.read(owner()).one(labels.COUNT)).number >= 0
    with structlog.testing.capture_logs() as lines:
        with pytest.raises(Unavailable, match="takes no writes"):
            await write(standby, owner)
        assert await Readiness(IssuesSettings.model_construct(), standby)() is None
    assert counted("25006") == before + 1
    assert {"database_refuses", "database_read_only"} <= {line["event"] for line in lines}
    assert REGISTRY.get_sample_value("bulkhead_db_read_only") == 1.0


async def test_writes_come_back_without_a_restart(standby: Database, database: ScratchDatabase, owner: Make) -> None:
    """Sessions that were opened as readers stay readers, whatever the server is told later."""
    ready = Readiness(IssuesSettings.model_construct(), standby)
    with pytest.raises(Unavailable, match="takes no writes"):
        await write(standby, owner)
    take_writes(database)
    with pytest.raises(Unavailable, match="takes no writes"):
        await write(standby, owner)
    for _ in range(2):
        assert await ready() is None
    await write(standby, owner)
    assert REGISTRY.get_sample_value("bulkhead_db_read_only") == 0.0


@pytest.mark.parametrize(("ahead", "where"), [(3600.0, "3600 s ahead of"), (-3600.0, "3600 s behind"), (2.0, "")])
async def test_a_clock_that_is_off_is_warned_of(
    issues: Database, monkeypatch: pytest.MonkeyPatch, ahead: float, where: str
) -> None:
    ready = Readiness(IssuesSettings.model_construct(), issues)
    now = clock.unix
    monkeypatch.setattr(clock, "unix", lambda: now() + ahead)
    with structlog.testing.capture_logs() as lines:
        assert await ready() is None
        assert await ready() is None
    said = [line["detail"] for line in lines if line["event"] == "clock_differs"]
    assert len(said) == (1 if where else 0)
    assert where in "".join(said)
    offset = REGISTRY.get_sample_value("bulkhead_clock_offset_seconds")
    assert offset is not None
    assert abs(offset - ahead) < 30
