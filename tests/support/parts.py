"""What of the surroundings a run found and what it had to do without, for the last lines of pytest."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field


@dataclass
class Parts:
    found: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    """By part: what its absence left out of this run."""

    def lines(self) -> list[str]:
        return [
            *(f"{part}: {detail}" for part, detail in self.found.items()),
            *(f"{part} was not there: {left_out}" for part, left_out in self.absent.items()),
        ]


PARTS = Parts()


def docker_engine() -> str | None:
    """The version of the Docker engine that answers, or None."""
    import docker  # noqa: PLC0415 - slow to load, and only some runs need it

    try:
        return str(docker.from_env(timeout=3).version()["Version"])
    except (docker.errors.DockerException, OSError):
        return None


def look_around() -> None:
    """Names the parts the suite can use and does not find. The PostgreSQL fixture adds what it chose."""
    engine = docker_engine()
    if engine is None:
        PARTS.absent["Docker"] = "no test ran against PostgreSQL in a container"
    else:
        PARTS.found["Docker"] = f"engine {engine}"
    server, url = shutil.which("redis-server"), os.environ.get("BULKHEAD_TEST_REDIS_URL")
    if url:
        PARTS.found["Redis"] = "the services of every test counted their calls in BULKHEAD_TEST_REDIS_URL"
    elif server is not None:
        PARTS.found["Redis"] = f"{server}, for the tests of shared rate limits"
    pgbouncer = shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    if pgbouncer is None:
        PARTS.absent["pgbouncer"] = "no test called the services through a pooler in transaction mode"
    else:
        PARTS.found["PgBouncer"] = f"{pgbouncer}, for the tests of poolers"
    if server is None:
        PARTS.absent["redis-server"] = "no test shared rate limits between processes or killed what they share"
