"""What a database consists of, as far as the documents tell of it. Read by catalogue.py, printed by the others."""

from collections.abc import Mapping
from dataclasses import dataclass

SCHEMAS = ("app", "identity", "issues", "audit")
PUBLIC = "public"


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    required: bool
    default: str | None
    identity: str
    """How its numbers come: '' not at all, else `always` or `by default`."""
    generated: bool
    comment: str | None


@dataclass(frozen=True)
class Constraint:
    name: str
    kind: str
    """As in pg_constraint.contype: p primary key, u unique, f foreign key, c check, x exclusion."""
    definition: str
    columns: tuple[str, ...]
    target: str | None
    """The schema and table a foreign key refers to."""
    target_columns: tuple[str, ...]
    comment: str | None


@dataclass(frozen=True)
class Index:
    """One that no constraint brought with it."""

    name: str
    definition: str
    unique: bool
    columns: tuple[str, ...]
    comment: str | None


@dataclass(frozen=True)
class Policy:
    name: str
    command: str
    restrictive: bool
    roles: tuple[str, ...]
    using: str | None
    check: str | None


@dataclass(frozen=True)
class Grant:
    role: str
    privilege: str
    columns: tuple[str, ...]
    """Empty: the whole table."""
    grantable: bool


@dataclass(frozen=True)
class Trigger:
    name: str
    definition: str
    function: str
    state: str
    """As in pg_trigger.tgenabled: O is the usual one, D is switched off."""


@dataclass(frozen=True)
class Table:
    schema: str
    name: str
    owner: str
    comment: str | None
    partition_key: str | None
    options: tuple[str, ...]
    row_security: bool
    forced: bool
    columns: tuple[Column, ...]
    constraints: tuple[Constraint, ...]
    indexes: tuple[Index, ...]
    policies: tuple[Policy, ...]
    grants: tuple[Grant, ...]
    triggers: tuple[Trigger, ...]

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    def of_kind(self, kind: str) -> tuple[Constraint, ...]:
        return tuple(constraint for constraint in self.constraints if constraint.kind == kind)

    @property
    def primary_key(self) -> tuple[str, ...]:
        return next((constraint.columns for constraint in self.of_kind("p")), ())

    @property
    def walled(self) -> bool:
        return any(policy.name == "tenant_wall" and policy.restrictive for policy in self.policies)


@dataclass(frozen=True)
class Function:
    schema: str
    name: str
    kind: str
    """`function` or `procedure`."""
    arguments: str
    argument_types: str
    result: str | None
    owner: str
    language: str
    volatility: str
    definer: bool
    settings: tuple[str, ...]
    executors: tuple[str, ...]
    comment: str | None
    definition: str
    used_by_tables: bool
    """In a default, a check, a policy or an index: it must exist before the table."""

    @property
    def signature(self) -> str:
        return f"{self.schema}.{self.name}({self.argument_types})"


@dataclass(frozen=True)
class View:
    schema: str
    name: str
    owner: str
    """With whose rights it reads, unless an option says otherwise."""
    comment: str | None
    definition: str
    options: tuple[str, ...]
    readers: tuple[str, ...]

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Schema:
    name: str
    owner: str
    rights: Mapping[str, tuple[str, ...]]
    """By role: USAGE, CREATE."""
    tables: tuple[Table, ...]
    functions: tuple[Function, ...]
    views: tuple[View, ...]


@dataclass(frozen=True)
class Role:
    name: str
    login: bool
    bypasses: bool
    """Row-level security does not hold for it."""
    superuser: bool
    inherits: bool
    member_of: tuple[str, ...]
    connects: bool
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Catalogue:
    schemas: tuple[Schema, ...]
    roles: tuple[Role, ...]

    def tables(self) -> tuple[Table, ...]:
        return tuple(table for schema in self.schemas for table in schema.tables)

    def functions(self) -> tuple[Function, ...]:
        return tuple(function for schema in self.schemas for function in schema.functions)
