"""What each login may do at all, and what each role level may do behind the wall; compared with expected.py."""

from __future__ import annotations

from typing import LiteralString

import psycopg
from psycopg import sql

from tests.isolation.expected import (
    EVERY_OTHER,
    HIDDEN,
    LEVELS,
    NEVER_WRITTEN,
    OWN_ROWS,
    PLATFORM,
    READ_BY_MEMBERS,
    RIGHTS,
    Levels,
    OwnRows,
)
from tests.isolation.report import Pair, Report
from tests.isolation.sql_probes import Prober
from tests.isolation.sql_session import DENIED, SqlSession, table
from tests.support.postgres import ScratchDatabase

ALL_LEVELS = (0, 1, 2, 3, 4, 5, 6)
"""Nobody, the five roles, another service."""
Columns = dict[str, str]
"""Type by name; generated columns left out, which nobody can write."""


def all_tables(admin: psycopg.Connection, kinds: str = "rpvm") -> dict[str, Columns]:
    """`kinds` as pg_class has them: views too, unless said otherwise."""
    found = admin.execute(
        "select n.nspname || '.' || c.relname, jsonb_object_agg(a.attname, format_type(a.atttypid, a.atttypmod))"
        " from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace"
        " inner join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
        " where n.nspname in ('app', 'identity', 'issues', 'audit') and strpos(%s, c.relkind::text) > 0"
        " and a.attgenerated = '' and a.attidentity = '' group by 1 order by 1",
        (kinds,),
    )
    return dict(found.fetchall())


def probe_rights(database: ScratchDatabase, tables: frozenset[str] | None = None) -> Report:
    """Every login on every table: whatever expected.py does not name must be denied, the rest must not be."""
    report = Report()
    with psycopg.connect(database.admin_dsn, autocommit=True) as admin:
        known = {name: columns for name, columns in all_tables(admin).items() if tables is None or name in tables}
        views = all_tables(admin, "vm").keys()
    for role, expected in RIGHTS.items():
        with psycopg.connect(database.dsn(role), autocommit=True) as connection:
            for name, columns in known.items():
                # Of a view the functions too, for which a right on the view is none.
                look = "select * from {} limit 0" if name in views else "select count(*) from {} where false"
                allowed = expected.get(name, expected.get(EVERY_OTHER, ""))
                _probe_table(connection, name, columns, allowed, report, look)
    return report


def _probe_table(
    connection: psycopg.Connection, name: str, columns: Columns, expected: str, report: Report, look: LiteralString
) -> None:
    role = connection.info.user
    written = {column for column in columns if _allowed(connection, _update(name, column))}
    happened = {
        "S": _allowed(connection, sql.SQL(look).format(table(name))),
        "I": any(_allowed(connection, _insert(name, column, kind)) for column, kind in columns.items()),
        "U": bool(written),
        "D": _allowed(connection, sql.SQL("delete from {} where false").format(table(name))),
        "T": _may_truncate(connection, name),
    }
    for letter, done in happened.items():
        probe = f"{role} {letter} on {name}"
        if letter in expected:
            report.add(probe, leaked=False, twinned=done, why="should be allowed")
        else:
            report.add(probe, leaked=done, twinned=True, why="is allowed")
    if role.endswith("_app"):
        for column in written & set(NEVER_WRITTEN):
            report.leaks.append(f"{role} updates {name}.{column}")


# None of these finds a row to work on: the right is checked before.


def _update(name: str, column: str) -> sql.Composed:
    return sql.SQL("update {} set {} = default where false").format(table(name), sql.Identifier(column))


def _insert(name: str, column: str, kind: str) -> sql.Composed:
    return sql.SQL("insert into {} ({}) select null::{} where false").format(
        table(name), sql.Identifier(column), sql.SQL(kind)
    )


def _allowed(connection: psycopg.Connection, statement: sql.Composed) -> bool:
    try:
        connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege:
        return False
    except (psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.FeatureNotSupported):
        return False  # a view, or a column of one, that nobody can write
    return True


def _may_truncate(connection: psycopg.Connection, name: str) -> bool:
    with connection.transaction(force_rollback=True):
        try:
            connection.execute(sql.SQL("truncate {}").format(table(name)))
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.WrongObjectType):
            return False
        except psycopg.errors.FeatureNotSupported:
            return True  # the right is there, only another table refers to this one
    return True


def probe_levels(prober: Prober, tables: frozenset[str] | None = None) -> Report:
    """Every role level in its own tenant: below the least one nothing is read or written, from it on it is."""
    for relation in prober.known:
        if relation.name in LEVELS and (tables is None or relation.name in tables):
            _probe_levels_of(prober, relation.name, LEVELS[relation.name], relation.update)
    _probe_hidden(prober, tables)
    _probe_own_rows(prober, tables)
    _probe_read_by_members(prober, tables)
    return prober.report


def _probe_levels_of(prober: Prober, name: str, least: Levels, columns: frozenset[str]) -> None:
    count = sql.SQL("select count(*) from {}").format(table(name))
    rows = {level: prober.in_own_tenant(count, level)[1] for level in ALL_LEVELS}
    _judge(prober.report, f"{prober.role} reads {name}", least.read, {level: n > 0 for level, n in rows.items()})
    if least.insert is not None:
        # Constraints come after policies, triggers may come before them.
        done = {level: prober.insert_twin(name, level).startswith(("00000", "23")) for level in ALL_LEVELS}
        _judge(prober.report, f"{prober.role} inserts into {name}", least.insert, done)
    for column in sorted(columns) if least.update is not None else ():
        # The one looks at the rows first, so that the right to read stands before it; the other does not.
        looking = sql.SQL("update {table} set {column} = {column}")
        blind = sql.SQL("update {table} set {column} = default")
        done = dict.fromkeys(ALL_LEVELS, False)
        for text in (looking, blind):
            statement = text.format(table=table(name), column=sql.Identifier(column))
            for level in ALL_LEVELS:
                state, touched = prober.in_own_tenant(statement, level)
                done[level] |= touched > 0 or state.startswith(("BH", "23"))
        _judge(prober.report, f"{prober.role} updates {name}.{column}", least.update or 0, done)


def _judge(report: Report, probe: str, least: int, done: dict[int, bool]) -> None:
    for level, was_done in done.items():
        if level < least:
            report.add(f"{probe} at level {level}", leaked=was_done, twinned=done[6], why="goes through")
        elif not was_done:
            report.untwinned.append(f"{probe} at level {level}: should go through")


def _probe_hidden(prober: Prober, tables: frozenset[str] | None) -> None:
    for name, (least, condition) in HIDDEN.items():
        if not name.startswith(prober.role.removeprefix("bulkhead_").removesuffix("_app")) or (
            tables is not None and name not in tables
        ):
            continue
        hidden = sql.SQL("select count(*) from {} where " + condition).format(table(name))
        rows = {level: prober.in_own_tenant(hidden, level)[1] for level in ALL_LEVELS}
        _judge(prober.report, f"{prober.role} reads hidden rows of {name}", least, {k: n > 0 for k, n in rows.items()})


def _probe_own_rows(prober: Prober, tables: frozenset[str] | None) -> None:
    for name, own in OWN_ROWS.items():
        if not name.startswith(prober.role.removeprefix("bulkhead_").removesuffix("_app")) or (
            tables is not None and name not in tables
        ):
            continue
        if own.insert:
            _probe_inserts(prober, name, own)
        foreign = sql.SQL("select count(*) from {} where " + own.others).format(table(name))
        every = sql.SQL("select count(*) from {}").format(table(name))
        for level in ALL_LEVELS:
            state, rows = prober.in_own_tenant(foreign, level)
            mine = prober.in_own_tenant(every, level)[1] - rows
            probe = f"{prober.role} reads others' rows of {name} at level {level}"
            prober.report.add(probe, leaked=rows > 0, twinned=mine > 0, why=f"{rows} rows, {state}")
            if own.change:
                blind = sql.SQL("update {} set " + own.change).format(table(name))
                state, rows = prober.in_own_tenant(blind, level)
                probe = f"{prober.role} changes others' rows of {name} at level {level}"
                prober.report.add(probe, leaked=rows > mine, twinned=rows > 0, why=f"{rows} rows, {state}")


def _probe_inserts(prober: Prober, name: str, own: OwnRows) -> None:
    statement = sql.SQL(own.insert)
    stranger = prober.stranger()
    for level in ALL_LEVELS:
        state, _ = prober.in_own_tenant(statement, level, [stranger])
        twin, _ = prober.in_own_tenant(statement, level, [prober.pair.user_id])
        probe = f"{prober.role} makes another's row of {name} at level {level}"
        # Constraints come after policies.
        prober.report.add(probe, leaked=state != DENIED, twinned=twin.startswith(("00000", "23")), why=state)


def _probe_read_by_members(prober: Prober, tables: frozenset[str] | None) -> None:
    for name in READ_BY_MEMBERS:
        if name.startswith(prober.role.removeprefix("bulkhead_").removesuffix("_app")) and (
            tables is None or name in tables
        ):
            count = sql.SQL("select count(*) from {}").format(table(name))
            rows = {level: prober.in_own_tenant(count, level)[1] for level in ALL_LEVELS}
            _judge(prober.report, f"{prober.role} reads {name}", 1, {level: n > 0 for level, n in rows.items()})


def probe_platform(database: ScratchDatabase, pair: Pair, tables: frozenset[str] | None = None) -> Report:
    """bulkhead_platform_app sees what it is for in a person's name and outside every tenant; nothing otherwise."""
    report = Report()
    wrong: dict[str, dict[str, object]] = {
        "in nobody's name": {},
        "in a tenant": {"user": pair.user_id, "tenant": pair.ours, "level": 5},
        "in a tenant as a service": {"tenant": pair.ours, "level": 6},
    }
    with SqlSession.of(database, "bulkhead_platform_app") as session:
        for name, columns in PLATFORM.items():
            if tables is not None and name not in tables:
                continue
            statements = {"reads": sql.SQL("select count(*) from {}").format(table(name))} | {
                # Blind: one that looks at the rows would need the right to read them as well.
                f"changes {column} of": sql.SQL("update {} set {} = default").format(
                    table(name), sql.Identifier(column)
                )
                for column in columns
            }
            for what, statement in statements.items():
                twinned = _reached(*session.attempt(statement, user=pair.user_id))
                for who, context in wrong.items():
                    leaked = _reached(*session.attempt(statement, **context))  # type: ignore[arg-type]  # spelled above
                    report.add(
                        f"bulkhead_platform_app {what} {name} {who}", leaked=leaked, twinned=twinned, why="it does"
                    )
        _probe_platform_calls(session, pair, report, tables)
    return report


def _reached(state: str, rows: int) -> bool:
    """A refusal by the table's own trigger shows as well that the policy let the row through."""
    return rows > 0 or state.startswith("BH")


def _probe_platform_calls(session: SqlSession, pair: Pair, report: Report, tables: frozenset[str] | None) -> None:
    name = "identity.user_request_ids"
    if tables is not None and name not in tables:
        return
    own = OWN_ROWS[name]
    others = sql.SQL("select count(*) from {} where " + own.others).format(table(name))
    every = sql.SQL("select count(*) from {}").format(table(name))
    rows = session.attempt(others, user=pair.user_id)[1]
    mine = session.attempt(every, user=pair.user_id)[1] - rows
    report.add(
        f"bulkhead_platform_app reads others' rows of {name}", leaked=rows > 0, twinned=mine > 0, why=f"{rows} rows"
    )
    insert = sql.SQL(own.insert)
    state, _ = session.attempt(insert, [pair.ours], user=pair.user_id)
    twin, _ = session.attempt(insert, [pair.user_id], user=pair.user_id)
    report.add(
        f"bulkhead_platform_app makes another's row of {name}",
        leaked=state != DENIED,
        twinned=twin == "00000",
        why=state,
    )


def probe_owners(database: ScratchDatabase, tables: frozenset[str] | None = None) -> Report:
    """FORCE: an owner whose right is taken away sees nothing of her own table. Nobody can log in as one, so this is
    tried from the administrator's connection, and undone."""
    report = Report()
    with psycopg.connect(database.admin_dsn, autocommit=True) as admin:
        for name in all_tables(admin, "rp"):
            if name.endswith(".alembic_version") or (tables is not None and name not in tables):
                continue
            with admin.transaction(force_rollback=True):
                rows = _as_owner(admin, name)
                admin.execute(sql.SQL("drop policy owner_right on {}").format(table(name)))
                without = _as_owner(admin, name)
            report.add(f"the owner of {name} without her right", leaked=without > 0, twinned=rows > 0, why="sees rows")
    return report


def _as_owner(admin: psycopg.Connection, name: str) -> int:
    owner = sql.Identifier(f"bulkhead_{name.partition('.')[0]}_owner")
    with admin.transaction(force_rollback=True):
        admin.execute(sql.SQL("set local role {}").format(owner))
        row = admin.execute(sql.SQL("select count(*) from {}").format(table(name))).fetchone()
    return int(row[0]) if row else 0
