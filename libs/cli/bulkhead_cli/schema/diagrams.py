"""Entity diagrams, as Mermaid: forges draw them."""

from collections.abc import Iterable, Iterator

from bulkhead_cli.schema.model import Catalogue, Constraint, Schema, Table
from bulkhead_cli.schema.words import TIES, Tie

# Every tenant's table is tied to its tenant: drawn 26 times, those lines would hide the others.
TENANT_KEY = ("tenant_id",)
MARKS = {"p": "PK", "f": "FK", "u": "UK"}


def of_schema(schema: Schema) -> str:
    """With the columns of keys; tables of other schemas appear by name only."""
    own = {table.full_name for table in schema.tables}
    lines = [line for table in schema.tables for line in _entity(table)]
    foreign = sorted({key.target or "" for table in schema.tables for key in table.of_kind("f")} - own)
    lines += [_bare(name) for name in foreign]
    lines += [_line(table, key) for table in schema.tables for key in table.of_kind("f")]
    lines += [_dotted(tie) for tie in TIES if tie.table in own]
    return _fenced(lines)


def overall(catalogue: Catalogue) -> str:
    tables = catalogue.tables()
    lines = [_bare(table.full_name) for table in tables]
    lines += [_line(table, key) for table in tables for key in table.of_kind("f") if key.columns != TENANT_KEY]
    lines += [_dotted(tie) for tie in TIES]
    outboxes = [table.full_name for table in tables if table.name == "outbox"]
    lines += [f'{_id("audit.events")} |o..o| {_id(outbox)} : "relay"' for outbox in outboxes]
    return _fenced(lines)


def _fenced(lines: Iterable[str]) -> str:
    body = "\n".join(f"    {line}" for line in lines)
    return f"```mermaid\nerDiagram\n{body}\n```"


def _id(full_name: str) -> str:
    return full_name.replace(".", "_")


def _bare(full_name: str) -> str:
    return f'{_id(full_name)}["{full_name}"]'


def _entity(table: Table) -> Iterator[str]:
    marks: dict[str, list[str]] = {}
    for constraint in table.constraints:
        for name in constraint.columns if constraint.kind in MARKS else ():
            of_column = marks.setdefault(name, [])
            if MARKS[constraint.kind] not in of_column:
                of_column.append(MARKS[constraint.kind])
    yield _bare(table.full_name) + " {"
    for column in table.columns:
        if column.name in marks:
            # Mermaid knows types of one word only.
            kind = column.type.partition(" collate ")[0].partition("(")[0].replace(" ", "_")
            yield f"    {kind} {column.name} {', '.join(marks[column.name])}"
    yield "}"


def _line(table: Table, key: Constraint) -> str:
    """The referred-to table first: one of it, or none where the reference may be null; many of the other."""
    required = all(column.required for column in table.columns if column.name in key.columns)
    names = set(key.columns)
    alone = any(set(unique.columns) <= names for unique in table.constraints if unique.kind in "pu")
    label = ", ".join(key.columns[1:] if key.columns[0] == "tenant_id" and len(key.columns) > 1 else key.columns)
    left, right = "||" if required else "|o", "o|" if alone else "o{"
    return f'{_id(key.target or "")} {left}--{right} {_id(table.full_name)} : "{label}"'


def _dotted(tie: Tie) -> str:
    right = "o|" if set(tie.columns) == set(tie.target_columns) != {"tenant_id"} else "o{"
    return f'{_id(tie.target)} ||..{right} {_id(tie.table)} : "{", ".join(tie.columns)}"'
