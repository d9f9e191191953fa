"""Tenant context: the one place that sets it, for one transaction only, and never for longer.

The first statement of every transaction checks that it finds no context, checks the caller's standing with
identity, and sets the context, in that order.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.types import Text

from bulkhead_kit.caller import Caller
from bulkhead_kit.db.query import Query
from bulkhead_kit.db.types import Id
from bulkhead_kit.errors import DeadlineExceeded
from bulkhead_kit.ids import PLATFORM_LOG

SERVICE_LEVEL: Final = "6"
"""app.role_level() of another service acting in a tenant."""


_READ = """
    select nullif(current_setting('app.tenant_id', true), '') as stale,
           set_config('app.tenant_id', :tenant, true),
           set_config('app.user_id', :user, true),
           set_config('app.role', :role, true),
           set_config('app.actor_type', :actor_type, true),
           set_config('app.service', :service, true),
           set_config('statement_timeout', :timeout, true)
"""
_WRITE = (
    _READ
    + """,
           set_config('app.rpc', :rpc, true),
           set_config('app.request_id', :request_id, true),
           set_config('app.ip', :ip, true),
           set_config('app.user_agent', :user_agent, true),
           set_config('app.on_behalf_of', :on_behalf_of, true),
           set_config('app.importing', :importing, true),
           set_config('app.writing', 'true', true)
"""
)
# Who came to read has waited for no fence: what they ask for must not write by a mistake either.
_READ_ONLY = """,
           set_config('transaction_read_only', 'on', true)
"""
# A function in FROM runs before the settings of the select list are made.
_MEMBER = """
    from identity.check_membership(
        cast(:tenant as uuid), cast(:user as uuid), cast(:role as smallint), cast(:membership_version as integer),
        cast(:writing as boolean)
    )
"""
# Identity's only, for what shuts somebody out, in a suspended tenant too: no other service's role may run it.
_CLOSING = """
    from identity.check_closing(
        cast(:tenant as uuid), cast(:user as uuid), cast(:role as smallint), cast(:membership_version as integer)
    )
"""
_TENANT = """
    from identity.check_tenant(cast(:tenant as uuid), cast(:writing as boolean))
"""


def _enter(sql: str) -> Query[Any]:
    # All settings are text, and a bind that is also an argument is cast where it is one.
    statement = text(sql)
    names = statement.compile().params
    return Query(statement.bindparams(*(bindparam(name, type_=Text) for name in names)))


_ENTER: dict[tuple[str, bool], Query[Any]] = {
    ("member", False): _enter(_READ + _READ_ONLY + _MEMBER),
    ("member", True): _enter(_WRITE + _MEMBER),
    ("closing", True): _enter(_WRITE + _CLOSING),
    ("tenant", False): _enter(_READ + _READ_ONLY + _TENANT),
    ("tenant", True): _enter(_WRITE + _TENANT),
    ("unchecked", False): _enter(_READ),
    ("unchecked", True): _enter(_WRITE),
}
_UNDEFINED = "0"
LOCK_LIMITS: Query[Any] = Query(
    text("select identity.lock_limits(:tenant_id)").bindparams(bindparam("tenant_id", type_=Id))
)


def _standing(caller: Caller, *, writing: bool, checked: bool) -> str:
    """What identity is asked about the caller before its context is set."""
    if not checked or caller.tenant_id is None or caller.actor_type in ("anonymous", "system"):
        return "unchecked"
    if caller.actor_type == "service":
        return "tenant" if caller.tenant_id != PLATFORM_LOG else "unchecked"
    return "closing" if writing and caller.allowed_while_suspended else "member"


def _role(caller: Caller) -> str:
    if caller.tenant_id is None:
        return _UNDEFINED
    if caller.actor_type in ("service", "system"):
        return SERVICE_LEVEL
    return str(caller.role.value) if caller.role is not None else _UNDEFINED


def enter(
    caller: Caller, *, writing: bool, checked: bool = True, importing: bool = False
) -> tuple[Query[Any], dict[str, str | None]]:
    """The first statement of a transaction and its values. Raises DeadlineExceeded when no time is left."""
    left = caller.time_left()
    if left <= 0:
        raise DeadlineExceeded
    values = {
        "tenant": _text(caller.tenant_id),
        "user": _text(caller.user_id),
        "role": _role(caller),
        "actor_type": caller.actor_type,
        "service": caller.service or "",
        "timeout": str(max(1, int(left * 1000))),
        "membership_version": str(caller.membership_version or 0),
        "writing": "true" if writing else "false",
    }
    if writing:
        values |= {
            "rpc": caller.rpc,
            "request_id": caller.request_id,
            "ip": caller.ip or "",
            "user_agent": caller.user_agent or "",
            "on_behalf_of": _text(caller.on_behalf_of),
            "importing": "on" if importing else "",
        }
    return _ENTER[_standing(caller, writing=writing, checked=checked), writing], dict(values)


def _text(value: UUID | None) -> str:
    # '' is what a setting is after its transaction; the context functions read it as null.
    return str(value) if value is not None else ""
