"""What the database must keep safe: each requirement as README states it, and what of it the catalogue can show."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bulkhead_cli.schema.conventions import Rule
from bulkhead_cli.schema.model import PUBLIC, Catalogue, Policy, Table

WALL = "tenant_id = app.current_tenant_id()"
WALL_OF_WRITES = "tenant_id = app.current_tenant_id() AND app.is_writing()"
FIXED_PATH = "search_path=pg_catalog, pg_temp"
TIMEOUTS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")


@dataclass(frozen=True, kw_only=True)
class Requirement(Rule):
    where: str
    """What enforces it."""
    tests: str
    """What tries to get past it."""


def _tenants(catalogue: Catalogue) -> Iterator[Table]:
    """Tables of tenants that a service's RPCs use."""
    for table in catalogue.tables():
        of_tenants = any(column.name == "tenant_id" for column in table.columns)
        if of_tenants and any(grant.role == _app(table) for grant in table.grants):
            yield table


def _app(table: Table) -> str:
    return f"bulkhead_{table.schema}_app"


def unwalled(catalogue: Catalogue) -> Iterator[str]:
    for table in _tenants(catalogue):
        walls = [p for p in table.policies if p.restrictive and p.roles == (_app(table),) and p.command == "all"]
        if not any((policy.using, policy.check) == (WALL, WALL_OF_WRITES) for policy in walls):
            yield table.full_name


def unforced(catalogue: Catalogue) -> Iterator[str]:
    yield from (table.full_name for table in catalogue.tables() if not (table.row_security and table.forced))
    for table in catalogue.tables():
        for policy in table.policies:
            if "current_setting" in f"{policy.using} {policy.check}" or PUBLIC in policy.roles:
                yield f"{table.full_name}.{policy.name}"


def key_not_of_tenant(catalogue: Catalogue) -> Iterator[str]:
    for table in _tenants(catalogue):
        keys = [(key.name, key.columns) for key in table.constraints if key.kind in "pufx"]
        keys += [(index.name, index.columns) for index in table.indexes if index.unique]
        yield from (f"{table.full_name}.{name}" for name, columns in keys if columns[:1] != ("tenant_id",))


def right_for_all(catalogue: Catalogue) -> Iterator[str]:
    for table in _tenants(catalogue):
        for policy in _rights(table):
            rules = f"{policy.using} {policy.check}"
            if "app.role_level()" not in rules and "app.principal()" not in rules:
                yield f"{table.full_name}.{policy.name}"


def _rights(table: Table) -> Iterator[Policy]:
    yield from (policy for policy in table.policies if not policy.restrictive and _app(table) in policy.roles)


def internal_shown(catalogue: Catalogue) -> Iterator[str]:
    for table in _tenants(catalogue):
        if any(column.name == "visibility" for column in table.columns):
            for policy in _rights(table):
                told = policy.using or ""
                if policy.command in {"select", "all"} and "visibility" not in told and "role_level() >= 4" not in told:
                    yield f"{table.full_name}.{policy.name}"


def uncaptured(catalogue: Catalogue) -> Iterator[str]:
    for table in catalogue.tables():
        if table.schema != "audit" and not any(trigger.name == "zz_capture" for trigger in table.triggers):
            yield table.full_name


def forgeable(catalogue: Catalogue) -> Iterator[str]:
    logins = {role.name for role in catalogue.roles if role.login and not role.name.endswith("_relay")}
    for table in catalogue.tables():
        if table.name in {"outbox", "outbox_parked"}:
            yield from (f"{table.full_name}.{grant.role}" for grant in table.grants if grant.role in logins)


def not_delivered_safely(catalogue: Catalogue) -> Iterator[str]:
    yield from uncaptured(catalogue)
    yield from forgeable(catalogue)


def changeable_log(catalogue: Catalogue) -> Iterator[str]:
    for table in catalogue.tables():
        if table.schema != "audit":
            continue
        refused = " ".join(trigger.definition for trigger in table.triggers if trigger.state in "OA").lower()
        for event in ("update", "delete", "truncate"):
            if not re.search(rf"before [a-z ]*\b{event}\b", refused):
                yield f"{table.full_name}.{event}"
        for grant in table.grants:
            if grant.privilege not in {"select", "insert"}:
                yield f"{table.full_name}.{grant.role}.{grant.privilege}"


def deletable(catalogue: Catalogue) -> Iterator[str]:
    for table in catalogue.tables():
        for grant in table.grants:
            if grant.privilege == "truncate" or (
                grant.privilege == "delete" and not grant.role.endswith(("_relay", "_worker"))
            ):
                yield f"{table.full_name}.{grant.role}"


def open_secret(catalogue: Catalogue) -> Iterator[str]:
    captures = {f"{function.schema}.{function.name}": function.definition for function in catalogue.functions()}
    for table in catalogue.tables():
        checks = " ".join(check.definition for check in table.of_kind("c"))
        for column in table.columns:
            if column.name not in {"token_hash", "secret_hash", "password_hash"}:
                continue
            name = f"{table.full_name}.{column.name}"
            if f"octet_length({column.name}) = 32" not in checks and f"{column.name} ~~ '$argon2id$" not in checks:
                yield name
            if column.name in captures.get(f"{table.schema}.capture_{table.name}", ""):
                yield name
            for grant in table.grants:
                shown = grant.privilege == "select" and (not grant.columns or column.name in grant.columns)
                if shown and not grant.role.endswith("_definer"):
                    yield f"{name}.{grant.role}"


def open_to_all(catalogue: Catalogue) -> Iterator[str]:
    yield from (schema.name for schema in catalogue.schemas if PUBLIC in schema.rights)
    yield from (function.signature for function in catalogue.functions() if PUBLIC in function.executors)
    for table in catalogue.tables():
        yield from (f"{table.full_name}.{g.role}" for g in table.grants if g.role == PUBLIC or g.grantable)


def mighty_login(catalogue: Catalogue) -> Iterator[str]:
    owners = {schema.owner for schema in catalogue.schemas} | {table.owner for table in catalogue.tables()}
    owners |= {function.owner for function in catalogue.functions()}
    for role in catalogue.roles:
        if role.superuser or role.bypasses or (role.login and (role.name in owners or role.member_of)):
            yield role.name


def open_path(catalogue: Catalogue) -> Iterator[str]:
    for function in catalogue.functions():
        if function.definer and FIXED_PATH not in function.settings:
            yield function.signature


def untimed(catalogue: Catalogue) -> Iterator[str]:
    for role in catalogue.roles:
        names = {setting.partition("=")[0] for setting in role.settings}
        if role.login and not names.issuperset(TIMEOUTS):
            yield role.name
