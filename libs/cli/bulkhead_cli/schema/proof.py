"""The query that the schema was made for, run as the role that serves it, on a scratch database filled for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import ClientCursor, Connection

from bulkhead_cli.errors import MendableError

# "All changes by user X last week across all projects of tenant Y", as ListEvents asks it.
QUERY: LiteralString = """\
select
    e.occurred_at, e.action, e.entity_type, e.entity_id, e.project_id, e.fields, v.changes
from (
    select tenant_id, occurred_at, seq, event_id, action, entity_type, entity_id, project_id, fields
    from audit.events
    where
        tenant_id = %(tenant)s and actor_id = %(user)s
        and occurred_at >= %(from)s and occurred_at < %(until)s
    order by occurred_at desc, seq desc
    limit 50
) as e
-- After the limit: values are fetched for the rows of one page, and an erased event keeps its place.
left join audit.event_values as v
    on
        v.tenant_id = %(tenant)s and v.occurred_at = e.occurred_at and v.event_id = e.event_id
        and v.occurred_at >= %(from)s and v.occurred_at < %(until)s
order by e.occurred_at desc, e.seq desc
"""
EXPLAIN: LiteralString = "explain (costs off) "
# A week over the end of a month, so that what is read of the other months shows.
BINDS: Mapping[str, str] = {
    "tenant": "00000000-0000-7000-8000-000000000001",
    "user": "00000000-0000-7000-8000-000000000011",
    "from": "2025-03-28 00:00:00+00",
    "until": "2025-04-04 00:00:00+00",
}

# 20 tenants, 60 users, 60 projects, four months. Few enough for ANALYZE to read every row, so that it always
# comes to the same.
EVENTS = 12_000
MONTHS = "select audit.make_months('2025-01-01', '2025-04-01')"
HEADS = """
    insert into audit.logs (tenant_id)
    select ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid from generate_series(0, 19) as n
"""
FILL = """
    insert into audit.events (
        tenant_id, seq, event_id, occurred_at, recorded_at, actor_type, actor_id, action, entity_type, entity_id,
        project_id, visibility, outcome, fields, encoding, values_digest, leaf_hash
    )
    select
        ('00000000-0000-7000-8000-' || lpad((n %% 20)::text, 12, '0'))::uuid, (n - 1) / 20 + 1,
        md5('event ' || n)::uuid, t.at,
        t.at, 'person', ('00000000-0000-7000-8000-' || lpad((n %% 60 + 10)::text, 12, '0'))::uuid, 'issue.updated',
        'issue', md5('issue ' || n %% 4000)::uuid, md5('project ' || n / 7 %% 60)::uuid, 1, 'ok', '{title}', 1,
        sha256('leaf'), sha256('leaf')
    from
        generate_series(1, %(events)s) as n
        cross join lateral (select timestamptz '2025-01-01 00:00:00+00' + n * interval '14 min' as at) as t
"""
FILL_VALUES = """
    insert into audit.event_values (tenant_id, event_id, occurred_at, salt, changes)
    select tenant_id, event_id, occurred_at, sha256('salt'), '{"title": ["old", "new"]}' from audit.events
"""
# The plan shows inlined functions and full values; these are what they stand for.
WRITTEN_BACK = (
    ("(NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid", "app.current_tenant_id()"),
    (
        "COALESCE((NULLIF(current_setting('app.role'::text, true), ''::text))::smallint, '0'::smallint)",
        "app.role_level()",
    ),
    ("'00000000-0000-0000-0000-000000000001'::uuid", "app.platform_log_id()"),
    *((f"'{value}'::uuid", f":{name}") for name, value in BINDS.items()),
    *((f"'{value}'::timestamp with time zone", f":{name}") for name, value in BINDS.items()),
)


@dataclass(frozen=True)
class Proof:
    query: str
    plan: str
    events: int
    found: int


def prove(connection: Connection[Any]) -> Proof:
    """Leaves nothing behind."""
    with connection.transaction(force_rollback=True):
        connection.execute("set local timezone = 'UTC'")
        connection.execute("set local app.service = 'issues'")
        connection.execute(MONTHS)
        connection.execute(HEADS)
        connection.execute(FILL, {"events": EVENTS})
        connection.execute(FILL_VALUES)
        connection.execute("analyze audit.events, audit.event_values")
        connection.execute("set local role bulkhead_audit_app")
        connection.execute("set local app.role = '4'")
        # SET takes no parameters; the value is BINDS' tenant.
        connection.execute("set local app.tenant_id = '00000000-0000-7000-8000-000000000001'")
        cursor = ClientCursor(connection)
        found = len(cursor.execute(QUERY, BINDS).fetchall())
        plan = "\n".join(line for (line,) in cursor.execute(EXPLAIN + QUERY, BINDS).fetchall())
    if found == 0:
        raise MendableError("The proving query finds nothing.", "see whether audit's policies let an admin read.")
    return Proof(shown(QUERY), readable(plan), EVENTS, found)


def shown(query: str) -> str:
    for name in BINDS:
        query = query.replace(f"%({name})s", f":{name}")
    return query


def readable(plan: str) -> str:
    for long, short in WRITTEN_BACK:
        plan = plan.replace(long, short)
    return plan
