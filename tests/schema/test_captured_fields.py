"""Every captured column is a field of its message, with the values that the calls have, or says why it is none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from tests.support.captured import Captured, captured
from tests.support.client import contracts, message_class
from tests.support.postgres import ScratchDatabase

MESSAGES = {
    "identity.api_keys": "identity.v1.ApiKey",
    "identity.invitations": "identity.v1.Invitation",
    "identity.memberships": "identity.v1.Member",
    "identity.plans": "identity.v1.Plan",
    "identity.refresh_tokens": "identity.v1.RefreshToken",
    "identity.sessions": "identity.v1.Session",
    "identity.support_entries": "identity.v1.SupportGrant",
    "identity.support_grants": "identity.v1.SupportGrant",
    "identity.team_members": "identity.v1.TeamMember",
    "identity.teams": "identity.v1.Team",
    "identity.tenant_allowances": "identity.v1.TenantLimit",
    "identity.tenants": "identity.v1.Tenant identity.v1.PlatformTenant",
    "identity.user_profiles": "identity.v1.User",
    "identity.users": "identity.v1.User",
    "issues.comments": "issues.v1.Comment",
    "issues.issue_labels": "issues.v1.Issue",
    "issues.issues": "issues.v1.Issue",
    "issues.labels": "issues.v1.Label",
    "issues.projects": "issues.v1.Project",
    "issues.status_transitions": "issues.v1.Transition",
    "issues.statuses": "issues.v1.Status",
    "issues.workspaces": "issues.v1.Workspace",
}
"""By table the messages that show its rows; a table without one has internal columns only."""

INTERNAL = {
    "identity.mail_asks": dict.fromkeys(("purpose", "email"), "a request for a mail; nobody lists them"),
    "identity.memberships": {"support_end_time": "the grant that let the administrator in tells it"},
    "identity.one_time_tokens": dict.fromkeys(
        ("purpose", "user_id", "expire_time", "attempts", "use_time", "revoke_time"),
        "the tokens of mails; nobody lists them",
    ),
    "identity.refresh_tokens": dict.fromkeys(("session_id", "parent_id"), "the chain of a session's tokens"),
    "identity.sessions": {
        "user_id": "sessions are listed to their person only",
        "revoke_time": "a revoked session is not listed",
        "revoke_reason": "a revoked session is not listed",
    },
    "identity.support_entries": {"user_id": "who came in; the grant lets in any platform administrator"},
    "identity.tenants": {"state_changed_by": "a platform administrator, who is not told to the tenant"},
    "identity.user_credentials": {"password_change_time": "nobody asks for it"},
    "identity.users": {
        "kind": "of members only",
        "state": "a person sees herself only while she is active",
        "email_verify_time": "who has not verified does not get in",
    },
    "issues.issue_labels": {"remove_time": "a label that was taken off is not shown"},
    "issues.projects": {"delete_time": "no call deletes a project"},
    "issues.status_transitions": {"remove_time": "a removed one is not listed"},
    "issues.workspaces": {"archive_time": "no call archives a workspace"},
}
"""By table the captured fields that no message has, and why."""


CHECKED_ELSEWHERE = {"identity.memberships.kind": "identity.users"}
"""Columns whose values are another table's, by a key, and checked there."""


def _fields_of(message: Any) -> list[FieldDescriptor]:
    # Typed as one of two kinds of descriptor, which are alike.
    return list(message.fields)


def _fields(table: str) -> dict[str, FieldDescriptor]:
    """By path, such as overrides.max_users."""
    contracts()  # loads them
    found: dict[str, FieldDescriptor] = {}
    for name in MESSAGES.get(table, "").split():
        for one in _fields_of(message_class(f"bulkhead.{name}").DESCRIPTOR):
            found.setdefault(one.name, one)
            if one.message_type is not None and one.message_type.file.package.startswith("bulkhead."):
                found |= {f"{one.name}.{inner.name}": inner for inner in _fields_of(one.message_type)}
    return found


FORMS: dict[str, tuple[set[str], str | None]] = {
    # Of a field the column types whose values are like it, and the form that makes them so.
    "Timestamp": ({"timestamp with time zone"}, "time"),
    "Struct": ({"jsonb"}, None),
    "int": ({"smallint", "integer", "bigint"}, None),
    "bool": ({"boolean"}, None),
    "string": ({"text", "uuid", "date", "inet"}, None),
    "strings": ({"cidr[]"}, None),
}


def _kind(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        return str(field.message_type.name)
    scalar = {
        FieldDescriptor.CPPTYPE_INT32: "int",
        FieldDescriptor.CPPTYPE_INT64: "int",
        FieldDescriptor.CPPTYPE_BOOL: "bool",
        FieldDescriptor.CPPTYPE_STRING: "string",
    }[field.cpp_type]
    return f"{scalar}s" if field.is_repeated else scalar


def _faults(database: ScratchDatabase, table: Captured) -> Iterator[str]:
    known, internal = _fields(table.table), INTERNAL.get(table.table, {})
    if not table.fields:
        yield f"{table.table}: tells no fields"
    for column, spec in table.fields.items():
        name, where = spec["field"], f"{table.table}.{column}"
        if (name in known) == (name in internal):
            yield f"{where}: {name} is {'both a field and internal' if name in known else 'no field'}"
        elif name in known:
            yield from (f"{where}: {fault}" for fault in _form_faults(database, table, column, spec, known[name]))
        elif table.columns[column] == "timestamp with time zone" and spec.get("form") != "time":
            yield f"{where}: a time in another form"
        elif table.columns[column] == "timestamp with time zone" and not name.endswith("_time"):
            yield f"{where}: a time that is not called one"


def _form_faults(
    database: ScratchDatabase, table: Captured, column: str, spec: dict[str, Any], field: FieldDescriptor
) -> Iterator[str]:
    stored = table.columns[column]
    if field.enum_type is not None:
        yield from _enum_faults(database, table, column, spec.get("values", {}), field.enum_type)
        return
    if "values" in spec:
        yield f"values for {field.name}, which has none"
    # One of many: the one that came or went.
    kind = "string" if "unless" in spec else _kind(field)
    types, form = FORMS[kind]
    if stored == "numeric":
        types, form = {"numeric"}, "text"
    if stored not in types or spec.get("form") != form or (stored == "numeric" and kind != "string"):
        yield f"{stored} in the form {spec.get('form')} is no {kind}"


def _enum_faults(
    database: ScratchDatabase, table: Captured, column: str, values: dict[str, str], enum: EnumDescriptor
) -> Iterator[str]:
    if len(set(values.values())) < len(values) or not set(values.values()) <= set(enum.values_by_name):
        yield f"{values} are not each a value of {enum.name}"
    checked = CHECKED_ELSEWHERE.get(f"{table.table}.{column}", table.table)
    allowed = set(_allowed(database, checked, column, table.columns[column]))
    if not allowed or not allowed <= values.keys():
        yield f"{sorted(allowed - values.keys())} have no name"
    if table.columns[column] == "smallint":
        for number, name in values.items():
            if enum.values_by_number[int(number)].name != name:
                yield f"{number} is {enum.values_by_number[int(number)].name}, not {name}"


def _allowed(database: ScratchDatabase, table: str, column: str, stored: str) -> Iterator[str]:
    """The values that the column's constraints let in."""
    with psycopg.connect(database.admin_dsn) as connection:
        checks = connection.execute(
            """
            select pg_get_expr(c.conbin, c.conrelid) from pg_constraint as c inner join pg_attribute as a
            on a.attrelid = c.conrelid and a.attname = %s where c.conrelid = %s::regclass and c.conkey = array[a.attnum]
            and c.contype = 'c'
            """,
            (column, table),
        ).fetchall()
        condition = " and ".join(f"({check})" for (check,) in checks) or "false"
        if stored == "smallint":
            found = connection.execute(
                f"select {column} from (select g::smallint as {column} from generate_series(-1, 50) as g) as t"
                f" where {condition}"
            )
            yield from (str(number) for (number,) in found)
        else:
            yield from re.findall(r"'([^']*)'::text", condition)


def test_every_captured_column_is_a_field_of_the_contract(database: ScratchDatabase) -> None:
    tables = captured(database)
    assert [fault for table in tables for fault in _faults(database, table)] == []
    assert len(tables) > 20
    assert sum(len(table.fields) for table in tables) > 130
    assert {table.table for table in tables} >= MESSAGES.keys() | INTERNAL.keys()
    assert [
        f"{table.table}: {name}"
        for table in tables
        for name in INTERNAL.get(table.table, {})
        if name not in table.names
    ] == []


PLANTED = {
    "a column under its own name": (
        "call app.capture_on('issues.labels', 'label', '{label_id}', p_fields => '{}')",
        "issues.labels.archived_at: archived_at is no field",
    ),
    "a table as it is": (
        "call app.capture_on('issues.labels', 'label', '{label_id}')",
        "issues.labels: tells no fields",
    ),
    "a bare number": (
        "call app.capture_on('issues.status_transitions', 'status_transition', '{from_status_id,to_status_id}',"
        """ p_fields => '{"removed_at": "remove_time"}')""",
        "issues.status_transitions.least_role: ['2', '3', '4', '5'] have no name",
    ),
    "another value's name": (
        "call app.capture_on('issues.status_transitions', 'status_transition', '{from_status_id,to_status_id}',"
        """ p_fields => '{"removed_at": "remove_time", "least_role": {"field": "least_role", "values":"""
        """ {"2": "ROLE_ADMIN", "3": "ROLE_MANAGER", "4": "ROLE_MEMBER", "5": "ROLE_OWNER"}}}')""",
        "issues.status_transitions.least_role: 2 is ROLE_MEMBER, not ROLE_ADMIN",
    ),
}


@pytest.mark.parametrize("planted", PLANTED)
def test_what_is_told_otherwise_is_found(databases: Any, planted: str) -> None:
    statement, fault = PLANTED[planted]
    database = databases.clone()
    with psycopg.connect(database.admin_dsn) as connection:
        connection.execute(statement)
    assert fault in [fault for table in captured(database) for fault in _faults(database, table)]
    databases.drop(database)


LIFE = """
insert into identity.tenants (tenant_id, slug, name, plan_code, size, max_users_override)
values (gen_random_uuid(), 'oddly', 'Odd', 'free', '11-50', 5);
update identity.tenants set status = 'suspended', status_reason = 'Unpaid.', status_changed_at = now()
where slug = 'oddly';
update identity.tenants set size = null, status = 'active', status_reason = null where slug = 'oddly';
"""


def test_a_row_told_is_what_its_events_add_up_to(database: ScratchDatabase) -> None:
    """What a later comparison of rows with their events stands on: both come from the same data."""
    with psycopg.connect(database.admin_dsn) as connection:
        connection.execute("set timezone = 'Asia/Kathmandu'")
        connection.execute(LIFE)
        told = connection.execute(
            "select app.told('identity.tenants', to_jsonb(t)) from identity.tenants as t where slug = 'oddly'"
        ).fetchone()
        events = connection.execute(
            "select changes from identity.outbox where entity_id = (select tenant_id from identity.tenants"
            " where slug = 'oddly') order by outbox_id"
        ).fetchall()
        connection.rollback()
    assert told is not None
    row, added = told[0], dict.fromkeys(told[0])
    assert len(events) == 3
    for (changes,) in events:
        for name, (old, new) in changes.items():
            assert added[name] == old
            added[name] = new
    assert row == added
    assert (row["state"], row["size"], row["overrides.max_users"]) == ("STATE_ACTIVE", None, 5)
    assert row["state_change_time"].endswith("Z")


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ("2026-12-24 00:00:00+00", "2026-12-24T00:00:00Z"),
        ("2026-12-24 05:45:00.5+05:45", "2026-12-24T00:00:00.500Z"),
        ("2026-12-24 00:00:00.000001+00", "2026-12-24T00:00:00.000001Z"),
        ("0001-01-01 00:00:00+00", "0001-01-01T00:00:00Z"),
        ("9999-12-31 23:59:59.999999+00", "9999-12-31T23:59:59.999999Z"),
        (None, None),
    ],
)
def test_a_time_is_told_in_utc_and_whole(database: ScratchDatabase, stored: str | None, text: str | None) -> None:
    with psycopg.connect(database.admin_dsn) as connection:
        connection.execute("set timezone = 'America/New_York'")
        connection.execute("set datestyle = 'German'")
        assert connection.execute("select app.time_text(%s::timestamptz)", (stored,)).fetchone() == (text,)
