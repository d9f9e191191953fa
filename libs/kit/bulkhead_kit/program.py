"""A service's process: its commands, from the arguments to the exit status.

Only what the chosen command needs is loaded: a relay has no handlers, and a worker no Redis. On the way nothing is
garbage, so nobody looks for any; what was loaded stays, and is left out of every later look too.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Mapping, Sequence
from pkgutil import resolve_name
from typing import Any, Final

from bulkhead_kit import standard_streams
from bulkhead_kit.start_error import StartError

DOES: Mapping[str, str] = {
    "serve": "Answers calls until SIGTERM.",
    "relay": "Carries changes to audit until SIGTERM; a second one waits to take over.",
    "retry": "Has the relay try what audit refused again, at once.",
    "work": "Does what is due, such as mails and expiry, until SIGTERM.",
    "migrate": "Brings this service's schema to this release; `bulkhead migrate` does all, and makes the roles.",
}
"""What `--help` says of a service's commands."""

RELAY: Final = "bulkhead_kit.outbox.process:run_relay"
RETRY: Final = "bulkhead_kit.outbox.process:retry_parked"
MIGRATE: Final = "bulkhead_kit.migrating:migrate"


def main(name: str, settings: str, commands: Mapping[str, str], arguments: Sequence[str] | None = None) -> int:
    """The whole of a service's __main__: one of its commands; what is wrong with the settings is said, not thrown.

    `settings` and each command are named "module:attribute"; a command is called with the loaded settings.
    """
    standard_streams.open_missing_streams()
    parser = argparse.ArgumentParser(prog=f"python -m {name}", epilog=_epilog(name))
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for command in commands:
        subparsers.add_parser(command, help=DOES[command], description=DOES[command], epilog=_epilog(name))
    chosen = parser.parse_args(arguments).command
    kind, command = load(settings, commands[chosen])
    try:
        command(kind.load())
    except StartError as error:
        print(error, file=sys.stderr)  # noqa: T201 - before there is a log, and for a person to read
        return 1
    return 0


def load(*names: str) -> list[Any]:
    """What the names stand for. In a process that ends by it: the collector is on again, but never looks at this."""
    gc.disable()
    loaded = [resolve_name(name) for name in names]
    gc.freeze()
    gc.enable()
    return loaded


def _epilog(name: str) -> str:
    variables = f"{name.upper()}_..."
    return f"Settings are variables {variables}: docs/settings.md lists them, and one that is missing is named."
