"""python -m bulkhead_issues serve | relay | retry | work | migrate: each command loads only what it needs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from bulkhead_kit import program

SETTINGS: Final = "bulkhead_issues.settings:IssuesSettings"
COMMANDS: Final = {
    "serve": "bulkhead_issues.serving:serve",
    "relay": program.RELAY,
    "retry": program.RETRY,
    "work": "bulkhead_issues.working:work",
    "migrate": program.MIGRATE,
}


def main(arguments: Sequence[str] | None = None) -> int:
    return program.main("bulkhead_issues", SETTINGS, COMMANDS, arguments)


if __name__ == "__main__":
    sys.exit(main())
