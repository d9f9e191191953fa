"""What is rare in a log is found by an index, however much else is in it."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import psycopg
from bulkhead_audit.event import store
from bulkhead_kit.ids import new_id

from tests.audit.builders import make_event
from tests.support.house import House
from tests.support.people import set_context

_MANY = """
insert into audit.events (
    tenant_id, seq, event_id, occurred_at, recorded_at, actor_type, action, entity_type, entity_id, visibility, outcome,
    fields, encoding, values_digest, leaf_hash
)
select
    e.tenant_id, e.seq + n, gen_random_uuid(), e.occurred_at + n * interval '1 second', now(), 'person',
    'issue.updated', 'issue', gen_random_uuid(), 1, 'ok', '{}', 1, e.values_digest, e.leaf_hash
from audit.events as e cross join generate_series(1, 5000) as n where e.tenant_id = %s
"""


_FOUND_BY = (
    ("outcome = OUTCOME_DENIED", "tenant_id_occurred_at_seq_idx"),
    ("NOT outcome = OUTCOME_OK", "tenant_id_occurred_at_seq_idx"),
    ('on_behalf_of = "01890a5d-ac96-774b-bcce-b302099a8057"', "tenant_id_on_behalf_of_occurred_at_seq_idx"),
    ('action : "session.*"', "tenant_id_action_occurred_at_seq_idx"),
    ("action = call.denied", "tenant_id_action_occurred_at_seq_idx"),
)


async def test_what_is_rare_is_found_by_its_index(house: House) -> None:
    tenant = await house.tenant("acme")
    event = make_event(outcome=2, action="call.denied", occur_time=datetime(2026, 11, 15, tzinfo=UTC))
    await house.service("issues", tenant.tenant_id).audit.AppendEvents(events=[event])
    with psycopg.connect(house.database.admin_dsn, autocommit=True) as connection:
        # No triggers: these are there to be passed over.
        connection.execute("set session_replication_role = replica")
        connection.execute(_MANY, (tenant.tenant_id,))
        connection.execute("analyze audit.events")
    async with await psycopg.AsyncConnection.connect(house.database.dsn("bulkhead_audit_app")) as app:
        await set_context(app, tenant_id=tenant.tenant_id, role=4)
        for text, index in _FOUND_BY:
            plan = explained(app, store.WHOLE, text, tenant.tenant_id)
            assert [line for line in plan if f"events_2026_11_{index}" in line], (text, plan)
        # Who sees their own acts only, of which there are none here, does not read the others'.
        await app.rollback()
        await set_context(app, tenant_id=tenant.tenant_id, role=2, user_id=new_id())
        for text in ("", "outcome = OUTCOME_OK", 'entity_type = "issue"', 'occur_time >= "2026-11-01"'):
            plan = explained(app, store.OWN, text, tenant.tenant_id)
            assert [line for line in plan if "events_2026_11_tenant_id_actor_id_occurred_at_seq_idx" in line], plan


def explained(app: psycopg.AsyncConnection, log: store.Log, text: str, tenant_id: UUID) -> list[str]:
    asked = log.filters.parse(text)
    query = store._list(log, asked, continued=False)
    parameters, formats = query.encode({"tenant_id": tenant_id, "rows": 51, **asked.values})
    told = app.pgconn.exec_params(b"explain " + query.sql, parameters, param_formats=formats)
    return [(told.get_value(line, 0) or b"").decode() for line in range(told.ntuples)]
