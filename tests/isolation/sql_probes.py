"""SQL as each login role of a service: with tenant A's context, or none, nothing of tenant B is seen or touched.

Every probe has a twin that does the same to A's own row: only where that goes through does a denial mean anything.
Tables, columns, keys and references come from the catalogue, so a new table is probed the day it is made.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.rows import dict_row, tuple_row
from psycopg.types.json import Jsonb

from tests.isolation.keys import GLOBAL_KEYS
from tests.isolation.report import Pair, Report
from tests.isolation.sql_session import DENIED, SqlSession, Statement, table
from tests.support.postgres import ScratchDatabase

_BY_TRIGGER = ("BH", "23514")
"""States of a refusal: a row that stays as it is breaks no CHECK of the table's own."""

APP_ROLES = ("bulkhead_identity_app", "bulkhead_issues_app", "bulkhead_audit_app")
LEVELS = (1, 2, 3, 4, 5, 6)
Row = dict[str, object]


@dataclass(frozen=True)
class Reference:
    """A foreign key: columns here, and what they point to there."""

    name: str
    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]


@dataclass(frozen=True)
class Relation:
    """A table of the catalogue, as one role may use it."""

    name: str
    columns: dict[str, str]
    """Type by name."""
    key: tuple[str, ...]
    uniques: dict[str, tuple[str, ...]]
    references: tuple[Reference, ...]
    select: frozenset[str]
    insert: frozenset[str]
    update: frozenset[str]

    @property
    def identifier(self) -> sql.Identifier:
        return table(self.name)


def relations(admin: psycopg.Connection, role: str) -> list[Relation]:
    """The tenant tables on which the role has any right."""
    cursor = admin.cursor(row_factory=dict_row)
    found = cursor.execute(
        """
        select c.oid, n.nspname || '.' || c.relname as name,
            (select jsonb_object_agg(a.attname, format_type(a.atttypid, a.atttypmod)) from pg_attribute as a
             where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
            array(select a.attname::text from pg_attribute as a where a.attrelid = c.oid and a.attnum > 0
             and not a.attisdropped and has_column_privilege(%(role)s, c.oid, a.attnum, 'select')) as s,
            array(select a.attname::text from pg_attribute as a where a.attrelid = c.oid and a.attnum > 0
             and not a.attisdropped and has_column_privilege(%(role)s, c.oid, a.attnum, 'insert')
             and a.attgenerated = '' and a.attidentity = '') as i,
            array(select a.attname::text from pg_attribute as a where a.attrelid = c.oid and a.attnum > 0
             and not a.attisdropped and has_column_privilege(%(role)s, c.oid, a.attnum, 'update')) as u
        from pg_class as c inner join pg_namespace as n on n.oid = c.relnamespace
        where n.nspname in ('identity', 'issues', 'audit') and c.relkind in ('r', 'p') and not c.relispartition
            and (has_any_column_privilege(%(role)s, c.oid, 'select, insert, update'))
            and exists (select from pg_attribute as a where a.attrelid = c.oid and a.attname = 'tenant_id')
        order by name
        """,
        {"role": role},
    ).fetchall()
    return [
        Relation(
            name=row["name"],
            columns=row["columns"],
            key=_keys(admin, row["oid"], primary=True).get("", ()) or (),
            uniques=_keys(admin, row["oid"], primary=False),
            references=tuple(_references(admin, row["oid"])),
            select=frozenset(row["s"]),
            insert=frozenset(row["i"]),
            update=frozenset(row["u"]),
        )
        for row in found
    ]


def _keys(admin: psycopg.Connection, oid: int, *, primary: bool) -> dict[str, tuple[str, ...]]:
    found = admin.execute(
        """
        select case when %(primary)s then '' else i.indexrelid::regclass::text end,
            (select array_agg(a.attname::text order by k.place) from unnest(i.indkey::smallint[]) with ordinality
                as k (number, place) inner join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.number)
        from pg_index as i where i.indrelid = %(oid)s and i.indisunique and i.indisprimary = %(primary)s
        """,
        {"oid": oid, "primary": primary},
    ).fetchall()
    return {name: tuple(columns) for name, columns in found}


def _references(admin: psycopg.Connection, oid: int) -> Iterator[Reference]:
    found = admin.execute(
        """
        select c.conname, n.nspname || '.' || t.relname,
            (select array_agg(a.attname::text order by k.place)
             from unnest(c.conkey) with ordinality as k (number, place)
             inner join pg_attribute as a on a.attrelid = c.conrelid and a.attnum = k.number),
            (select array_agg(a.attname::text order by k.place)
             from unnest(c.confkey) with ordinality as k (number, place)
             inner join pg_attribute as a on a.attrelid = c.confrelid and a.attnum = k.number)
        from pg_constraint as c inner join pg_class as t on t.oid = c.confrelid
        inner join pg_namespace as n on n.oid = t.relnamespace
        where c.conrelid = %s and c.contype = 'f' and c.conparentid = 0 order by c.conname
        """,
        (oid,),
    ).fetchall()
    for name, target, columns, target_columns in found:
        yield Reference(name, tuple(columns), target, tuple(target_columns))


class Prober:
    """Runs the probes of one login role in one database."""

    def __init__(self, database: ScratchDatabase, role: str, pair: Pair, known: list[Relation] | None = None) -> None:
        """`known` is what the tables should be like, where this database may have lost something."""
        self.role = role
        self.pair = pair
        self.report = Report()
        self._admin = psycopg.connect(database.admin_dsn, autocommit=True)
        self._own = SqlSession.of(database, role)
        self.known = known if known is not None else relations(self._admin, role)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._own.connection.close()
        self._admin.close()

    def in_own_tenant(self, statement: Statement, level: int, values: list[object] | None = None) -> tuple[str, int]:
        return self._attempt(statement, values or [], self.pair.ours, level)

    def stranger(self) -> UUID:
        """A person of the other tenant."""
        row = self._admin.execute(
            "select user_id from identity.memberships where tenant_id = %s and kind = 'person' limit 1",
            (self.pair.theirs,),
        ).fetchone()
        assert row is not None
        return UUID(str(row[0]))

    def insert_twin(self, name: str, level: int) -> str:
        """What becomes of a copy of a row of ours, with a key of its own."""
        relation = next(relation for relation in self.known if relation.name == name)
        ours = self._row(relation, self.pair.ours)
        if ours is None:
            return DENIED
        return self._insert(relation, self._fresh(relation, ours), self.pair.ours, level)[0]

    def run(self, tables: frozenset[str] | None = None) -> Report:
        for relation in self.known:
            if tables is None or relation.name in tables:
                self._probe(relation)
        return self.report

    def _probe(self, relation: Relation) -> None:
        ours, theirs = self._row(relation, self.pair.ours), self._row(relation, self.pair.theirs)
        if ours is None or theirs is None:
            self.report.untwinned.append(f"{self.role} {relation.name}: both tenants need a row in it")
            return
        self._look(relation)
        self._change(relation)
        self._add(relation, ours, theirs)
        self._refer(relation, ours)
        self._ask_by_key(relation, ours, theirs)

    def _attempt(
        self, statement: Statement, values: list[object], tenant: UUID | None, level: int, user: object = None
    ) -> tuple[str, int]:
        user = user if user is not None or (tenant is None and level == 0) else self.pair.user_id
        return self._own.attempt(statement, values, tenant=tenant, level=level, user=user)

    def _row(self, relation: Relation, tenant: UUID) -> Row | None:
        """One that can be copied, where there is such: a second default status, for one, could not stand beside it."""
        cursor = self._admin.cursor(row_factory=dict_row)
        order = sql.SQL(", ").join(map(sql.Identifier, relation.key or ("tenant_id",)))
        statement = sql.SQL("select * from {} where tenant_id = %s order by {} limit 8").format(
            relation.identifier, order
        )
        rows = cursor.execute(statement, (tenant,)).fetchall()
        if "tenant_id" in relation.insert:
            for row in rows:
                if self._insert(relation, self._fresh(relation, row), tenant, LEVELS[-1])[0] == "00000":
                    return row
        return rows[0] if rows else None

    def _name(self, relation: Relation, what: str) -> str:
        return f"{self.role} {relation.name} {what}"

    def _look(self, relation: Relation) -> None:
        if not relation.select:
            return
        count = sql.SQL("select count(*) from {}").format(relation.identifier)
        own = max(self._attempt(count, [], self.pair.ours, level)[1] for level in LEVELS)
        for level in (0, 5, 6):
            state, rows = self._attempt(count, [], None, level)
            name = self._name(relation, f"select without a tenant at level {level}")
            self.report.add(name, leaked=rows > 0, twinned=own > 0, why=f"{rows} rows, {state}")
        if "tenant_id" not in relation.select:
            return
        theirs = sql.SQL("select count(tenant_id) from {} where tenant_id <> %s").format(relation.identifier)
        for level in LEVELS:
            state, rows = self._attempt(theirs, [self.pair.ours], self.pair.ours, level)
            name = self._name(relation, f"select at level {level}")
            self.report.add(name, leaked=rows > 0, twinned=own > 0, why=f"{rows} rows, {state}")

    def _change(self, relation: Relation) -> None:
        for column in sorted(relation.update & relation.select):
            statement = sql.SQL("update {table} set {column} = {column} where tenant_id = %s").format(
                table=relation.identifier, column=sql.Identifier(column)
            )
            outcomes = [self._attempt(statement, [self.pair.ours], self.pair.ours, level) for level in LEVELS]
            # A refusal of the table's own trigger shows as well that the row was reached.
            twinned = any(rows > 0 or state.startswith(_BY_TRIGGER) for state, rows in outcomes)
            for tenant, level in self._contexts():
                state, rows = self._attempt(statement, [self.pair.theirs], tenant, level)
                name = self._name(relation, f"update {column} at level {level}")
                leaked = rows > 0 or state.startswith(_BY_TRIGGER)
                self.report.add(name, leaked=leaked, twinned=twinned, why=f"{rows} rows, {state}")

    def _add(self, relation: Relation, ours: Row, theirs: Row) -> None:
        if "tenant_id" not in relation.insert:
            return
        twin = self._best(relation, self._fresh(relation, ours))
        attempts = {"a row of theirs": theirs, "a row of ours": {**ours, "tenant_id": self.pair.theirs}}
        for (what, row), (tenant, level) in itertools.product(attempts.items(), self._contexts()):
            state, _ = self._insert(relation, self._fresh(relation, row), tenant, level)
            self.report.add(
                self._name(relation, f"insert {what} for them at level {level}"),
                # Whatever comes after the policies has been let through by them. A count against a limit comes
                # before, and knows no tenant but the context's.
                leaked=not state.startswith((DENIED, "BH005")),
                twinned=not twin.startswith(("42501", "BH")),
                why=f"{state}; twin {twin}",
            )

    def _contexts(self) -> list[tuple[UUID | None, int]]:
        """Without a tenant, though perhaps with a role, and in ours."""
        return [(None, 0), (None, 5), (None, 6), *((self.pair.ours, level) for level in LEVELS)]

    def _refer(self, relation: Relation, ours: Row) -> None:
        """A row of ours that refers to a row of theirs."""
        for reference in relation.references:
            own = [column for column in reference.columns if column != "tenant_id"]
            if not own or not set(own) <= relation.insert:
                continue
            target = self._target(reference, self.pair.theirs)
            near = self._target(reference, self.pair.ours) if any(ours[c] is None for c in own) else ours
            if target is None or near is None:
                self.report.untwinned.append(self._name(relation, f"{reference.name}: nothing to refer to"))
                continue
            near_row = self._fresh(relation, ours) | (_pointing(reference, near) if near is not ours else {})
            twin = self._best(relation, near_row)
            for level, user in itertools.product(LEVELS, {None, target.get("user_id")}):
                # Some rows may only name their writer: then it is tried in that name too.
                row = {**self._fresh(relation, ours), **_pointing(reference, target)}
                state, rows = self._insert(relation, row, self.pair.ours, level, user)
                name = self._name(relation, f"{reference.name} to a row of theirs at level {level}")
                self.report.add(name, leaked=rows > 0, twinned=_passes(twin), why=f"{state}; twin {twin}")

    def _ask_by_key(self, relation: Relation, ours: Row, theirs: Row) -> None:
        """Whether a value is in use elsewhere must not be told: theirs gets the same answer as a random one."""
        if "tenant_id" not in relation.insert:
            return
        for name, columns in {"": relation.key, **relation.uniques}.items():
            if f"{relation.name}.{name.partition('.')[2]}" in GLOBAL_KEYS:
                continue
            # A generated twin such as name_key is asked for by what it is made from.
            written = [c if c in relation.insert else c.removesuffix("_key") for c in columns]
            asked = [c for c in written if c in relation.insert and c != "tenant_id" and theirs[c] is not None]
            if asked:
                self._compare(relation, ours, self._only_theirs(relation, asked), asked, name or "primary key")

    def _only_theirs(self, relation: Relation, asked: list[str]) -> Row | None:
        """A row of theirs with values that no row of ours has."""
        columns = sql.SQL(", ").join(map(sql.Identifier, asked))
        statement = sql.SQL(
            "select * from {table} where tenant_id = %s and row({columns}) is not null and ({columns})"
            " not in (select {columns} from {table} where tenant_id = %s and row({columns}) is not null) limit 1"
        ).format(table=relation.identifier, columns=columns)
        cursor = self._admin.cursor(row_factory=dict_row)
        return cursor.execute(statement, (self.pair.theirs, self.pair.ours)).fetchone()

    def _compare(self, relation: Relation, ours: Row, theirs: Row | None, asked: list[str], name: str) -> None:
        pointing = {c for reference in relation.references for c in reference.columns}
        if set(asked) & pointing:
            return  # the reference probes say more
        if theirs is None:
            self.report.untwinned.append(self._name(relation, f"{name}: they have no value that we have not"))
            return
        unknown = {c: _random(relation.columns[c], theirs[c]) for c in asked}
        for level in LEVELS:
            state, _ = self._insert(
                relation, self._fresh(relation, ours) | {c: theirs[c] for c in asked}, self.pair.ours, level
            )
            twin, _ = self._insert(relation, self._fresh(relation, ours) | unknown, self.pair.ours, level)
            self.report.add(
                self._name(relation, f"{name} ({', '.join(asked)}) at level {level}"),
                leaked=state != twin,
                twinned=True,
                why=f"{state} for a value of theirs, {twin} for one nobody has",
            )

    def _best(self, relation: Relation, row: Row) -> str:
        """What the most powerful level gets."""
        states = [self._insert(relation, row, self.pair.ours, level)[0] for level in LEVELS]
        return "00000" if "00000" in states else max(states, key=lambda state: not state.startswith(("42501", "BH")))

    def _insert(
        self, relation: Relation, row: Row, tenant: UUID | None, level: int, user: object = None
    ) -> tuple[str, int]:
        names = sorted(name for name in row if name in relation.insert)
        statement = sql.SQL("insert into {} ({}) values ({})").format(
            relation.identifier,
            sql.SQL(", ").join(map(sql.Identifier, names)),
            sql.SQL(", ").join(sql.Placeholder() for _ in names),
        )
        values: list[object] = [Jsonb(v) if isinstance(v := row[name], dict) else v for name in names]
        return self._attempt(statement, values, tenant, level, user)

    def _fresh(self, relation: Relation, row: Row) -> Row:
        """A copy of a row that could stand beside it: every unique value that can be random is made so."""
        made = dict(row)
        pointing = {column for reference in relation.references for column in reference.columns} | {"tenant_id"}
        for columns in (relation.key, *relation.uniques.values()):
            bases = [c if c in relation.insert else c.removesuffix("_key") for c in columns]
            free = [c for c in bases if c in relation.insert and c not in pointing]
            # One new id makes the whole key new; texts may mean something, so they change only where there is no id.
            ids = [c for c in free if relation.columns[c] == "uuid"]
            for column in ids or free:
                made[column] = _random(relation.columns[column], made[column])
        return made

    def _target(self, reference: Reference, tenant: UUID) -> Row | None:
        schema, table = reference.target.split(".")
        columns = sql.SQL(", ").join(map(sql.Identifier, reference.target_columns))
        statement = sql.SQL("select {} from {} where tenant_id = %s limit 1").format(
            columns, sql.Identifier(schema, table)
        )
        row = self._admin.cursor(row_factory=tuple_row).execute(statement, (tenant,)).fetchone()
        return dict(zip(reference.target_columns, row, strict=True)) if row else None


def _pointing(reference: Reference, target: Row) -> Row:
    pairs = zip(reference.columns, reference.target_columns, strict=True)
    return {own: target[other] for own, other in pairs if own != "tenant_id"}


def _passes(state: str) -> bool:
    """Through, or stopped by something that comes after references and policies have let it pass."""
    return state == "00000" or state.startswith("23505")


def _random(kind: str, value: object) -> object:
    if kind == "uuid":
        return uuid4()
    if kind == "text":
        return f"X{uuid4().hex[:8].upper()}" if value is not None else None
    if kind == "bytea":
        return uuid4().bytes * 2
    return value
