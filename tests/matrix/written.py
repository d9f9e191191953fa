"""docs/role-matrix.md as a reader has it: tables of yes and no."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

from bulkhead_cli.schema.rights import PAGE
from bulkhead_kit.caller import Role

from tests.architecture.sources import ROOT

Cells = dict[tuple[str, ...], str]
"""What stands in a table, by the words at the head of its row and column."""


@dataclass(frozen=True)
class Written:
    outside: dict[str, str]
    """Who may make a call, by the call."""
    inside: dict[str, dict[Role, bool]]
    among: dict[str, dict[tuple[Role, ...], bool]]
    """By method: the caller's role and those she reaches."""

    def account_roles(self) -> list[Role]:
        return sorted({reached for _, reached in self.among["CreateApiKey"]})


@lru_cache(maxsize=1)
def read() -> Written:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    sections = {part.partition("\n")[0].strip("# "): part for part in text.replace("\n### ", "\n## ").split("\n## ")}
    return Written(
        outside={call.strip("`"): who for (call, _), who in _cells(sections["Without a tenant"], 1).items()},
        inside=_inside(_cells(sections["In a tenant, by role"], 1)),
        among={
            "InviteMember": _among(sections["Inviting to a role"], 1),
            "RevokeInvitation": _among(sections["Taking an invitation to a role back"], 1),
            "DisableMember": _among(sections["Disabling a member of a role"], 1),
            "EnableMember": _among(sections["Enabling a disabled member of a role"], 1),
            "CreateApiKey": _among(sections["Making an API key with a role"], 1),
            "ChangeRole": _among(sections["Changing a role"], 2),
        },
    )


def _inside(cells: Cells) -> dict[str, dict[Role, bool]]:
    found: dict[str, dict[Role, bool]] = {}
    for (call, role), word in cells.items():
        found.setdefault(call.strip("`"), {})[Role[role.upper()]] = _allowed(word)
    return found


def _among(section: str, heads: int) -> dict[tuple[Role, ...], bool]:
    return {
        tuple(Role[word.removeprefix("to ").upper()] for word in words): _allowed(word)
        for words, word in _cells(section, heads).items()
    }


def _allowed(word: str) -> bool:
    return {"yes": True, "no": False}[word]


def _cells(section: str, heads: int) -> Cells:
    """Of the section's one table, whose rows begin with so many words."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    top, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {
        (*row[:heads], column): cell
        for row, (column, cell) in itertools.chain.from_iterable(
            ((row, pair) for pair in zip(top[heads:], row[heads:], strict=True)) for row in rows
        )
    }
