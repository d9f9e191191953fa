"""What probes found, and whom they are about."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID


@dataclass
class Report:
    denied: int = 0
    leaks: list[str] = field(default_factory=list)
    untwinned: list[str] = field(default_factory=list)
    """Probes whose twin did not go through: their denial says nothing."""

    def add(self, probe: str, *, leaked: bool, twinned: bool, why: str = "") -> None:
        if leaked:
            self.leaks.append(f"{probe}: {why}")
        elif twinned:
            self.denied += 1
        else:
            self.untwinned.append(f"{probe}: {why}")


@dataclass(frozen=True)
class Pair:
    """Two tenants, and a person of the first in whose name it is tried."""

    ours: UUID
    theirs: UUID
    user_id: UUID
