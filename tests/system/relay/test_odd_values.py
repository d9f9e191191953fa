"""Whatever the database or a call takes can be delivered: no value of anybody's parks a tenant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import psycopg
import pytest
from bulkhead_audit.event import encoding, wire
from bulkhead_kit import clock, validation
from bulkhead_kit.caller import Role
from bulkhead_kit.errors import DomainError
from bulkhead_kit.ids import new_id
from bulkhead_kit.outbox import rows as outbox
from bulkhead_kit.outbox.calls import Failure
from bulkhead_kit.outbox.messages import MAX_BATCH_BYTES, request_of
from google.protobuf.descriptor import MethodDescriptor
from psycopg import sql

from tests.identity.world import as_role
from tests.isolation.world import Company
from tests.support.house import House
from tests.support.parts import PARTS
from tests.system.calls import METHODS, Answer, Twin, demand, every
from tests.system.fields import Place, places
from tests.system.relay import odd
from tests.system.relay.test_services import SERVICES, deliver_all
from tests.system.relay.test_services import every as every_event
from tests.system.test_bad_input import is_refused
from tests.system.test_bad_values import of_type
from tests.system.test_constraints import fresh

CAPTURED = r"""
    select n.nspname::text, t.relname::text, f.name, format_type(a.atttypid, a.atttypmod)
    from pg_trigger as g inner join pg_class as t on t.oid = g.tgrelid
    inner join pg_namespace as n on n.oid = t.relnamespace
    cross join lateral jsonb_object_keys(app.captured_fields(t.oid)) as f (name)
    inner join pg_attribute as a on a.attrelid = t.oid and a.attname = f.name
    where g.tgname = 'zz_capture' order by 1, 2, 3
"""
DEEP = (
    *(("identity", "tenants", "branding"), ("identity", "tenants", "settings")),
    *(("identity", "user_profiles", "preferences"), ("issues", "issues", "metadata")),
    ("issues", "projects", "metadata"),
)
Column = tuple[str, str, str, str]
"""Schema, table, column and type."""


class Tried:
    """A superuser's writes: what a constraint or a trigger lets through is taken, whoever may write it."""

    def __init__(self, admin: psycopg.Connection) -> None:
        self.admin = admin
        self.delivered = 0
        self.refused = 0

    def column(self, column: Column, values: Iterable[str]) -> None:
        for value in values:
            with self.admin.transaction(force_rollback=True):
                try:
                    with self.admin.transaction():
                        changed = self._write(column, value)
                except psycopg.DatabaseError:
                    self.refused += 1
                    continue
                if changed:
                    self._deliver(column[0])

    def _write(self, column: Column, value: str) -> int:
        schema, table, name, kind = column
        whole = sql.Identifier(schema, table)
        self.admin.execute(sql.SQL("delete from {}").format(sql.Identifier(schema, "outbox")))
        statement = sql.SQL(
            "update {} set {} = %s::{} where ctid = (select ctid from {} order by ctid limit 1)"
        ).format(whole, sql.Identifier(name), sql.SQL(kind), whole)
        changed = self.admin.execute(statement, (value,)).rowcount
        self.admin.execute("set constraints all immediate")
        return changed

    def _deliver(self, schema: str) -> None:
        """As the relay makes a message of it, and as audit reads that and stores it."""
        text = outbox._BATCH.replace("{outbox}", f"{schema}.outbox")
        tenants = self.admin.execute(f"select distinct tenant_id from {schema}.outbox".encode()).fetchall()
        for (tenant_id,) in tenants:
            values = {"tenant_id": tenant_id, "rows": 500, "bytes": MAX_BATCH_BYTES}
            with self.admin.cursor(row_factory=psycopg.rows.class_row(outbox.Row)) as cursor:
                request = request_of(cursor.execute(text.encode(), values).fetchall())
            validation.validate(request)
            for event in wire.new_events(request, clock.now()):
                self.admin.execute("select %s::jsonb", (encoding.changes_text(event.changes),))
                self.delivered += 1


async def test_whatever_a_captured_column_takes_is_delivered(ours: Company, admin: psycopg.Connection) -> None:
    columns: list[Column] = admin.execute(CAPTURED).fetchall()
    assert {kind for *_, kind in columns} <= odd.OF_TYPE.keys(), "say what is odd of a new type"
    tried = Tried(admin)
    for column in columns:
        tried.column(column, odd.OF_TYPE[column[3]])
    PARTS.found["Odd values in captured columns"] = (
        f"{tried.delivered} events deliverable, {tried.refused} values refused by the database"
    )
    assert tried.delivered > 400
    assert tried.refused > 100
    jsonb = {column[:3] for column in columns if column[3] == "jsonb"}
    assert jsonb == set(DEEP), "a column of jsonb has a bound, and stands in the list of those"


@pytest.mark.parametrize("column", DEEP, ids=".".join)
async def test_without_its_bound_an_object_parks_a_tenant(
    column: tuple[str, str, str], ours: Company, admin: psycopg.Connection
) -> None:
    """The mutant of each bound is noticed by what the test above tries."""
    schema, table, name = column
    with admin.transaction(force_rollback=True):
        admin.execute(f"alter table {schema}.{table} drop constraint {table}_{name}_depth_check".encode())
        with pytest.raises((Failure, DomainError), match="levels deep"):
            Tried(admin).column((*column, "jsonb"), odd.OF_TYPE["jsonb"])


def keeps_objects(method: MethodDescriptor) -> bool:
    """A new tenant is refused any, in words that say so."""
    return bool(of_type(method, "Struct")) and method.name != "CreateTenant"


@every(keeps_objects)
async def test_too_deep_is_the_fields_fault(method: MethodDescriptor, ours: Company) -> None:
    """Rule and constraint draw the same line; what is on this side of it comes back as it was."""
    for place in of_type(method, "Struct"):
        for lists in (False, True):
            assert (await put(odd.nested(32, lists=lists), place, method, ours)).code == "OK"
        for levels in (33, 40, 45):
            demand(await put(odd.nested(levels, lists=True), place, method, ours), "INVALID_FIELD", str(place), levels)
        # Said as it is written, not what it would mean in JSON.
        assert (await put('{"a": "\\\\u0000"}', place, method, ours)).code == "OK"


async def put(text: str, place: Place, method: MethodDescriptor, ours: Company) -> Answer:
    """By a request of its own: names are taken once only."""
    twin = await Twin.make(method, ours)
    return await twin.ask(place.put(twin.request, odd.struct(text)))


async def test_whatever_a_call_takes_is_delivered(house: House, ours: Company, admin: psycopg.Connection) -> None:
    """Odd values in every field of what is made and changed; then the real relays carry it all."""
    told: Counter[str] = Counter()
    for method in METHODS:
        if not method.name.startswith(("Create", "Update", "Invite")):
            continue
        twin = await Twin.make(method, ours)
        for place in places(method):
            if not is_refused(place):
                continue
            for value in odd.for_field(place):
                answer = await twin.ask(fresh(place.put(twin.request, value)))
                assert answer.code not in ("INTERNAL", "UNKNOWN", "DEADLINE_EXCEEDED"), (
                    f"{place} = {repr(value)[:60]}: {answer}"
                )
                told[answer.code] += 1
    assert told["OK"] > 100, told
    assert told["INVALID_ARGUMENT"] > 100, told
    await delivered(house, ours, admin)
    PARTS.found["Odd values by RPC"] = f"{dict(told)}, all delivered"


@pytest.mark.parametrize("setting", ["rpc", "request_id", "ip", "user_agent", "service", "actor_type"])
async def test_whatever_the_context_says_is_delivered(
    setting: str, house: House, ours: Company, admin: psycopg.Connection
) -> None:
    """A service's own SQL sets its context as it likes."""
    tenant, owner = ours.tenant.tenant_id, ours.tenant.people[Role.OWNER].user_id
    for text in odd.TEXTS:
        async with as_role(
            house.database,
            "bulkhead_issues_app",
            **{"tenant_id": tenant, "user_id": owner, "role": 5, "actor_type": "person", setting: text},
        ) as connection:
            await connection.execute(
                "insert into issues.labels (tenant_id, label_id, name, color) values (%s, %s, %s, '#000000')",
                (tenant, new_id(), f"{new_id()}"),
            )
    await delivered(house, ours, admin)


async def delivered(house: House, ours: Company, admin: psycopg.Connection) -> None:
    """Nothing waits, nothing is parked, and the owner can read it."""
    for service in SERVICES:
        # The company is parked from its making, as something in every table.
        admin.execute(f"delete from {service}.outbox_parked".encode())
    await deliver_all(house)
    assert await every_event(ours.client(Role.OWNER))
