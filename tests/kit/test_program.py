"""The commands of each service's process: named by text, so that one loads only what it needs."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pkgutil import resolve_name

import pytest
from bulkhead_kit.settings import ServiceSettings

SERVICES = ("identity", "issues", "audit")
NEVER = {
    "relay": ("sqlalchemy", "redis", "protovalidate", "argon2", "zxcvbn"),
    "work": ("redis", "protovalidate", "argon2", "zxcvbn"),
    "serve": ("redis", "alembic"),
}
"""What takes long to load and the command has no use for."""


@pytest.mark.parametrize("service", SERVICES)
def test_every_command_is_there(service: str) -> None:
    main = importlib.import_module(f"bulkhead_{service}.__main__")
    assert issubclass(resolve_name(main.SETTINGS), ServiceSettings)
    assert {name: callable(resolve_name(command)) for name, command in main.COMMANDS.items()} == dict.fromkeys(
        main.COMMANDS, True
    )


@pytest.mark.parametrize(
    ("service", "command"),
    [(service, command) for service in SERVICES for command in NEVER if (service, command) != ("audit", "relay")],
)
def test_a_command_loads_only_what_it_needs(service: str, command: str) -> None:
    loading = (
        "import gc, sys\n"
        "from bulkhead_kit.program import load\n"
        f"from bulkhead_{service}.__main__ import COMMANDS, SETTINGS\n"
        f"load(SETTINGS, COMMANDS[{command!r}])\n"
        f"print([name for name in {NEVER[command]!r} if name in sys.modules])\n"
        "print(gc.isenabled(), gc.get_freeze_count() > 0)"
    )
    said = subprocess.run([sys.executable, "-c", loading], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\nTrue True\n"
