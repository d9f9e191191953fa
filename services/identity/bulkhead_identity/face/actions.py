"""A new name or picture of somebody with many tenants: the call writes a few of them, the worker the rest.

In small transactions, so that neither the call nor anybody who waits for one of the rows waits for all of them; and as
the person, by the call that changed it: in each tenant's log the change is theirs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from uuid import UUID

from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database

from bulkhead_identity.face import store

PEOPLE: Final = 20
TENANTS: Final = 50
"""Of one person at once: others are due as well."""


async def show_faces(database: Database, caller: Caller) -> int:
    """The number of tenants looked at."""
    looked_at = 0
    for change in await store.list_due(database.read(caller), PEOPLE):
        person = replace(
            caller,
            actor_type="person",
            user_id=UUID(change.user_id),
            service=None,
            rpc=change.rpc or caller.rpc,
            request_id=change.request_id or caller.request_id,
        )
        async with database.transaction(person) as tx:
            looked_at += await store.spread(tx, change.user_id, TENANTS)
    return looked_at
