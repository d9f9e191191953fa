"""`bulkhead schema`: makes the documents from a live database, or holds them against it."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
from bulkhead_kit import migrations
from psycopg import sql

from bulkhead_cli.errors import MendableError
from bulkhead_cli.postgres import EmbeddedPostgres
from bulkhead_cli.schema import catalogue, files
from bulkhead_cli.schema.proof import prove

SCRATCH = "bulkhead_schema"


def run(root: Path, database_url: str | None, *, check: bool, say: Callable[[str], None]) -> int:
    files.check_root(root)
    if database_url:
        made = read(database_url, scratch=False)
    else:
        with scratch_database() as url:
            made = read(url, scratch=True)
    if check:
        found = list(files.differences(root, made))
        for difference in found:
            say(difference)
        say(
            f"{len(found)} of {len(made)} files differ from the database. To mend it: make schema"
            if found
            else f"{len(made)} files say what the database says"
        )
        return int(bool(found))
    changed = files.write(root, made)
    for path in changed:
        say(f"wrote {path}")
    say(f"{len(made)} files, {len(changed)} changed")
    return 0


def read(url: str, *, scratch: bool) -> dict[Path, str]:
    """Of a scratch database the README is made too; an installation's own is only read."""
    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            connection.autocommit = True
            with connection.transaction():
                found = catalogue.read(connection)
            return files.texts(found, prove(connection) if scratch else None)
    except psycopg.OperationalError as error:
        raise MendableError(f"The database cannot be read: {error}", "correct --database-url.") from error


@contextlib.contextmanager
def scratch_database() -> Iterator[str]:
    """Migrated, and gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="bulkhead-schema-", ignore_cleanup_errors=True) as folder,
        EmbeddedPostgres(Path(folder), durable=False) as server,
    ):
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("create database {} template template0").format(sql.Identifier(SCRATCH)))
        url = server.dsn_for(SCRATCH)
        migrations.prepare(url)
        migrations.upgrade_all(url)
        yield url
