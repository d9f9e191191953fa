"""Messages of the log."""

from __future__ import annotations

from datetime import datetime

from bulkhead.audit.v1 import audit_event_pb2 as event_pb
from bulkhead.audit.v1 import audit_writer_service_pb2 as writer_pb
from bulkhead_kit import wire
from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.moments import us_since_2000
from bulkhead_kit.paging import text_bytes
from google.protobuf.timestamp_pb2 import Timestamp

from bulkhead_audit.event import encoding, rules
from bulkhead_audit.event.rules import Change, Cut, EventRow, NewEvent

_OTHER_BYTES = 250
"""Of an event's message besides its texts: numbers, times, two hashes and what tells its fields apart."""
_ACTOR_TYPE_OF = {one: event_pb.ActorType.Value(f"ACTOR_TYPE_{one.upper()}") for one in rules.ACTOR_TYPES}
_OUTCOME_OF = {one: event_pb.Outcome.Value(f"OUTCOME_{one.upper()}") for one in rules.OUTCOMES}
_ACTOR_TYPES = {value: text for text, value in _ACTOR_TYPE_OF.items()}
_OUTCOMES = {value: text for text, value in _OUTCOME_OF.items()}


def new_events(request: writer_pb.AppendEventsRequest, now: datetime) -> list[NewEvent]:
    return [_new_event(event, f"events[{i}]", now) for i, event in enumerate(request.events)]


def _new_event(event: writer_pb.NewEvent, field: str, now: datetime) -> NewEvent:
    # The contract's rules have been checked: ids are UUIDs, in small letters.
    return NewEvent(
        event_id=event.event_id,
        occurred_at=_occurred_at(event.occur_time, f"{field}.occur_time", now),
        actor_type=_ACTOR_TYPES[event.actor_type],
        actor_id=event.actor_id or None,
        on_behalf_of=event.on_behalf_of or None,
        request_id=event.request_id or None,
        service=event.service or None,
        rpc=event.rpc or None,
        action=event.action,
        entity_type=event.entity_type,
        entity_id=event.entity_id,
        sub_id=event.sub_id or None,
        project_id=event.project_id or None,
        visibility=event.visibility,
        outcome=_OUTCOMES[event.outcome],
        changes=encoding.parse_changes(event.changes_json, f"{field}.changes_json"),
        ip=event.ip or None,
        user_agent=event.user_agent or None,
    )


def _occurred_at(stamp: Timestamp, field: str, now: datetime) -> int:
    if stamp.nanos % 1000:
        # Cut in silence, a repeat could differ from what is stored.
        raise InvalidArgument.field(field, "must be in whole microseconds")
    occurred_at = us_since_2000(wire.to_datetime(stamp, field))
    rules.demand_plausible(occurred_at, now, field)
    return occurred_at


def event(row: EventRow, salt: bytes | None = None) -> event_pb.AuditEvent:
    return event_pb.AuditEvent(
        event_id=row.event_id,
        seq=row.seq or 0,
        occur_time=wire.timestamp(row.occurred_at),
        record_time=wire.timestamp(row.recorded_at),
        actor_type=_ACTOR_TYPE_OF[row.actor_type],
        actor_id=row.actor_id or "",
        on_behalf_of=row.on_behalf_of or "",
        request_id=row.request_id or "",
        service=row.service or "",
        rpc=row.rpc or "",
        action=row.action,
        entity_type=row.entity_type,
        entity_id=row.entity_id,
        sub_id=row.sub_id or "",
        project_id=row.project_id or "",
        visibility=event_pb.Visibility.ValueType(row.visibility),
        outcome=_OUTCOME_OF[row.outcome],
        fields=row.fields,
        changes=[_change(one) for one in encoding.parse_changes(row.changes or "", "changes")],
        ip=row.ip or "",
        user_agent=row.user_agent or "",
        erased=row.changes is None,
        encoding=row.encoding or 0,
        values_digest=row.values_digest or b"",
        leaf_hash=row.leaf_hash or b"",
        salt=salt or b"",
    )


def _change(change: Change) -> event_pb.FieldChange:
    return event_pb.FieldChange(
        field=change.field,
        old_json=change.old,
        new_json=change.new,
        old_cut=_cut(change.old_cut),
        new_cut=_cut(change.new_cut),
    )


def _cut(cut: Cut | None) -> event_pb.CutValue | None:
    return None if cut is None else event_pb.CutValue(size_bytes=cut.size_bytes, sha256=cut.sha256)


def weight(row: EventRow) -> int:
    """No less than its message has, and than the database counts."""
    return text_bytes(row) + text_bytes(row.fields) + _OTHER_BYTES


def appended(count: int, log_size: int) -> writer_pb.AppendEventsResponse:
    return writer_pb.AppendEventsResponse(appended_count=count, log_size=log_size)
