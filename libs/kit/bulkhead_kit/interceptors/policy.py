"""The step policy: may this caller reach this method at all. Whose rows she sees is the database's business."""

from __future__ import annotations

from collections.abc import Callable

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead.rpc.v1.options_pb2 import Scope

from bulkhead_kit.caller import Caller
from bulkhead_kit.errors import DomainError, PermissionDenied, Unauthenticated
from bulkhead_kit.metadata import TENANT_ID, malformed
from bulkhead_kit.policy import MethodPolicy, PolicyError
from bulkhead_kit.services_auth import ServiceAllowList

Check = Callable[[Caller], None]
"""Raises when the caller may not call the method."""


def checker(policy: MethodPolicy, services: ServiceAllowList) -> Check:
    """Chosen once per method."""
    if policy.scope == Scope.SCOPE_PUBLIC:
        return _anyone
    check_person = _person_checker(policy)

    def check(caller: Caller) -> None:
        if caller.actor_type == "anonymous":
            raise Unauthenticated(ErrorReason.TOKEN_MISSING, "the method needs a token")
        if caller.actor_type == "service":
            _check_service(policy, caller, services)
        else:
            check_person(caller)

    return check


def _anyone(caller: Caller) -> None:
    pass


def _person_checker(policy: MethodPolicy) -> Check:
    if policy.scope == Scope.SCOPE_TENANT:
        return _member_checker(policy)
    if policy.scope == Scope.SCOPE_USER:
        return _check_user
    return _check_platform_admin if policy.scope == Scope.SCOPE_PLATFORM else _services_only


def _member_checker(policy: MethodPolicy) -> Check:
    least = policy.least_role
    if least is None:
        raise PolicyError(f"{policy.method}: a method of a tenant needs a least role")

    def check(caller: Caller) -> None:
        if caller.tenant_id is None or caller.role is None:
            raise Unauthenticated(ErrorReason.TENANT_NOT_SELECTED, "the token names no tenant, call SelectTenant")
        if caller.role < least:
            raise PermissionDenied(
                ErrorReason.ROLE_TOO_LOW,
                f"the method needs the role {least.name} or above",
                metadata={"least_role": least.name},
            )

    return check


def _check_user(caller: Caller) -> None:
    if caller.actor_type != "person":
        raise _not_allowed("only a signed-in person may call the method")


def _check_platform_admin(caller: Caller) -> None:
    if not caller.is_platform_admin:
        raise _not_allowed("only platform administrators may call the method")


def _services_only(caller: Caller) -> None:
    raise _not_allowed("only services may call the method")


def _check_service(policy: MethodPolicy, caller: Caller, services: ServiceAllowList) -> None:
    if policy.scope not in (Scope.SCOPE_SERVICE, Scope.SCOPE_TENANT):
        raise _not_allowed("services may not call the method")
    services.check(caller.service or "", policy.method)
    if policy.scope == Scope.SCOPE_TENANT and caller.tenant_id is None:
        raise malformed(TENANT_ID, "must name the tenant when a service calls this method")


def _not_allowed(text: str) -> DomainError:
    return PermissionDenied(ErrorReason.CALLER_NOT_ALLOWED, text)
