"""What each method says about itself, read from the descriptors. A server with a silent method does not start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from bulkhead.rpc.v1 import options_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.duration_pb2 import Duration

from bulkhead_kit.caller import Role

Scope = options_pb2.Scope
DEFAULT_DEADLINE: Final = 10.0
"""Seconds, for a method that names none. Written in options.proto as well."""


_ROLES: Final = frozenset(int(role) for role in Role)


class PolicyError(Exception):
    """A method's policy is missing or contradicts itself: the server must not start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodPolicy:
    method: str
    """Full name without the leading slash, such as "bulkhead.identity.v1.TeamService/GetTeam"."""
    scope: Scope.ValueType
    least_role: Role | None
    audited: bool
    idempotent: bool
    default_deadline: float
    max_deadline: float
    client_streaming: bool
    server_streaming: bool
    allowed_while_suspended: bool
    """It only shuts somebody out."""
    takes_request_id: bool
    """The request has a field request_id, by which a repeat is known as such."""

    @property
    def service(self) -> str:
        return self.method.partition("/")[0]


def read_policies(
    services: Iterable[str], pool: descriptor_pool.DescriptorPool | None = None
) -> Mapping[str, MethodPolicy]:
    """By full method name. Every fault of every method is in the error, so that one start shows them all."""
    pool = pool or descriptor_pool.Default()
    policies: dict[str, MethodPolicy] = {}
    faults: list[str] = []
    for service in services:
        for method in pool.FindServiceByName(service).methods:
            fault = find_fault(method)
            if fault is None:
                policy = _read(method)
                policies[policy.method] = policy
            else:
                faults.append(f"{method_name(method)}: {fault}")
    if faults:
        raise PolicyError("; ".join(faults))
    return policies


def method_name(method: MethodDescriptor) -> str:
    return f"{method.containing_service.full_name}/{method.name}"


def find_fault(method: MethodDescriptor) -> str | None:
    options = method.GetOptions()
    if not options.HasExtension(options_pb2.policy):
        return "has no (bulkhead.rpc.v1.policy)"
    policy = options.Extensions[options_pb2.policy]
    if policy.scope not in Scope.values() or policy.scope == Scope.SCOPE_UNSPECIFIED:
        return "its policy has no scope"
    if policy.scope == Scope.SCOPE_TENANT:
        if policy.least_role not in _ROLES:
            return "its policy needs a least_role, as its scope is SCOPE_TENANT"
    elif policy.least_role:
        return "its policy has a least_role outside SCOPE_TENANT"
    if policy.allowed_while_suspended and not policy.audited:
        return "its policy has allowed_while_suspended, and it changes nothing"
    default, longest = _deadlines(policy)
    if default <= 0 or longest <= 0:
        return "its policy has a deadline that is not positive"
    if default > longest:
        return "its policy has a default_deadline above its max_deadline"
    return None


def _deadlines(policy: options_pb2.Policy) -> tuple[float, float]:
    default = _seconds(policy.default_deadline) if policy.HasField("default_deadline") else None
    longest = _seconds(policy.max_deadline) if policy.HasField("max_deadline") else DEFAULT_DEADLINE
    return (min(DEFAULT_DEADLINE, longest) if default is None else default), longest


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


def _read(method: MethodDescriptor) -> MethodPolicy:
    policy = method.GetOptions().Extensions[options_pb2.policy]
    default, longest = _deadlines(policy)
    return MethodPolicy(
        method=method_name(method),
        scope=policy.scope,
        least_role=Role(policy.least_role) if policy.least_role else None,
        audited=policy.audited,
        idempotent=policy.idempotent,
        default_deadline=default,
        max_deadline=longest,
        client_streaming=method.client_streaming,
        server_streaming=method.server_streaming,
        allowed_while_suspended=policy.allowed_while_suspended,
        takes_request_id="request_id" in method.input_type.fields_by_name,
    )
