"""The blocks of docs/first-calls.md do what the page says, pasted one after the other."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bulkhead_cli import ports
from bulkhead_cli.programs import SERVICES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/first-calls.md"


@pytest.mark.soak
def test_the_first_calls_go_as_they_are_written(tmp_path: Path) -> None:
    state = tmp_path / "run"
    listens = {f"BULKHEAD_{service.upper()}_LISTEN": f"{ports.HOST}:{ports.free()}" for service in SERVICES}
    with subprocess.Popen(
        [sys.executable, "-m", "bulkhead_cli", "up", "--json", "--state", str(state)],
        env={**os.environ, **listens},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as up:
        assert up.stdout is not None
        document = "".join(iter(up.stdout.readline, "}\n")) + "}"
        try:
            said = paste(json.loads(document)["services"], state)
        finally:
            up.send_signal(signal.SIGINT)
    assert '"statusCategory": "STATUS_CATEGORY_TODO"' in said
    assert '"rpc": "bulkhead.issues.v1.IssueService/TransitionIssue"' in said
    actions = re.findall(r'^ +"action": "([a-z_.]+)",$', said, re.MULTILINE)
    assert actions[1:4] == ["comment.created", "issue.updated", "issue.created"]
    assert actions[-1] == "tenant.created"
    assert "RESOURCE_NOT_FOUND" in said


def paste(services: dict[str, str], state: Path) -> str:
    """Only the addresses and the folder are another's than on the page."""
    script = "\n".join(re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
    script = script.replace(".run/", f"{state}/")
    for service, port in zip(SERVICES, (7101, 7102, 7103), strict=True):
        script = script.replace(f"127.0.0.1:{port}", services[service])
    ended = subprocess.run(
        ["bash", "-u"], input=script, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert not ended.stderr, ended.stderr
    return ended.stdout
