"""The log."""

from __future__ import annotations

from bulkhead_kit.caller import Role

from tests.isolation.samples.base import Fields, sample
from tests.isolation.world import Company, new_event


@sample("audit.v1.AuditService/ListEvents")
async def _list_events(_company: Company, _role: Role) -> Fields:
    return {}


@sample("audit.v1.AuditService/GetEvent")
async def _get_event(company: Company, role: Role) -> Fields:
    by_role = dict(zip(company.tenant.people, company.things["audit_event"], strict=False))
    return {"event_id": by_role[role]}


@sample("audit.v1.AuditWriterService/AppendEvents")
async def _append_events(company: Company, _role: Role) -> Fields:
    # Of identity's things: the probes send it as the first service of those that may, and each speaks of its own only.
    of_team = {"action": "team.created", "entity_type": "team", "entity_id": company.one("team")}
    return {"events": [new_event(company, **of_team)]}
