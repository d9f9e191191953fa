"""Who asks. Built once per call by the caller interceptor, then passed on as an argument.

Only a handler's first line reads `current_caller()`; below it nobody looks at context variables or at gRPC.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from bulkhead_kit import clock

ActorType = Literal["person", "service_account", "service", "anonymous", "system"]
"""service_account: an API key's member. service: another Bulkhead service. system: a worker or a command."""


class Role(enum.IntEnum):
    """Same numbers as bulkhead.rpc.v1.Role; a higher role includes the rights of the lower ones."""

    VIEWER = 1
    MEMBER = 2
    MANAGER = 3
    ADMIN = 4
    OWNER = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    actor_type: ActorType
    rpc: str
    """Full method name without the leading slash, or the name of a command, such as "worker/expire"."""
    request_id: str
    deadline: float
    """On the monotonic clock, in seconds. Statements are stopped when it passes."""
    tenant_id: UUID | None = None
    user_id: UUID | None = None
    role: Role | None = None
    membership_version: int | None = None
    session_id: UUID | None = None
    token_expires_at: float | None = None
    """When the token that was presented ends, in seconds since 1970: no token made from it lasts longer."""
    service: str | None = None
    """Name of the calling service, when actor_type is "service"."""
    on_behalf_of: UUID | None = None
    made_by: UUID | None = None
    """The person who made the API key, when actor_type is "service_account"."""
    ip: str | None = None
    user_agent: str | None = None
    is_platform_admin: bool = False
    allowed_while_suspended: bool = False
    """The method only shuts somebody out, says its policy: a suspended tenant lets it in."""

    def time_left(self) -> float:
        """Seconds until the deadline; zero or less when it has passed."""
        return self.deadline - clock.monotonic()

    def tenant(self) -> UUID:
        """The tenant of a call whose policy demands one; the caller interceptor has made sure of it."""
        if self.tenant_id is None:
            raise LookupError("a call outside any tenant asked for its tenant")
        return self.tenant_id

    def shares(self) -> tuple[Hashable, ...]:
        """Whose parts of what is shared a call takes: the tenant's and that of the person who acts in it, who may have
        any number of tenants; by a key that of who made it, who may make any number of accounts. Of a service that acts
        in a tenant the tenant's alone; before anybody is known the service's or the address's."""
        tenant, person = self.tenant_id, self.made_by or self.user_id
        # The numbers, as a UUID's own hash is computed in Python.
        if tenant is None:
            return (self.service or self.ip if person is None else person.int,)
        return (tenant.int,) if person is None else (tenant.int, person.int)

    def user(self) -> UUID:
        """The user of a call whose policy demands one; the caller interceptor has made sure of it."""
        if self.user_id is None:
            raise LookupError("a call without a user asked for its user")
        return self.user_id


_current: ContextVar[Caller] = ContextVar("bulkhead_caller")


def current_caller() -> Caller:
    return _current.get()


def find_caller() -> Caller | None:
    """For log lines, which are also written outside calls."""
    return _current.get(None)


def set_current_caller(caller: Caller) -> None:
    """For the caller interceptor and for tests of handlers; nobody else."""
    _current.set(caller)
