"""What workspaces are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class NewWorkspace:
    name: str
    description: str


class WorkspaceRow(NamedTuple):
    workspace_id: str
    name: str
    description: str
    created_at: int
    updated_at: int
    version: int
