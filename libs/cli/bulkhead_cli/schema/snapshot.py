"""schema.sql of one service: what its migrations come to, as SQL that makes the same schema again."""

from collections.abc import Iterator
from itertools import groupby

from bulkhead_cli.schema.model import PUBLIC, Column, Constraint, Function, Grant, Policy, Schema, Table, Trigger, View
from bulkhead_cli.schema.sqltext import WIDTH, listed, literal, lowered, paragraphs, readable, wrapped

HEADER = """\
-- The schema {name} as its migrations leave it. Written by `make schema` from a live database: read it, never edit it.
-- Months of partitioned tables, Alembic's own table and rows that migrations insert are not in it.

set check_function_bodies = off;
set search_path = pg_catalog;
set role {owner};
"""
STATES = {"D": "disable", "R": "enable replica", "A": "enable always"}


def render(schema: Schema) -> str:
    early = [function for function in schema.functions if function.used_by_tables]
    late = [function for function in schema.functions if not function.used_by_tables]
    tables, afterwards = in_order(schema.tables)
    parts = [HEADER.format(name=schema.name, owner=schema.owner), _schema_rights(schema)]
    parts += [_function(function) for function in early if function.owner == schema.owner]
    parts += [_table(table, schema.owner, afterwards) for table in tables]
    parts += [_constraint_later(table, constraint) for table, constraint in afterwards]
    parts += [_function(function) for function in late if function.owner == schema.owner]
    parts += [_triggers(table) for table in tables if table.triggers]
    parts.append("reset role;")
    parts += [_function(function, schema.owner) for function in schema.functions if function.owner != schema.owner]
    parts += [_view(view) for view in schema.views]
    return paragraphs(parts)


def in_order(tables: tuple[Table, ...]) -> tuple[list[Table], list[tuple[Table, Constraint]]]:
    """Each table after those it refers to; with them the foreign keys of a ring, which must wait for its end."""
    waiting = {table.full_name: table for table in tables}
    done: list[Table] = []
    afterwards = []
    while waiting:
        ready = next((t for t in waiting.values() if not _awaited(t, waiting)), None)
        if ready is None:
            ready = next(iter(waiting.values()))
            afterwards += [(ready, key) for key in _awaited(ready, waiting)]
        done.append(waiting.pop(ready.full_name))
    return done, afterwards


def _awaited(table: Table, waiting: dict[str, Table]) -> list[Constraint]:
    return [key for key in table.of_kind("f") if key.target in waiting and key.target != table.full_name]


def _schema_rights(schema: Schema) -> str:
    by_role = sorted((rights, role) for role, rights in schema.rights.items())
    return "\n".join(
        wrapped(f"grant {listed(rights).lower()} on schema {schema.name} to {listed(role for _, role in group)};")
        for rights, group in groupby(by_role, key=lambda pair: pair[0])
    )


def _table(table: Table, schema_owner: str, afterwards: list[tuple[Table, Constraint]]) -> str:
    late = [constraint for of, constraint in afterwards if of is table]
    lines = [_column(column) for column in table.columns]
    lines += [_constraint(constraint) for constraint in table.constraints if constraint not in late]
    opening = f"-- {table.full_name}\n\ncreate table {table.full_name} (\n    "
    closing = f"\n){_partition(table)}{_options(table)};"
    parts = [opening + ",\n    ".join(lines) + closing, *_comments(table)]
    parts += [lowered(index.definition).replace(" using btree ", " ") + ";" for index in table.indexes]
    if table.row_security:
        parts.append(f"alter table {table.full_name} enable row level security;")
    if table.forced:
        parts.append(f"alter table {table.full_name} force row level security;")
    parts += [_policy(table, policy) for policy in table.policies]
    parts += list(_grants(table))
    if table.owner != schema_owner:
        parts.append(f"alter table {table.full_name} owner to {table.owner};")
    return "\n".join(parts)


def _column(column: Column) -> str:
    words = [column.name, column.type]
    if column.identity:
        words.append(f"generated {column.identity} as identity")
    elif column.generated:
        words.append(f"generated always as ({readable(column.default or '')}) stored")
    elif column.default is not None:
        words.append(f"default {readable(column.default)}")
    if column.required and not column.identity:
        words.append("not null")
    return " ".join(words)


def _constraint(constraint: Constraint) -> str:
    text = f"constraint {constraint.name} {readable(constraint.definition)}"
    if len(text) <= WIDTH - 4:
        return text
    name, rest = f"constraint {constraint.name}", readable(constraint.definition)
    return f"{name}\n    {rest.replace(' references ', f'{chr(10)}    references ')}"


def _constraint_later(table: Table, constraint: Constraint) -> str:
    return f"alter table {table.full_name} add {_constraint(constraint)};"


def _partition(table: Table) -> str:
    return f" partition by {table.partition_key.lower()}" if table.partition_key else ""


def _options(table: Table) -> str:
    options = [f"{name} = {value}" for name, _, value in (option.partition("=") for option in table.options)]
    return f" with ({listed(options)})" if options else ""


def _comments(table: Table) -> Iterator[str]:
    if table.comment:
        yield f"comment on table {table.full_name} is\n{literal(table.comment)};"
    for column in table.columns:
        if column.comment:
            yield f"comment on column {table.full_name}.{column.name} is\n{literal(column.comment)};"
    for constraint in table.constraints:
        if constraint.comment:
            yield f"comment on constraint {constraint.name} on {table.full_name} is\n{literal(constraint.comment)};"
    for index in table.indexes:
        if index.comment:
            yield f"comment on index {table.schema}.{index.name} is\n{literal(index.comment)};"


def _policy(table: Table, policy: Policy) -> str:
    kind = " as restrictive" if policy.restrictive else ""
    text = f"create policy {policy.name} on {table.full_name}{kind} for {policy.command} to {listed(policy.roles)}"
    if policy.using is not None:
        text += f"\nusing ({readable(policy.using)})"
    if policy.check is not None:
        text += f"\nwith check ({readable(policy.check)})"
    return text + ";"


def _grants(table: Table) -> Iterator[str]:
    for (role, grantable), of_role in groupby(table.grants, key=lambda grant: (grant.role, grant.grantable)):
        privileges = [_privilege(grant) for grant in of_role]
        rest = f"on {table.full_name} to {role}{' with grant option' if grantable else ''};"
        short = f"grant {listed(privileges)} {rest}"
        lines = [wrapped(text, "    ") for text in privileges]
        yield short if len(short) <= WIDTH else "\n".join(["grant", ",\n".join(lines), rest])


def _privilege(grant: Grant) -> str:
    return f"{grant.privilege} ({listed(grant.columns)})" if grant.columns else grant.privilege


def _function(function: Function, schema_owner: str | None = None) -> str:
    signature = f"{function.kind} {function.signature}"
    parts = [lowered(function.definition).strip() + ";"]
    if schema_owner:
        parts.append(f"alter {signature} owner to {function.owner};")
    if PUBLIC not in function.executors:
        parts.append(wrapped(f"revoke all on {signature} from public;"))
    roles = [role for role in function.executors if role != PUBLIC]
    if roles:
        parts.append(wrapped(f"grant execute on {signature} to {listed(roles)};"))
    if function.comment:
        parts.append(f"comment on {signature} is\n{literal(function.comment)};")
    return "\n".join(parts)


def _view(view: View) -> str:
    options = f" with ({listed(view.options)})" if view.options else ""
    parts = [f"create view {view.full_name}{options} as\n{lowered(view.definition).strip()}"]
    parts.append(f"alter view {view.full_name} owner to {view.owner};")
    if view.readers:
        parts.append(f"grant select on {view.full_name} to {listed(view.readers)};")
    if view.comment:
        parts.append(f"comment on view {view.full_name} is\n{literal(view.comment)};")
    return "\n".join(parts)


def _triggers(table: Table) -> str:
    return "\n".join(text for trigger in table.triggers for text in _trigger(table, trigger))


def _trigger(table: Table, trigger: Trigger) -> Iterator[str]:
    yield lowered(trigger.definition) + ";"
    if trigger.state in STATES:
        yield f"alter table {table.full_name} {STATES[trigger.state]} trigger {trigger.name};"
