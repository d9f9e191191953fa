"""Changes of statuses and transitions."""

from __future__ import annotations

from bulkhead_kit.db import Transaction
from bulkhead_kit.ids import new_id

from bulkhead_issues.workflow import store
from bulkhead_issues.workflow.rules import DEFAULT_STATUSES


def ensure_statuses(tx: Transaction) -> None:
    """Gives the tenant the default statuses and transitions, unless it has some."""
    store.add_defaults(tx, [new_id() for _ in DEFAULT_STATUSES])
