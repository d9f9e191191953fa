"""Events and callers for the audit service's tests."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

from bulkhead.audit.v1 import audit_event_pb2 as event_pb
from bulkhead.audit.v1 import audit_writer_service_pb2 as writer_pb
from bulkhead_kit import clock, wire
from bulkhead_kit.caller import Caller, Role
from bulkhead_kit.ids import new_id


def service(tenant: UUID, **over: Any) -> Caller:
    """The issues service, delivering for a tenant."""
    given: dict[str, Any] = {
        "actor_type": "service",
        "rpc": "bulkhead.audit.v1.AuditWriterService/AppendEvents",
        "request_id": "test",
        "deadline": clock.monotonic() + 30,
        "tenant_id": tenant,
        "service": "issues",
    }
    return Caller(**(given | over))


def person(tenant: UUID, role: Role, **over: Any) -> Caller:
    given: dict[str, Any] = {
        "actor_type": "person",
        "rpc": "bulkhead.audit.v1.AuditService/ListEvents",
        "request_id": "test",
        "deadline": clock.monotonic() + 30,
        "tenant_id": tenant,
        "user_id": new_id(),
        "role": role,
        "membership_version": 1,
    }
    return Caller(**(given | over))


def make_event(**over: Any) -> writer_pb.NewEvent:
    given: dict[str, Any] = {
        "event_id": str(new_id()),
        "occur_time": wire.timestamp_of(clock.now()),
        "actor_type": event_pb.ACTOR_TYPE_PERSON,
        "actor_id": str(new_id()),
        "request_id": "req-1",
        "rpc": "bulkhead.issues.v1.IssueService/UpdateIssue",
        "action": "issue.updated",
        "entity_type": "issue",
        "entity_id": str(new_id()),
        "visibility": event_pb.VISIBILITY_EVERYONE,
        "outcome": event_pb.OUTCOME_OK,
        "changes_json": '{"title": ["Old", "New"]}',
        "ip": "192.0.2.7",
        "user_agent": "pytest",
    }
    return writer_pb.NewEvent(**(given | over))


def shuffled(rng: random.Random, events: list[writer_pb.NewEvent]) -> list[writer_pb.NewEvent]:
    return rng.sample(events, len(events))
