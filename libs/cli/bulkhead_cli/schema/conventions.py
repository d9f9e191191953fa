"""How things are named: each rule as README says it, and as the catalogue is held to it by tests/schema."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from bulkhead_cli.schema.model import Catalogue, Column, Table

Check = Callable[[Catalogue], Iterator[str]]


@dataclass(frozen=True)
class Rule:
    says: str
    breaches: Check
    exceptions: Mapping[str, str] = field(default_factory=dict)
    """Full name, or `*.` and the last part of several, -> why the rule does not suit it."""

    def broken_by(self, catalogue: Catalogue) -> list[str]:
        return [name for name in self.breaches(catalogue) if not self.exceptions.keys() & _called(name)]

    def needless(self, catalogue: Catalogue) -> list[str]:
        """Exceptions for what keeps the rule, or is gone."""
        return sorted(self.exceptions.keys() - {key for name in self.breaches(catalogue) for key in _called(name)})


def _called(name: str) -> set[str]:
    return {name, f"*.{name.rpartition('.')[2]}"}


def _columns(catalogue: Catalogue) -> Iterator[tuple[str, Table, Column]]:
    for table in catalogue.tables():
        for column in table.columns:
            yield f"{table.full_name}.{column.name}", table, column


def _names(catalogue: Catalogue) -> Iterator[str]:
    for table in catalogue.tables():
        yield table.name
        for part in (table.columns, table.constraints, table.indexes, table.policies, table.triggers):
            yield from (one.name for one in part)
    yield from (function.name for function in catalogue.functions())
    yield from (role.name for role in catalogue.roles)


def not_snake(catalogue: Catalogue) -> Iterator[str]:
    yield from (name for name in _names(catalogue) if not re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", name))


def not_plural(catalogue: Catalogue) -> Iterator[str]:
    yield from (table.full_name for table in catalogue.tables() if not table.name.endswith("s"))


def not_uuid(catalogue: Catalogue) -> Iterator[str]:
    for name, _, column in _columns(catalogue):
        if column.name.endswith("_id") != (column.type == "uuid") and not column.name.endswith("_by"):
            yield name


def not_a_person(catalogue: Catalogue) -> Iterator[str]:
    yield from (
        name for name, _, column in _columns(catalogue) if column.name.endswith("_by") and column.type != "uuid"
    )


def not_a_time(catalogue: Catalogue) -> Iterator[str]:
    for name, _, column in _columns(catalogue):
        if column.name.endswith("_at") != column.type.startswith("timestamp") or column.type.startswith("timestamp "):
            yield name


def not_a_date(catalogue: Catalogue) -> Iterator[str]:
    yield from (n for n, _, column in _columns(catalogue) if column.name.endswith("_date") != (column.type == "date"))


def not_a_question(catalogue: Catalogue) -> Iterator[str]:
    yield from (
        n for n, _, column in _columns(catalogue) if column.name.startswith("is_") != (column.type == "boolean")
    )


def not_a_twin(catalogue: Catalogue) -> Iterator[str]:
    for name, _, column in _columns(catalogue):
        if column.name.endswith("_key") != (
            column.generated and any(how in (column.default or "") for how in ("lower", "app.fold"))
        ):
            yield name


def not_bytes(catalogue: Catalogue) -> Iterator[str]:
    for name, _, column in _columns(catalogue):
        if column.name.endswith(("_hash", "_digest")) and column.type != "bytea":
            yield name


def _misnamed(table: Table, name: str, suffix: str) -> bool:
    return not (name.startswith(f"{table.name}_") and name.endswith(f"_{suffix}"))


def constraint_misnamed(catalogue: Catalogue) -> Iterator[str]:
    suffixes = {"p": "pkey", "u": "key", "f": "fkey", "c": "check", "x": "excl"}
    for table in catalogue.tables():
        for constraint in table.constraints:
            if _misnamed(table, constraint.name, suffixes[constraint.kind]):
                yield f"{table.full_name}.{constraint.name}"


def index_misnamed(catalogue: Catalogue) -> Iterator[str]:
    for table in catalogue.tables():
        for index in table.indexes:
            if _misnamed(table, index.name, "key" if index.unique else "idx"):
                yield f"{table.full_name}.{index.name}"


def wall_misnamed(catalogue: Catalogue) -> Iterator[str]:
    for table in catalogue.tables():
        for policy in table.policies:
            if policy.restrictive != (policy.name == "tenant_wall"):
                yield f"{table.full_name}.{policy.name}"


def out_of_order(catalogue: Catalogue) -> Iterator[str]:
    """PostgreSQL fires the triggers of one event by name."""
    for table in catalogue.tables():
        for trigger in table.triggers:
            stamps = trigger.function in {"app.stamp", "identity.stamp_membership"}
            captures = trigger.function == f"{table.schema}.capture_{table.name}"
            named = stamps == (trigger.name == "aa_stamp") and captures == (trigger.name == "zz_capture")
            if not named or not "aa_stamp" <= trigger.name <= "zz_capture":
                yield f"{table.full_name}.{trigger.name}"


def argument_misnamed(catalogue: Catalogue) -> Iterator[str]:
    for function in catalogue.functions():
        arguments = re.sub(r"DEFAULT '.*?'", "", function.arguments)
        if any(not argument.removeprefix("IN ").startswith("p_") for argument in arguments.split(", ") if argument):
            yield function.signature


RULES = (
    Rule("Every name is `snake_case` in lower case, so that none is ever quoted.", not_snake),
    Rule(
        "Tables are plural nouns; a table that ties two together is named after both.",
        not_plural,
        {
            "*.outbox": "one box with many rows",
            "*.outbox_parked": "what of the outbox is parked",
            "identity.tenant_usage": "has no plural",
            "issues.issue_status_history": "one history an issue",
        },
    ),
    Rule(
        "Ids are `<thing>_id uuid`, made by the service (UUIDv7); a reference has the name of what it means, such as "
        "`assignee_id`.",
        not_uuid,
        {
            "*.external_id": "the name that another system gave it",
            "*.outbox_id": "a number, for the order",
            "*.on_behalf_of": "says more than an id would",
            "identity.one_time_tokens.used_by_request": "of a call, which is no row",
            "*.request_id": "of events: the caller's own name for the call, of any form",
        },
    ),
    Rule("Users who did something are in columns that end in `_by`.", not_a_person),
    Rule(
        "Times are `timestamptz` and end in `_at`; nothing else ends so.",
        not_a_time,
        {
            "identity.tenants.purge_after": "not when it was purged, but the time before which it must not be",
            "identity.memberships.support_until": "not when it ended, but the time after which it must have",
        },
    ),
    Rule("Days without a time are `date` and end in `_date`.", not_a_date),
    Rule("Booleans begin with `is_`.", not_a_question),
    Rule(
        "What is unique whatever its case has a generated twin that ends in `_key`: `name`, `name_key`.",
        not_a_twin,
    ),
    Rule(
        "SHA-256 values are `bytea` and end in `_hash` or `_digest`.",
        not_bytes,
        {"*.password_hash": "argon2id in its own text notation, with parameters and salt"},
    ),
    Rule(
        "Constraints are named, because the code turns them into errors by name: `<table>_<columns>_pkey`, `_key`, "
        "`_fkey`, `_check`, `_excl`.",
        constraint_misnamed,
    ),
    Rule("Indexes are `<table>_<columns>_idx`, unique ones `_key`.", index_misnamed),
    Rule("`tenant_wall` is the only restrictive policy, and has no other name.", wall_misnamed),
    Rule(
        "Triggers fire by name: `aa_stamp` before all others, `zz_capture` after them.",
        out_of_order,
    ),
    Rule("Arguments of functions begin with `p_`, so that none is taken for a column.", argument_misnamed),
)
