"""Every plan that PostgreSQL runs for a call, those inside functions and triggers too, as auto_explain tells them.

The calls are real ones, by real services with their own roles; the plans come back on the services' own connections
as notices. Nothing is read out of the code and tried apart, so nothing can differ from what is served.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from bulkhead_kit.db.session import Connection, Traffic
from psycopg import sql

from tests.support.postgres import ScratchDatabase

ROLES = ("bulkhead_identity_app", "bulkhead_platform_app", "bulkhead_identity_worker")
_SETTINGS = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_triggers": "off",
    "auto_explain.log_verbose": "off",
    "auto_explain.log_format": "json",
    "auto_explain.log_level": "notice",
    # Neither hashes nor addresses belong in a page of evidence.
    "auto_explain.log_parameter_max_length": "0",
}
MODES = ("force_custom_plan", "force_generic_plan")
"""PostgreSQL's own choice is one of the two, by cost: the first for the first five times, and often the other then."""
_NOTICE = re.compile(r"duration: ([\d.]+) ms  plan:\n(.*)", re.DOTALL)
_SCANS = {"Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Heap Scan", "Sample Scan", "Tid Scan"}


@dataclass(frozen=True)
class Plan:
    """One statement that was run."""

    statement: str
    milliseconds: float
    root: dict[str, Any]

    def nodes(self) -> Iterator[dict[str, Any]]:
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.get("Plans", [])))

    def access(self) -> tuple[str, ...]:
        """How each table is reached, each way once, by name: 'plans whole', 'sessions by sessions_pkey'."""
        return tuple(sorted({how for node in self.nodes() for how in _how(node)}))

    def whole_tables(self) -> set[str]:
        """Tables of which every row was looked at."""
        return {node["Relation Name"] for node in self.nodes() if node["Node Type"] in {"Seq Scan", "Sample Scan"}}

    def rows(self) -> int:
        """Rows looked at in tables, also those that a filter then left out."""
        return round(sum(_touched(node) for node in self.nodes() if node["Node Type"] in _SCANS))

    def buffers(self) -> int:
        """Pages touched, in memory or not, together with all that the statement's functions did."""
        return int(self.root.get("Shared Hit Blocks", 0)) + int(self.root.get("Shared Read Blocks", 0))


def _how(node: dict[str, Any]) -> list[str]:
    kind = node["Node Type"]
    if kind in {"Index Scan", "Index Only Scan"}:
        return [f"{node['Relation Name']} by {node['Index Name']}"]
    if kind == "Bitmap Heap Scan":
        return [f"{node['Relation Name']} by {name}" for name in _bitmap_indexes(node)]
    if kind in _SCANS:
        return [f"{node['Relation Name']} whole"]
    return []


def _bitmap_indexes(node: dict[str, Any]) -> list[str]:
    own = [node["Index Name"]] if node["Node Type"] == "Bitmap Index Scan" else []
    return own + [name for child in node.get("Plans", []) for name in _bitmap_indexes(child)]


def _touched(node: dict[str, Any]) -> float:
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float((node.get("Actual Rows", 0) + removed) * node.get("Actual Loops", 0))


@dataclass
class Watch:
    """Collects the plans of what happens within `case`, by its name."""

    cases: dict[str, list[Plan]] = field(default_factory=dict)
    _now: list[Plan] | None = None

    @asynccontextmanager
    async def case(self, name: str) -> AsyncIterator[None]:
        assert name not in self.cases
        self._now = self.cases[name] = []
        try:
            yield
        finally:
            self._now = None

    def hear(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        found = _NOTICE.match(diagnostic.message_primary or "")
        if self._now is None or found is None:
            return
        told = json.loads(found[2])
        statement = " ".join(told["Query Text"].split())
        # Health asks for the revision whenever it likes.
        # Health looks at the schema's revision and at its own login whenever it likes.
        if "alembic_version" not in statement and "pg_shdepend" not in statement:
            self._now.append(Plan(statement, float(found[1]), told["Plan"]))


@contextmanager
def watched(database: ScratchDatabase, mode: str) -> Iterator[Watch]:
    """New connections of the services' roles tell their plans. Only on a database of the test's own."""
    watch = Watch()
    with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
        for role in ROLES:
            for name, value in {**_SETTINGS, "plan_cache_mode": mode}.items():
                connection.execute(
                    sql.SQL("alter role {} in database {} set {} = {}").format(
                        sql.Identifier(role),
                        sql.Identifier(database.name),
                        sql.SQL(".").join(map(sql.Identifier, name.split("."))),
                        sql.Literal(value),
                    )
                )
    begin = Connection.start_pipelining

    async def begin_watched(self: Connection, traffic: Traffic, *, prepares: bool) -> None:
        self.add_notice_handler(watch.hear)
        await begin(self, traffic, prepares=prepares)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "start_pipelining", begin_watched)
        yield watch
