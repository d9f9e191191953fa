"""One page a schema: its diagram, its tables, its functions."""

import re
import textwrap
from collections.abc import Iterator

from bulkhead_cli.schema import diagrams
from bulkhead_cli.schema.markdown import NOTE, anchor, code, codes, page, table
from bulkhead_cli.schema.model import PUBLIC, Column, Function, Grant, Policy, Schema, Table, Trigger, View
from bulkhead_cli.schema.sqltext import lowered, one_line, readable, without_prefix
from bulkhead_cli.schema.words import SCHEMAS, purpose

STATES = {"D": "switched off", "R": "on replicas only", "A": "on replicas too"}


def render(schema: Schema) -> str:
    return page(
        [
            NOTE,
            f"# Schema {schema.name}",
            SCHEMAS[schema.name],
            _rights(schema),
            *_overview(schema),
            *(part for one in schema.tables for part in _table(one, schema.owner)),
            *_views(schema),
            *_functions(schema),
        ]
    )


def _rights(schema: Schema) -> str:
    rights = [f"{role} ({', '.join(given).lower()})" for role, given in schema.rights.items()]
    return f"Owner: {code(schema.owner)}. Others may look into it: {', '.join(rights)}."


def _overview(schema: Schema) -> Iterator[str]:
    if not schema.tables:
        return
    yield "## Diagram"
    yield "Columns of keys only. Dotted: two tables that belong together without a foreign key."
    yield diagrams.of_schema(schema)
    yield "## Tables"
    yield table(
        ("table", "purpose"),
        ((f"[{one.name}](#{anchor(one.full_name)})", one.comment or "") for one in schema.tables),
    )


def _table(one: Table, schema_owner: str) -> Iterator[str]:
    yield f"### {one.full_name}"
    yield one.comment or ""
    yield "\n".join(f"- {fact}" for fact in _facts(one, schema_owner))
    yield table(("column", "type", "null", "default", "purpose"), (_column(one, column) for column in one.columns))
    yield table(("key", "columns", "name"), _keys(one))
    yield table(("check", "condition"), ((code(c.name), code(_inner(c.definition))) for c in one.of_kind("c")))
    yield table(("index", "on"), _indexes(one))
    yield table(("policy", "kind", "for", "roles", "rows seen", "rows written"), map(_policy, one.policies))
    yield table(("role", "may"), _grants(one))
    yield table(("trigger", "when", "does"), (_trigger(one, trigger) for trigger in one.triggers))


def _facts(one: Table, schema_owner: str) -> Iterator[str]:
    if one.owner != schema_owner:
        yield f"Owner: {code(one.owner)}."
    if one.row_security:
        yield f"Row-level security: on{', for the owner too' if one.forced else ''}."
    else:
        yield "Row-level security: **off**."
    if one.partition_key:
        yield f"Partitioned by {code(one.partition_key.lower())}; the partitions are made and archived by month."
    if one.options:
        yield f"Storage: {codes(one.options)}."


def _column(one: Table, column: Column) -> tuple[str, ...]:
    if column.generated:
        default = "generated: " + code(readable(column.default or ""))
    elif column.identity:
        default = f"numbered, {column.identity}"
    else:
        default = code(readable(column.default)) if column.default is not None else ""
    return code(column.name), column.type, "" if column.required else "yes", default, purpose(one, column) or ""


def _keys(one: Table) -> Iterator[tuple[str, ...]]:
    for constraint in one.constraints:
        columns = codes(constraint.columns)
        match constraint.kind:
            case "p":
                yield "primary", columns, code(constraint.name)
            case "u":
                yield "unique", columns, code(constraint.name)
            case "x":
                yield "exclusion", code(readable(constraint.definition)), code(constraint.name)
            case "f":
                yield f"foreign, {_reference(constraint.definition)}", columns, code(constraint.name)


def _reference(definition: str) -> str:
    """`foreign key (a) references b(c) on delete restrict`, from `references` on."""
    return "to " + code(readable(definition).partition(" references ")[2])


def _inner(definition: str) -> str:
    found = re.fullmatch(r"check \((.*)\)(.*)", readable(definition))
    return found[1] + found[2] if found else readable(definition)


def _indexes(one: Table) -> Iterator[tuple[str, str]]:
    for index in one.indexes:
        method, on = without_prefix(index.definition)
        kinds = [word for word, told in (("unique", index.unique), (method, method != "btree")) if told]
        yield code(index.name), " ".join([*kinds, code(readable(on))])


def _policy(policy: Policy) -> tuple[str, ...]:
    kind = "**wall**: every other right is within it" if policy.restrictive else "right"
    seen, written = (code(readable(rule)) if rule else "" for rule in (policy.using, policy.check))
    if policy.command in {"update", "all"} and not written:
        written = "the same"
    return code(policy.name), kind, policy.command, codes(policy.roles), seen, written


def _grants(one: Table) -> Iterator[tuple[str, str]]:
    for role in sorted({grant.role for grant in one.grants}):
        yield code(role), "; ".join(_grant(one, grant) for grant in one.grants if grant.role == role)


def _grant(one: Table, grant: Grant) -> str:
    """Long lists are shorter by what is missing."""
    rest = [column.name for column in one.columns if column.name not in grant.columns]
    if not grant.columns:
        what = grant.privilege
    elif not rest:
        what = f"{grant.privilege} of every column by name"
    elif grant.privilege == "select" and len(rest) < len(grant.columns) / 2:
        what = f"{grant.privilege} of all but {codes(rest)}"
    else:
        what = f"{grant.privilege} {codes(grant.columns)}"
    return what + (" (and give it on)" if grant.grantable else "")


def _trigger(one: Table, trigger: Trigger) -> tuple[str, ...]:
    text = one_line(trigger.definition)
    when = re.sub(
        rf".* trigger {trigger.name} (.*?) on {re.escape(one.full_name)} (.*) execute .*", r"\1 \2", lowered(text)
    )
    state = f" ({STATES[trigger.state]})" if trigger.state in STATES else ""
    return code(trigger.name), code(when) + state, code(f"{trigger.function}()")


def _views(schema: Schema) -> Iterator[str]:
    if schema.views:
        yield "## Views"
    for view in schema.views:
        yield f"### {view.full_name}"
        yield view.comment or ""
        yield f"Reads with the rights of {code(view.owner)}, for {codes(view.readers)}."
        yield f"```sql\n{_query(view)}\n```"


def _query(view: View) -> str:
    return lowered(textwrap.dedent(view.definition)).strip()


def _functions(schema: Schema) -> Iterator[str]:
    used: dict[str, list[str]] = {}
    for one in schema.tables:
        for trigger in one.triggers:
            used.setdefault(trigger.function, []).append(one.name)
    called = [function for function in schema.functions if function.result != "trigger"]
    fired = [function for function in schema.functions if function.result == "trigger"]
    yield "## Functions" if called else ""
    yield table(
        ("function", "returns", "what it does", "runs as", "may be called by"),
        (
            (
                code(f"{function.name}({function.arguments})"),
                code(function.result or function.kind),
                function.comment or "",
                _runs_as(function),
                _executors(function),
            )
            for function in called
        ),
    )
    yield "## Trigger functions" if fired else ""
    yield table(
        ("function", "what it does", "runs as", "on"),
        (
            (
                code(function.name),
                function.comment or "",
                _runs_as(function),
                ", ".join(used.get(f"{schema.name}.{function.name}", [])) or "tables of other schemas",
            )
            for function in fired
        ),
    )


def _runs_as(function: Function) -> str:
    return f"**{function.owner}**, its owner" if function.definer else "its caller"


def _executors(function: Function) -> str:
    return ", ".join("everyone" if role == PUBLIC else role for role in function.executors) or "its owner only"
