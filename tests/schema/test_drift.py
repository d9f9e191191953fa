"""The files of docs/schema and each schema.sql say what the migrated database says; any change of it is noticed."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest
from bulkhead_cli.errors import MendableError
from bulkhead_cli.schema import command, files
from bulkhead_cli.schema.markdown import anchor
from bulkhead_cli.schema.model import Catalogue

from tests.schema.conftest import ROOT, Altered
from tests.support.postgres import Databases, ScratchDatabase

# What somebody may do to a database, and a file that then says something else.
CHANGES = {
    "alter table issues.labels add column planted text": "docs/schema/issues.md",
    "alter table issues.labels drop column color": "services/issues/bulkhead_issues/schema.sql",
    "alter table issues.labels alter column color drop not null": "docs/schema/issues.md",
    "alter table issues.labels alter column description set default 'planted'": "docs/schema/issues.md",
    "alter table issues.labels alter column color type varchar(7)": "docs/schema/issues.md",
    "alter table issues.labels drop constraint labels_color_check": "docs/schema/issues.md",
    "alter table issues.issue_labels drop constraint issue_labels_tenant_id_label_id_fkey": "docs/schema/issues.md",
    "drop index issues.issue_labels_by_label_idx": "docs/schema/issues.md",
    "alter table issues.labels no force row level security": "docs/schema/issues.md",
    "alter table audit.events disable row level security": "services/audit/bulkhead_audit/schema.sql",
    "drop policy tenant_wall on issues.labels": "docs/schema/issues.md",
    "alter policy read_right on issues.labels using (true)": "docs/schema/issues.md",
    "alter policy read_right on issues.labels to bulkhead_issues_app, bulkhead_issues_worker": "docs/schema/issues.md",
    "grant update (name_key) on issues.labels to bulkhead_issues_app": "docs/schema/issues.md",
    "grant delete on issues.labels to bulkhead_issues_app": "docs/schema/roles.md",
    "grant select on audit.events to bulkhead_backup": "docs/schema/audit.md",
    "alter table issues.labels disable trigger zz_capture": "docs/schema/issues.md",
    "drop trigger zz_capture on identity.users": "docs/schema/identity.md",
    "alter function app.role_level() volatile": "deploy/postgres/bulkhead_postgres/schema.sql",
    "alter function identity.check_tenant(uuid, boolean) security invoker": "docs/schema/identity.md",
    "alter function identity.check_tenant(uuid, boolean) owner to bulkhead_identity_owner": "docs/schema/identity.md",
    "grant execute on function identity.find_credentials(text) to public": "docs/schema/identity.md",
    "alter function audit.refuse_change() reset search_path": "services/audit/bulkhead_audit/schema.sql",
    "create or replace function audit.refuse_change() returns trigger language plpgsql as 'begin return new; end'": (
        "services/audit/bulkhead_audit/schema.sql"
    ),
    "comment on table issues.labels is 'planted'": "docs/schema/issues.md",
    "comment on column issues.issues.number is null": "docs/schema/issues.md",
    "alter table issues.labels owner to bulkhead_identity_owner": "docs/schema/issues.md",
    "grant usage on schema audit to bulkhead_issues_app": "docs/schema/audit.md",
    "alter table issues.labels set (fillfactor = 50)": "docs/schema/issues.md",
    "alter role bulkhead_ops bypassrls": "docs/schema/roles.md",
    "grant bulkhead_audit_owner to bulkhead_ops": "docs/schema/roles.md",
    "alter role bulkhead_ops reset statement_timeout": "docs/schema/roles.md",
    "create table issues.planted (planted text)": "docs/schema/issues.md",
    "create view issues.planted as select tenant_id from issues.labels": "docs/schema/issues.md",
    "grant select on audit.own_events to bulkhead_ops": "docs/schema/audit.md",
    "alter view audit.own_events set (security_barrier)": "services/audit/bulkhead_audit/schema.sql",
    "drop table identity.mails": "docs/schema/identity.md",
}


def test_the_files_say_what_the_database_says(database: ScratchDatabase) -> None:
    made = command.read(database.admin_dsn, scratch=True)
    assert files.README in made
    found = list(files.differences(ROOT, made))
    assert not found, "run `make schema`:\n" + "\n".join(found)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_database_is_noticed(change: str, found: Catalogue, altered: Altered) -> None:
    before, after = files.texts(found, None), files.texts(altered(change), None)
    file = Path(CHANGES[change])
    assert after[file] != before[file]


@pytest.mark.parametrize(
    "thing",
    [
        "create view issues.planted as select name from issues.labels;"
        " grant insert on issues.planted to bulkhead_issues_app",
        "create view issues.planted as select 1 as one; grant select on issues.planted to public",
        "create materialized view issues.planted as select 1 as one",
        "create sequence issues.planted",
        "create type issues.planted as enum ('one')",
        "create domain issues.planted as text",
        "create aggregate issues.planted (integer) (sfunc = int4pl, stype = integer)",
        "create statistics issues.planted on name, color from issues.labels",
        "create rule planted as on insert to issues.labels do instead nothing",
        "alter default privileges for role bulkhead_issues_owner in schema issues"
        " grant select on tables to bulkhead_ops",
    ],
)
def test_what_the_documents_cannot_tell_of_is_refused(thing: str, altered: Altered) -> None:
    with pytest.raises(MendableError, match="cannot tell of"):
        altered(thing)


def test_the_check_names_the_file_and_shows_the_difference(databases: Databases) -> None:
    changed = databases.clone()
    said: list[str] = []
    assert command.run(ROOT, changed.admin_dsn, check=True, say=said.append) == 0, "\n".join(said)
    with psycopg.connect(changed.admin_dsn) as connection:
        connection.execute("alter table audit.logs add column planted text not null default ''")
    said.clear()
    assert command.run(ROOT, changed.admin_dsn, check=True, say=said.append) == 1
    databases.drop(changed)
    page, snapshot = said[1], said[0]
    assert snapshot.startswith("--- services/audit/bulkhead_audit/schema.sql (the file)")
    assert "+    planted text default '' not null" in snapshot
    assert page.startswith("--- docs/schema/audit.md (the file)")
    assert "+| `planted` | text |  | `''` |  |" in page
    assert said[-1] == "2 of 11 files differ from the database. To mend it: make schema"


def test_writing_mends_what_the_check_finds(found: Catalogue, tmp_path: Path) -> None:
    made = files.texts(found, None)
    assert sorted(files.write(tmp_path, made)) == sorted(made)
    assert not list(files.differences(tmp_path, made))
    (tmp_path / "docs/schema/gone.md").write_text("a schema that was dropped")
    (tmp_path / "docs/schema/roles.md").unlink()
    (tmp_path / "docs/schema/audit.md").write_text("edited by hand")
    assert len(list(files.differences(tmp_path, made))) == 3
    assert len(files.write(tmp_path, made)) == 3
    assert not list(files.differences(tmp_path, made))


def test_months_of_the_log_are_not_told_of(found: Catalogue, altered: Altered) -> None:
    assert altered("select audit.make_months('2025-01-01', '2025-03-01')") == found


def test_every_link_leads_somewhere() -> None:
    pages = {file.name: file.read_text(encoding="utf-8") for file in (ROOT / files.DOCUMENTS).glob("*.md")}
    headings = {
        name: {anchor(line.lstrip("# ")) for line in text.splitlines() if line.startswith("#")}
        for name, text in pages.items()
    }
    links = [(name, *link) for name, text in pages.items() for link in re.findall(r"\]\(([\w.]*)(?:#(\w+))?\)", text)]
    assert len(links) > 100
    for name, page, heading in links:
        assert not heading or heading in headings[page or name], f"{name}: {page}#{heading}"
        assert not page or page in pages, f"{name}: {page}"


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MendableError, match="no checkout"):
        command.run(tmp_path, None, check=True, say=print)


def test_a_database_without_the_schemas_is_refused(databases: Databases) -> None:
    empty = databases.empty()
    with psycopg.connect(empty.admin_dsn) as connection:
        connection.execute("drop schema audit")
    with pytest.raises(MendableError, match="no schema audit"):
        command.read(empty.admin_dsn, scratch=False)
    databases.drop(empty)
