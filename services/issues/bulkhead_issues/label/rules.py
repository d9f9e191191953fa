"""What labels are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

DEFAULT_COLOR = "#888888"


@dataclass(frozen=True, slots=True)
class NewLabel:
    name: str
    description: str
    color: str


class LabelRow(NamedTuple):
    label_id: str
    name: str
    name_key: str
    description: str
    color: str
    archived_at: int | None
    created_at: int
    updated_at: int
    version: int
