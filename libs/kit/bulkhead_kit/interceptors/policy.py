"""The step policy: may this caller reach this method at all. Whose rows she sees is the database's business."""

from __future__ import annotations

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead.rpc.v1.options_pb2 import Scope

from bulkhead_kit.caller import Caller
from bulkhead_kit.errors import DomainError, PermissionDenied, Unauthenticated
from bulkhead_kit.metadata import TENANT_ID, malformed
from bulkhead_kit.policy import MethodPolicy
from bulkhead_kit.services_auth import ServiceAllowList


def check(policy: MethodPolicy, caller: Caller, services: ServiceAllowList) -> None:
    scope = policy.scope
    if scope == Scope.SCOPE_PUBLIC:
        return
    if caller.actor_type == "anonymous":
        raise Unauthenticated(ErrorReason.TOKEN_MISSING, "the method needs a token")
    if caller.actor_type == "service":
        _check_service(policy, caller, services)
    elif scope == Scope.SCOPE_TENANT:
        _check_member(policy, caller)
    elif scope == Scope.SCOPE_USER:
        if caller.actor_type != "person":
            raise _not_allowed("only a signed-in person may call the method")
    elif scope == Scope.SCOPE_PLATFORM:
        if not caller.is_platform_admin:
            raise _not_allowed("only platform administrators may call the method")
    else:
        raise _not_allowed("only services may call the method")


def _check_member(policy: MethodPolicy, caller: Caller) -> None:
    if caller.tenant_id is None or caller.role is None:
        raise Unauthenticated(ErrorReason.TENANT_NOT_SELECTED, "the token names no tenant, call SelectTenant")
    least = policy.least_role
    if least is None or caller.role < least:
        name = "NOBODY" if least is None else least.name
        raise PermissionDenied(
            ErrorReason.ROLE_TOO_LOW, f"the method needs the role {name} or above", metadata={"least_role": name}
        )


def _check_service(policy: MethodPolicy, caller: Caller, services: ServiceAllowList) -> None:
    if policy.scope not in (Scope.SCOPE_SERVICE, Scope.SCOPE_TENANT):
        raise _not_allowed("services may not call the method")
    services.check(caller.service or "", policy.method)
    if policy.scope == Scope.SCOPE_TENANT and caller.tenant_id is None:
        raise malformed(TENANT_ID, "must name the tenant when a service calls this method")


def _not_allowed(text: str) -> DomainError:
    return PermissionDenied(ErrorReason.CALLER_NOT_ALLOWED, text)
