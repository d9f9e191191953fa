"""Outbox rows as the messages audit takes, cut to what fits into one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bulkhead.audit.v1 import audit_event_pb2 as event_pb
from bulkhead.audit.v1 import audit_writer_service_pb2 as pb

from bulkhead_kit.outbox.calls import Failure, Meaning
from bulkhead_kit.outbox.large_values import cut_to
from bulkhead_kit.outbox.rows import Row
from bulkhead_kit.transport import MAX_MESSAGE_BYTES
from bulkhead_kit.wire import timestamp_of

MAX_EVENTS: Final = 500
MAX_BATCH_BYTES: Final = MAX_MESSAGE_BYTES - 50_000
MAX_CHANGES_BYTES: Final = 256 * 1024
"""An event with more has its largest values cut. Lists must be able to show a page of such events."""

_ACTOR_TYPES: Final = {
    "person": event_pb.ACTOR_TYPE_PERSON,
    "service_account": event_pb.ACTOR_TYPE_SERVICE_ACCOUNT,
    "service": event_pb.ACTOR_TYPE_SERVICE,
    "anonymous": event_pb.ACTOR_TYPE_ANONYMOUS,
    "system": event_pb.ACTOR_TYPE_SYSTEM,
}
_OUTCOMES: Final = {
    "ok": event_pb.OUTCOME_OK,
    "denied": event_pb.OUTCOME_DENIED,
    "failed": event_pb.OUTCOME_FAILED,
}
_VISIBILITIES: Final = {1: event_pb.VISIBILITY_EVERYONE, 2: event_pb.VISIBILITY_INTERNAL}


def request_of(rows: Sequence[Row]) -> pb.AppendEventsRequest:
    """As many of the first rows as a message has room for, at least one. Raises Failure for a row that makes none."""
    request = pb.AppendEventsRequest()
    size = 0
    for row in rows:
        try:
            event = _event(row)
        except (ValueError, TypeError, KeyError) as error:
            if request.events:
                break
            raise Failure(Meaning.REFUSED, "MALFORMED_ROW", repr(error)[:1000]) from error
        # Length and tag of the event within its batch take a few bytes more.
        size += event.ByteSize() + 8
        if request.events and size > MAX_BATCH_BYTES:
            break
        request.events.append(event)
    return request


def _event(row: Row) -> pb.NewEvent:
    return pb.NewEvent(
        event_id=str(row.event_id),
        occur_time=timestamp_of(row.occurred_at),
        # Whoever wrote past the services, with whatever in its context, was the database as far as we know.
        actor_type=_ACTOR_TYPES.get(row.actor_type, event_pb.ACTOR_TYPE_DATABASE),
        actor_id=str(row.actor_id or ""),
        on_behalf_of=str(row.on_behalf_of or ""),
        request_id=row.request_id or "",
        service=row.service or "",
        rpc=row.rpc or "",
        action=row.action,
        entity_type=row.entity_type,
        entity_id=str(row.entity_id),
        sub_id=str(row.sub_id or ""),
        project_id=str(row.project_id or ""),
        visibility=_VISIBILITIES[row.visibility],
        outcome=_OUTCOMES[row.outcome],
        changes_json=_fitting(row.changes),
        ip=row.ip or "",
        user_agent=row.user_agent or "",
    )


def _fitting(changes: str) -> str:
    if len(changes) * 4 <= MAX_CHANGES_BYTES or len(changes.encode()) <= MAX_CHANGES_BYTES:
        return changes
    try:
        return cut_to(MAX_CHANGES_BYTES, changes)
    except ValueError:
        # Not a shape we know: audit refuses it by name, and the tenant is parked.
        return changes
