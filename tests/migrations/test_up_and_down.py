"""Every migration of every service: up, down and up again, one step at a time."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from alembic.script import ScriptDirectory
from bulkhead_kit import migrations
from bulkhead_kit.migrations import Target

from tests.support.catalogue import all_snapshots, difference
from tests.support.postgres import Databases

each_target = pytest.mark.parametrize("target", migrations.TARGETS, ids=lambda target: target.schema)


def steps(target: Target) -> list[str]:
    """The revisions from the first to the last."""
    scripts = ScriptDirectory(str(target.scripts))
    return [revision.revision for revision in scripts.walk_revisions()][::-1]


@each_target
def test_the_history_is_one_line_of_well_named_files(target: Target) -> None:
    scripts = ScriptDirectory(str(target.scripts))
    assert len(scripts.get_heads()) == 1
    files = sorted(file.name for file in (target.scripts / "versions").glob("*.py"))
    assert files
    assert not [name for name in files if not re.fullmatch(r"\d{4}_(pre|post)_[a-z0-9_]+\.py", name)]
    assert [name[:4] for name in files] == steps(target)


@each_target
def test_every_step_can_be_taken_back(target: Target, databases: Databases) -> None:
    database = databases.empty()
    for below in migrations.TARGETS[: migrations.TARGETS.index(target)]:
        migrations.upgrade(database.admin_dsn, below.schema)
    seen = [all_snapshots(database.admin_dsn)]
    for revision in steps(target):
        migrations.upgrade(database.admin_dsn, target.schema, revision)
        seen.append(all_snapshots(database.admin_dsn))
    top = seen.pop()
    for previous, revision in reversed(list(pairwise(["base", *steps(target)]))):
        migrations.downgrade(database.admin_dsn, target.schema, previous)
        left = difference(seen.pop(), all_snapshots(database.admin_dsn))
        assert not left, f"the downgrade of {revision} leaves something behind:\n{left}"
    migrations.upgrade(database.admin_dsn, target.schema)
    other = difference(top, all_snapshots(database.admin_dsn))
    assert not other, f"the second way up ends elsewhere:\n{other}"
    databases.drop(database)


def test_from_all_the_way_up_to_the_ground_and_back(databases: Databases) -> None:
    database = databases.empty()
    ground = all_snapshots(database.admin_dsn)
    migrations.upgrade_all(database.admin_dsn)
    top = all_snapshots(database.admin_dsn)
    for target in reversed(migrations.TARGETS):
        migrations.downgrade(database.admin_dsn, target.schema, "base")
    assert difference(ground, all_snapshots(database.admin_dsn)) == ""
    migrations.upgrade_all(database.admin_dsn)
    assert difference(top, all_snapshots(database.admin_dsn)) == ""
    databases.drop(database)


def test_a_snapshot_sees_a_change(databases: Databases) -> None:
    database = databases.empty()
    migrations.upgrade(database.admin_dsn, "app")
    before = all_snapshots(database.admin_dsn)
    with database.server.admin(database.name) as connection:
        connection.execute("grant execute on function app.stamp() to public")
    assert "function stamp" in difference(before, all_snapshots(database.admin_dsn))
    databases.drop(database)
