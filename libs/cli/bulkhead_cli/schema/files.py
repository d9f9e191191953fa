"""Which file says what, and whether it still says what the database says."""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

from bulkhead_cli.errors import MendableError
from bulkhead_cli.schema import pages, readme, rights, roles, settings, snapshot
from bulkhead_cli.schema.model import Catalogue
from bulkhead_cli.schema.proof import Proof

DOCUMENTS = Path("docs/schema")
README = DOCUMENTS / "README.md"
SNAPSHOTS: Mapping[str, Path] = {
    "app": Path("deploy/postgres/bulkhead_postgres/schema.sql"),
    "identity": Path("services/identity/bulkhead_identity/schema.sql"),
    "issues": Path("services/issues/bulkhead_issues/schema.sql"),
    "audit": Path("services/audit/bulkhead_audit/schema.sql"),
}
DIFFERENCE_LINES = 20


def texts(catalogue: Catalogue, proof: Proof | None) -> dict[Path, str]:
    """By path from the checkout's root. Without a proof there is no README: its plan needs a database of its own."""
    made = {SNAPSHOTS[schema.name]: snapshot.render(schema) for schema in catalogue.schemas}
    made |= {DOCUMENTS / f"{schema.name}.md": pages.render(schema) for schema in catalogue.schemas}
    made[DOCUMENTS / "roles.md"] = roles.render(catalogue)
    # Of the contracts and of the code, not of the database; but they change with it, and one command writes them all.
    made[rights.PAGE] = rights.render()
    made[settings.PAGE] = settings.render()
    if proof:
        made[README] = readme.render(catalogue, proof)
    return made


def write(root: Path, made: Mapping[Path, str]) -> list[Path]:
    """Returns what changed."""
    changed = []
    for path, text in made.items():
        file = root / path
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            changed.append(path)
    for path in left_over(root, made):
        (root / path).unlink()
        changed.append(path)
    return changed


def differences(root: Path, made: Mapping[Path, str]) -> Iterator[str]:
    """One text a file that is not what it should be."""
    for path, text in made.items():
        file = root / path
        if not file.exists():
            yield f"{path}: is missing"
            continue
        there = file.read_text(encoding="utf-8")
        if there != text:
            yield _difference(path, there, text)
    for path in left_over(root, made):
        yield f"{path}: tells of a schema that is not there"


def left_over(root: Path, made: Mapping[Path, str]) -> list[Path]:
    there = {file.relative_to(root) for file in (root / DOCUMENTS).glob("*.md")}
    return sorted(there - made.keys() - {README})


def _difference(path: Path, there: str, wanted: str) -> str:
    lines = list(
        difflib.unified_diff(
            there.splitlines(), wanted.splitlines(), f"{path} (the file)", f"{path} (the database)", n=1, lineterm=""
        )
    )
    if len(lines) > DIFFERENCE_LINES:
        lines = [*lines[:DIFFERENCE_LINES], f"... and {len(lines) - DIFFERENCE_LINES} more lines"]
    return "\n".join(lines)


def check_root(root: Path) -> None:
    if not all((root / path).parent.is_dir() for path in SNAPSHOTS.values()):
        raise MendableError(f"{root.resolve()} is no checkout of Bulkhead.", "run it there, or give --root.")
