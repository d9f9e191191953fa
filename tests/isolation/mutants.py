"""The wall with one stone missing: every policy, key, reference and right loosened in turn, as found in the catalogue.

Each mutant is planted in a clone of the world and must be noticed by what it lets happen, not by how it looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg

from tests.isolation.expected import LEVELS, OWN_ROWS, READ_BY_MEMBERS, RIGHTS
from tests.isolation.report import Pair, Report
from tests.isolation.right_probes import probe_levels, probe_owners, probe_platform, probe_rights
from tests.isolation.sql_probes import Prober, Relation
from tests.support.postgres import ScratchDatabase


@dataclass(frozen=True)
class Mutant:
    kind: str
    """A short run takes some of each kind."""
    table: str
    sql: str
    what: str = ""
    """The key or reference, where the table has several."""
    role: str = ""
    """Whose policy it is, where it is not the service's own login's."""

    @property
    def name(self) -> str:
        return ": ".join(filter(None, [self.kind, self.table, self.what]))

    def __str__(self) -> str:
        return f"{self.name}: {' '.join(self.sql.split())}"


def plant(database: ScratchDatabase, mutant: Mutant) -> None:
    with database.server.admin(database.name) as connection:
        connection.execute(mutant.sql.encode())


Known = dict[str, list[Relation]]
"""What each app role's tables are like in the world without a mutant."""


def probe(database: ScratchDatabase, mutant: Mutant, pair: Pair, known: Known) -> Report:
    """The probes by SQL that have to do with the mutant's kind, of its table."""
    tables = frozenset({mutant.table})
    app = f"bulkhead_{mutant.table.partition('.')[0]}_app"
    if mutant.kind.startswith("grant"):
        return probe_rights(database, tables)
    if mutant.kind == "not forced":
        return probe_owners(database, tables)
    if mutant.role == "bulkhead_platform_app":
        return probe_platform(database, pair, tables)
    with Prober(database, app, pair, known[app]) as prober:
        if mutant.table in LEVELS or mutant.table in OWN_ROWS or mutant.table in READ_BY_MEMBERS:
            probe_levels(prober, tables)
        return prober.report if mutant.kind.startswith("right") else prober.run(tables)


_SECOND_GUARD = "a trigger looks the row up in the context's tenant and refuses what it does not find there"
_TWICE_GUARDED = {
    "identity.api_keys: api_keys_user_id_fkey": _SECOND_GUARD,
    "issues.issue_labels: issue_labels_tenant_id_issue_id_fkey": "the row in the issue's feed refers to it as well",
    "issues.issues: issues_tenant_id_parent_id_fkey": _SECOND_GUARD,
    "issues.issues: issues_tenant_id_project_id_fkey": _SECOND_GUARD,
}
_OWN_ACTS = ("audit.own_events", "audit.own_event_values")
EQUIVALENT = {
    # What changes nothing, each with the reason; the long run sees that it is so.
    **{f"reference dropped: {name}": why for name, why in _TWICE_GUARDED.items()},
    **{f"reference without tenant: {name}": why for name, why in _TWICE_GUARDED.items()},
    "wall without check: issues.issues": _SECOND_GUARD,
    "wall without check: issues.projects": _SECOND_GUARD,
    **{f"grant of a read: {view}": "it asks functions of app, which no other login may call" for view in _OWN_ACTS},
    **{f"grant of a write: {view}": "a write by a view is its owner's, who has no right to one" for view in _OWN_ACTS},
}


def all_mutants(admin: psycopg.Connection) -> list[Mutant]:
    admin.execute("set search_path = pg_catalog")
    return sorted(
        [*_walls(admin), *_row_security(admin), *_rights(admin), *_keys(admin), *_references(admin), *_grants()],
        key=str,
    )


def _walls(admin: psycopg.Connection) -> Iterator[Mutant]:
    found = admin.execute(
        "select p.polrelid::regclass::text, p.polroles[1]::regrole::text from pg_policy as p"
        " inner join pg_class as c on c.oid = p.polrelid where p.polname = 'tenant_wall' and not c.relispartition"
    ).fetchall()
    for table, role in found:
        anew = f"drop policy tenant_wall on {table}; create policy tenant_wall on {table} as restrictive to {role}"
        wall, right = "tenant_id = app.current_tenant_id()", RIGHTS[role][table]
        yield Mutant("wall dropped", table, f"drop policy tenant_wall on {table}")
        yield Mutant(
            "wall open for owners", table, f"{anew} using ({wall} or app.role_level() >= 5) with check ({wall})"
        )
        if "I" in right:
            yield Mutant("wall without check", table, f"{anew} using ({wall}) with check (true)")
        if "S" in right:
            yield Mutant("wall without context", table, f"{anew} using (coalesce({wall}, true)) with check ({wall})")
        if "U" in right:
            # A permissive wall walls nothing off: it only adds a right.
            soft = f"drop policy tenant_wall on {table}; create policy tenant_wall on {table} to {role}"
            yield Mutant("wall made permissive", table, f"{soft} using ({wall}) with check ({wall})")


def _row_security(admin: psycopg.Connection) -> Iterator[Mutant]:
    found = admin.execute(
        "select c.oid::regclass::text, c.relispartition from pg_class as c"
        " inner join pg_namespace as n on n.oid = c.relnamespace"
        " where n.nspname in ('identity', 'issues', 'audit') and c.relkind in ('r', 'p') and c.relrowsecurity"
    ).fetchall()
    for table, _ in (row for row in found if not row[1]):
        app = f"bulkhead_{table.partition('.')[0]}_app"
        yield Mutant("not forced", table, f"alter table {table} no force row level security")
        if "S" in RIGHTS[app].get(table, ""):
            yield Mutant("row security off", table, f"alter table {table} disable row level security")


def _rights(admin: psycopg.Connection) -> Iterator[Mutant]:
    """The app roles' rights by level: loosened to everybody, and taken away."""
    found = admin.execute(
        "select p.polrelid::regclass::text, p.polname, p.polcmd::text, p.polroles[1]::regrole::text from pg_policy as p"
        " where p.polpermissive and p.polroles[1]::regrole::text like '%_app'"
    ).fetchall()
    commands = {"r": "select", "a": "insert", "w": "update", "*": "all"}
    for table, name, command, role in found:
        if table not in LEVELS and table not in OWN_ROWS and table not in READ_BY_MEMBERS:
            continue
        clauses = {"r": "using (true)", "a": "with check (true)"}.get(command, "using (true) with check (true)")
        loose = f"create policy {name} on {table} for {commands[command]} to {role} {clauses}"
        whose = "bulkhead_platform_app" if role == "bulkhead_platform_app" else ""
        gone = f"drop policy {name} on {table}"
        yield Mutant("right for everybody", table, f"{gone}; {loose}", whose or name, whose)
        yield Mutant("right taken away", table, gone, whose or name, whose)


def _names(numbers: str, relation: str) -> str:
    """The SQL for the names of some columns, in their order in the key."""
    return (
        "(select array_agg(a.attname::text order by k.place)"
        f" from unnest({numbers}) with ordinality as k (number, place)"
        f" inner join pg_attribute as a on a.attrelid = {relation} and a.attnum = k.number)"
    )


def _keys(admin: psycopg.Connection) -> Iterator[Mutant]:
    """A key that forgets the tenant: a value is refused because another tenant has it."""
    found = admin.execute(
        f"select t.oid::regclass::text, pg_get_expr(i.indpred, i.indrelid), {_names('i.indkey::smallint[]', 't.oid')}"
        " from pg_index as i inner join pg_class as t on t.oid = i.indrelid"
        " inner join pg_namespace as n on n.oid = t.relnamespace"
        " where n.nspname in ('identity', 'issues') and i.indisunique and not t.relispartition".encode()
    ).fetchall()
    for table, condition, columns in found:
        app, rest = f"bulkhead_{table.partition('.')[0]}_app", [column for column in columns if column != "tenant_id"]
        if columns[0] != "tenant_id" or not rest or "I" not in RIGHTS[app].get(table, ""):
            continue
        where = f" where {condition}" if condition else ""
        made = f"create unique index mutant_key on {table} ({', '.join(rest)}){where}"
        yield Mutant("key without tenant", table, made, ", ".join(rest))


def _references(admin: psycopg.Connection) -> Iterator[Mutant]:
    """A reference that forgets the tenant: another's row will do."""
    found = admin.execute(
        "select c.conrelid::regclass::text, c.conname, c.confrelid::regclass::text,"
        f" {_names('c.conkey', 'c.conrelid')}, {_names('c.confkey', 'c.confrelid')}"
        " from pg_constraint as c inner join pg_namespace as n on n.oid = c.connamespace"
        " where n.nspname in ('identity', 'issues') and c.contype = 'f' and not exists ("
        # What a trigger or a definer fills in cannot be made to point elsewhere.
        "  select from unnest(c.conkey[2:]) as k (number)"
        "  where not has_column_privilege('bulkhead_' || n.nspname || '_app', c.conrelid, k.number, 'insert'))".encode()
    ).fetchall()
    for table, name, target, columns, target_columns in found:
        app = f"bulkhead_{table.partition('.')[0]}_app"
        own, other = ", ".join(columns[1:]), ", ".join(target_columns[1:])
        if columns[0] != "tenant_id" or not own or "I" not in RIGHTS[app].get(table, ""):
            continue
        yield Mutant("reference dropped", table, f"alter table {table} drop constraint {name}", name)
        # The same person may be in several tenants, so the key without tenant is one of a copy.
        copied = f"{target.partition('.')[0]}.of_{name}"[:60]
        copy = f"create table {copied} as select distinct {other} from {target}"
        anew = f"add constraint {name} foreign key ({own}) references {copied} ({other})"
        yield Mutant(
            "reference without tenant",
            table,
            f"{copy}; alter table {copied} add primary key ({other});"
            f" alter table {table} drop constraint {name}, {anew}",
            name,
        )


def _grants() -> Iterator[Mutant]:
    for role, expected in RIGHTS.items():
        if not role.endswith("_app"):
            continue
        for table, letters in expected.items():
            for letter, privilege in {"I": "insert", "U": "update", "D": "delete"}.items():
                if letter not in letters:
                    yield Mutant("grant of a write", table, f"grant {privilege} on {table} to {role}")
            reach = f"grant usage on schema {table.partition('.')[0]} to bulkhead_ops"
            yield Mutant("grant of a read", table, f"{reach}; grant select on {table} to bulkhead_ops")
            if not table.startswith("audit."):
                # In audit a trigger refuses it to whoever has the right.
                yield Mutant("grant of truncate", table, f"grant truncate on {table} to {role}")
            if "U" in letters:
                yield Mutant("grant of any column", table, f"grant update on {table} to {role}")
