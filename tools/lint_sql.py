"""squawk and sqlfluff on the SQL that each migration runs, and on the plain SQL files of deploy/."""

import contextlib
import io
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from bulkhead_kit import migrations

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parent.parent
# Alembic's own book-keeping is not ours to lint.
BOOK_KEEPING = re.compile(
    r"^(BEGIN;|COMMIT;|-- Running upgrade .*|(CREATE TABLE|INSERT INTO|UPDATE) \w+\.alembic_version[^;]*;)$",
    re.M,
)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        # A schema.sql is PostgreSQL's own account of what the migrations did.
        written = (file for file in ROOT.glob("deploy/**/*.sql") if file.name != "schema.sql")
        files = [*rendered(Path(folder)), *sorted(written)]
        squawk = run("squawk", "--config", ROOT / ".squawk.toml", *files)
        sqlfluff = run("sqlfluff", "lint", "-q", "--disable-progress-bar", "--config", ROOT / ".sqlfluff", *files)
    return squawk or sqlfluff


def rendered(folder: Path) -> Iterator[Path]:
    for target in migrations.TARGETS:
        if not target.scripts.is_dir():
            continue
        config = Config()
        config.set_main_option("script_location", str(target.scripts))
        config.set_main_option("path_separator", "os")
        for script in reversed(list(ScriptDirectory.from_config(config).walk_revisions())):
            yield write(folder, target.schema, script.revision, f"{script.down_revision or 'base'}:{script.revision}")


def write(folder: Path, schema: str, revision: str, span: str) -> Path:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        migrations.offline_sql(schema, span)
    file = folder / f"{schema}_{revision}.sql"
    sql = BOOK_KEEPING.sub("", out.getvalue()).strip().replace(";;", ";")
    file.write_text(f"set lock_timeout = '{migrations.LOCK_TIMEOUT_MS}ms';\n{sql}\n")
    return file


def run(program: str, *arguments: str | Path) -> int:
    return subprocess.run([BIN / program, *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
