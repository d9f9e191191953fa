"""What the services recorded, on its way into the log and out of it."""

from __future__ import annotations

from bulkhead.audit.v1 import audit_event_pb2 as event_pb
from bulkhead_kit.outbox import rows as outbox
from bulkhead_kit.outbox.messages import MAX_BATCH_BYTES, request_of

from tests.support.client import Client
from tests.support.house import House, Tenant


async def deliver(house: House, tenant: Tenant) -> None:
    """What the services recorded, as their relays do."""
    for name in ("identity", "issues"):
        async with await outbox.connect(house.database.dsn(f"bulkhead_{name}_relay")) as connection:
            box = outbox.Outbox(connection, name)
            while rows := await box.batch(tenant.tenant_id, rows=500, size_bytes=MAX_BATCH_BYTES):
                request = request_of(rows)
                await tenant.service(name).audit.AppendEvents(events=request.events)
                await box.remove(tenant.tenant_id, [row.outbox_id for row in rows[: len(request.events)]])


async def listed(client: Client, filter: str = "", size: int = 0) -> list[event_pb.AuditEvent]:
    events: list[event_pb.AuditEvent] = []
    token = ""
    while True:
        reply = await client.audit.ListEvents(filter=filter, page_size=size, page_token=token)
        events += reply.events
        token = reply.next_page_token
        if not token:
            return events
