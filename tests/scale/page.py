"""docs/evidence/identity-queries.md: what was run for each call, how it was found, and what it cost here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from tests.scale.crowd_sql import PEOPLE, TENANTS
from tests.scale.plans import Plan, Watch

FILE = Path(__file__).parents[2] / "docs/evidence/identity-queries.md"
SHOWN = 76
INTRODUCTION = f"""\
# How identity's queries are answered at {PEOPLE:,} people in {TENANTS:,} tenants

Every statement that reads or writes a table when a call is served, those inside functions, triggers and foreign keys
too, as `auto_explain` told it on the service's own connections, with its own role and the caller's context. The calls
are real ones over gRPC. The largest tenant has 9,000 members, the next four thousands, most have five to eight; the
calls go to the largest.

- *Found by*: the index by which each table was reached. `whole`: every row of it was read.
- *Rows*: rows looked at in tables, a filter's rejects among them. *Pages*: of 8 kB, from memory or not; of a statement
  that calls functions, with theirs. *ms*: for information, of one run on a shared machine with the watching on.
- Prepared statements are planned for their values at first and once for all later; both ways were run. Where they
  differ, both are shown: *first* and *later*; the figures are of *later*.
- Statements run more than once in a call are shown once, with their number.

Written by `BULKHEAD_WRITE_EVIDENCE=1 .venv/bin/pytest tests/scale`. Every run of the tests compares what each call is
found by with this page; that nothing that grows is read whole, and how much is read at most, is held by
`tests/scale/test_identity_queries.py`, whatever the page says. Statistics are gathered with a target of 200.

Filters that no index serves (role at least, state, join time) read the tenant's own members in order until the page is
full: 9,000 at the most here, and none of another tenant. Those of the platform's list of tenants (name, state) read
all tenants.
"""
_CAST = re.compile(r"::[A-Z]+(\[\])?")
_COLUMN = re.compile(r"identity\.\w+\.(\w+)")


def write(custom: Watch, generic: Watch, version: str) -> str:
    lines = [INTRODUCTION, f"PostgreSQL {version}.", ""]
    for name, plans in generic.cases.items():
        lines += [f"## {name}", "", "| statement | found by | rows | pages | ms |", "| --- | --- | --: | --: | --: |"]
        lines += [_row(*statement) for statement in _statements(custom.cases[name], plans)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def ways(page: str) -> dict[str, set[str]]:
    """What is the same wherever it is written: by which indexes a call finds its rows."""
    found: dict[str, set[str]] = {}
    for line in page.splitlines():
        if line.startswith("## "):
            call = found[line.removeprefix("## ")] = set[str]()
        elif line.startswith("| ") and " by " in line.split(" | ")[1]:
            call.update(re.findall(r"\w+ (?:by \w+|whole)", line.split(" | ")[1]))
    return found


def shown(statement: str) -> str:
    """The statement's beginning, as people read it."""
    if "set_config('app.tenant_id'" in statement:
        asked = re.search(r"from identity\.(\w+)", statement)
        return "set the context" + (f", {asked[1]}" if asked else "")
    text = _COLUMN.sub(r"\1", _CAST.sub("", statement)).replace("|", "\\|")
    return text if len(text) <= SHOWN else text[: SHOWN - 2].rstrip() + " .."


def _statements(custom: Iterable[Plan], generic: Iterable[Plan]) -> list[tuple[str, Plan, int, tuple[str, ...]]]:
    """Of each statement that touched a table: its text, its costliest run, how many runs, how it was found at first."""
    before = {plan.statement: plan.access() for plan in custom}
    kept = sorted((p for p in generic if p.access() or p.buffers()), key=lambda plan: plan.statement)
    grouped = {text: list(runs) for text, runs in groupby(kept, key=lambda plan: plan.statement)}
    ordered = dict.fromkeys(plan.statement for plan in generic if plan.statement in grouped)
    found = []
    for text in ordered:
        runs = grouped[text]
        worst = max(runs, key=lambda plan: (plan.rows(), plan.buffers()))
        found.append((text, worst, len(runs), before.get(text, worst.access())))
    return found


def _row(text: str, plan: Plan, times: int, first: tuple[str, ...]) -> str:
    later = ", ".join(plan.access()) or "-"
    how = later if first == plan.access() else f"first: {', '.join(first) or '-'}; later: {later}"
    many = f" ({times} times)" if times > 1 else ""
    return f"| {shown(text)}{many} | {how} | {plan.rows():,} | {plan.buffers():,} | {plan.milliseconds:.2f} |"
