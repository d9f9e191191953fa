"""Between statuses and their messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from bulkhead.issues.v1 import workflow_pb2, workflow_service_pb2
from bulkhead.rpc.v1 import options_pb2
from bulkhead_kit import wire
from bulkhead_kit.etags import etag

from bulkhead_issues.workflow.rules import StatusRow, TransitionRow


def workflow(
    statuses: Sequence[StatusRow], transitions: Sequence[TransitionRow], *, show_archived: bool
) -> workflow_service_pb2.ListStatusesResponse:
    shown = [row for row in statuses if show_archived or row.archived_at is None]
    ids = {row.status_id for row in shown}
    return workflow_service_pb2.ListStatusesResponse(
        statuses=map(_status, shown),
        transitions=[_transition(row) for row in transitions if ids >= {row.from_status_id, row.to_status_id}],
    )


def _status(row: StatusRow) -> workflow_pb2.Status:
    return workflow_pb2.Status(
        status_id=row.status_id,
        name=row.name,
        category=cast("workflow_pb2.StatusCategory.ValueType", row.category),
        position=row.position,
        is_default=row.is_default,
        archive_time=wire.timestamp(row.archived_at),
        etag=etag(row.version),
    )


def _transition(row: TransitionRow) -> workflow_pb2.Transition:
    return workflow_pb2.Transition(
        from_status_id=row.from_status_id,
        to_status_id=row.to_status_id,
        least_role=cast("options_pb2.Role.ValueType", row.least_role),
    )
