"""The demo tells its story to the end, and does not pass over a number that is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bulkhead_cli.demo.sample import archive as sample
from bulkhead_cli.demo.story import DemoFailed, Story
from bulkhead_cli.endpoints import Endpoints
from bulkhead_cli.importing import archive
from rich.console import Console


def test_the_demo_ends_well(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bulkhead_cli", "demo", "--json", "--state", str(tmp_path / "run")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    checked = json.loads(ended.stdout)
    assert len(checked) >= 18
    assert all(one["found"] == one["should_be"] for one in checked)


def test_a_wrong_number_is_named() -> None:
    endpoints = Endpoints(
        pid=1, file="", services={}, database_admin="", database_roles={}, keys="", mail="", logs="", metrics={}
    )
    story = Story(endpoints, archive.parse(sample()), Console(quiet=True))
    story.checked = [("rows", 3, 3), ("events globex gets", 1, 0)]
    with pytest.raises(DemoFailed, match=r"events globex gets$"):
        story._sum_up()
