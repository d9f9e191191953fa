"""Where a running installation is to be found: .run/endpoints.json, for other commands, tests and people."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from psycopg.conninfo import conninfo_to_dict

from bulkhead_cli.errors import MendableError

FILE = "endpoints.json"


@dataclass(frozen=True)
class Endpoints:
    pid: int
    """Of the supervisor."""
    file: str
    """Where this is written."""
    services: dict[str, str]
    """host:port of each service's RPCs."""
    metrics: dict[str, str]
    """host:port of each program's GET /metrics."""
    database_admin: str
    database_roles: dict[str, str]
    """A DSN for each role that can log in."""
    keys: str
    mail: str
    logs: str

    @property
    def database_place(self) -> str:
        """Without the login."""
        said = conninfo_to_dict(self.database_admin)
        return f"{said.get('host')}:{said.get('port', 5432)}/{said.get('dbname')}"

    def write(self) -> None:
        """Appears whole, and holds passwords."""
        draft = Path(f"{self.file}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(self.to_json() + "\n")
        draft.replace(self.file)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)


def read(state: Path) -> Endpoints:
    """Of the installation that runs now; a file left by a killed one does not count."""
    try:
        content: dict[str, Any] = json.loads((state / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise not_running(state) from None
    # First: a killed installation of another release may have left other fields.
    if not psutil.pid_exists(content["pid"]):
        raise not_running(state)
    return Endpoints(**content)


def not_running(state: Path) -> MendableError:
    return MendableError(f"No installation runs in {state}.", "start one with `bulkhead up`.")
