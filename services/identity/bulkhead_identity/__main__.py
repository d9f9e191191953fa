"""python -m bulkhead_identity serve | relay | retry | work | migrate: each command loads only what it needs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from bulkhead_kit import program

SETTINGS: Final = "bulkhead_identity.settings:IdentitySettings"
COMMANDS: Final = {
    "serve": "bulkhead_identity.serving:serve",
    "relay": program.RELAY,
    "retry": program.RETRY,
    "work": "bulkhead_identity.working:work",
    "migrate": program.MIGRATE,
}


def main(arguments: Sequence[str] | None = None) -> int:
    return program.main("bulkhead_identity", SETTINGS, COMMANDS, arguments)


if __name__ == "__main__":
    sys.exit(main())
