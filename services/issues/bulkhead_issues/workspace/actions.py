"""Changes of workspaces."""

from __future__ import annotations

from bulkhead_kit.db import Transaction
from bulkhead_kit.ids import new_id

from bulkhead_issues.workflow import actions as workflow
from bulkhead_issues.workspace import store
from bulkhead_issues.workspace.rules import NewWorkspace, WorkspaceRow


async def create_workspace(tx: Transaction, new: NewWorkspace) -> WorkspaceRow:
    workflow.ensure_statuses(tx)
    return await store.add(tx, new_id(), new)
