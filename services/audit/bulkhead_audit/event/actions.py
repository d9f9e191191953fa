"""The log's one state change: events are appended."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from bulkhead_kit import clock
from bulkhead_kit.caller import Caller
from bulkhead_kit.db import PLATFORM_LOG, Database
from bulkhead_kit.denials import ACTION, Denial, Record
from bulkhead_kit.ids import new_id
from bulkhead_kit.moments import us_since_2000

from bulkhead_audit.event import encoding, rules, store
from bulkhead_audit.event.rules import NewEvent
from bulkhead_audit.partition import actions as partition

OURSELVES: Final = "audit"


@dataclass(frozen=True, slots=True)
class Appended:
    count: int
    log_size: int


class Appender:
    def __init__(self, db: Database) -> None:
        self._db = db
        self._months = partition.Months(db)

    async def append_events(self, caller: Caller, events: Sequence[NewEvent]) -> Appended:
        """Numbers what is new and passes over the rest; whatever the tenant's state, as its end is logged too."""
        rules.demand_own(caller.service or "", events, refusal=ACTION)
        await self._months.ensure(caller, rules.months(events))
        async with self._db.transaction(caller, checked=False) as tx:
            size, known = await store.lock_log(tx, events)
            fresh = rules.only_new(events, known)
            if fresh:
                leaves = encoding.number(
                    str(caller.tenant()),
                    fresh,
                    size=size,
                    recorded_at=us_since_2000(clock.now()),
                    salts=secrets.token_bytes(encoding.SALT_BYTES * len(fresh)),
                )
                store.append(tx, leaves)
        return Appended(len(fresh), size + len(fresh))


def denials(db: Database) -> Record:
    """Calls that audit itself has refused go straight into the log: it has no outbox."""
    appender = Appender(db)

    async def write(denial: Denial) -> None:
        tenant = denial.caller.tenant_id or PLATFORM_LOG
        ourselves = replace(
            denial.caller, actor_type="service", service=OURSELVES, tenant_id=tenant, user_id=None, role=None
        )
        await appender.append_events(ourselves, [_event(denial)])

    return write


def _event(denial: Denial) -> NewEvent:
    caller = denial.caller
    return NewEvent(
        event_id=str(new_id()),
        occurred_at=us_since_2000(clock.now()),
        actor_type=caller.actor_type,
        actor_id=str(caller.user_id) if caller.user_id is not None else None,
        on_behalf_of=None,
        request_id=caller.request_id,
        service=caller.service,
        rpc=caller.rpc,
        action=ACTION,
        entity_type=denial.entity_type,
        entity_id=str(denial.entity_id),
        sub_id=None,
        project_id=None,
        visibility=rules.VISIBILITIES["EVERYONE"],
        outcome="denied",
        changes=encoding.parse_changes(json.dumps(denial.facts), "changes"),
        ip=caller.ip,
        user_agent=caller.user_agent,
    )
