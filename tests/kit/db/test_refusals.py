"""What an error of the database that no rule foresaw means to a caller."""

from __future__ import annotations

from uuid import uuid4

import pytest
from bulkhead_kit.db import Database
from bulkhead_kit.errors import InvalidArgument
from structlog.testing import capture_logs

from tests.kit.db.conftest import Make
from tests.kit.db.labels import INSERT


@pytest.mark.parametrize(("name", "color"), [("x" * 101, "#ffffff"), ("bug", "red"), ("", "#ffffff")])
async def test_a_check_is_never_a_fault_of_ours(name: str, color: str, issues: Database, owner: Make) -> None:
    async def write() -> None:
        async with issues.transaction(owner()) as tx:
            await tx.one(INSERT, label_id=uuid4(), name=name, color=color)

    with capture_logs() as logged, pytest.raises(InvalidArgument):
        await write()
    (entry,) = [entry for entry in logged if entry["event"] == "rule_is_missing"]
    assert (entry["log_level"], entry["table"]) == ("error", "labels"), "somebody must learn that a rule is missing"
