"""python -m bulkhead_audit serve | work | migrate: each command loads only what it needs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from bulkhead_kit import program

SETTINGS: Final = "bulkhead_audit.settings:AuditSettings"
COMMANDS: Final = {
    "serve": "bulkhead_audit.serving:serve",
    "work": "bulkhead_audit.working:work",
    "migrate": program.MIGRATE,
}


def main(arguments: Sequence[str] | None = None) -> int:
    return program.main("bulkhead_audit", SETTINGS, COMMANDS, arguments)


if __name__ == "__main__":
    sys.exit(main())
