"""Everybody who must not get through to a method, and the one who must."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from bulkhead.rpc.v1.options_pb2 import Scope
from bulkhead_cli import administration
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from bulkhead_kit.keyfiles import SERVICES
from bulkhead_kit.policy import MethodPolicy
from google.protobuf.descriptor import MethodDescriptor

from tests.isolation.world import Company
from tests.support import people
from tests.support.client import Client
from tests.support.house import House
from tests.support.people import Person

NO_TOKEN = ("UNAUTHENTICATED", "TOKEN_MISSING")
INVALID = ("UNAUTHENTICATED", "TOKEN_INVALID")
EXPIRED = ("UNAUTHENTICATED", "TOKEN_EXPIRED")
MISMATCH = ("UNAUTHENTICATED", "TENANT_MISMATCH")
UNSELECTED = ("UNAUTHENTICATED", "TENANT_NOT_SELECTED")
CHANGED = ("UNAUTHENTICATED", "MEMBERSHIP_CHANGED")
NOT_ALLOWED = ("PERMISSION_DENIED", "CALLER_NOT_ALLOWED")
WHATEVER_TENANT = {
    "bulkhead.audit.v1.AuditWriterService/AppendEvents": "what happened to a tenant is logged after its end too"
}


@dataclass(frozen=True)
class Caller:
    name: str
    client: Client
    expects: tuple[str, str]


async def right_caller(ours: Company, method: MethodDescriptor, policy: MethodPolicy) -> Client:
    house = ours.tenant.house
    if policy.scope == Scope.SCOPE_PUBLIC:
        return house.nobody()
    if policy.scope == Scope.SCOPE_SERVICE:
        return ours.tenant.service(_allowed_services(method)[0])
    if policy.scope == Scope.SCOPE_USER:
        return await house.signed_in(ours.tenant.people[Role.OWNER])
    if policy.scope == Scope.SCOPE_PLATFORM:
        return await house.platform_admin(await house.person())
    return ours.client(policy.least_role or Role.OWNER)


async def wrong_callers(ours: Company, theirs: Company, method: MethodDescriptor, policy: MethodPolicy) -> list[Caller]:
    if policy.scope == Scope.SCOPE_PUBLIC:
        return []
    house = ours.tenant.house
    callers = [*_without_proof(ours, policy), *_services(ours, method, policy)]
    if policy.scope == Scope.SCOPE_TENANT:
        callers += _of_elsewhere(ours, theirs, policy)
        callers += _keys(ours, theirs)
        callers.append(Caller("a disabled member", await _disabled(house, ours, policy), CHANGED))
    else:
        callers.append(Caller("an API key", house.with_token(ours.keys["live"]), NOT_ALLOWED))
    if policy.scope == Scope.SCOPE_PLATFORM:
        callers += await _no_administrators(house, ours)
    if policy.scope == Scope.SCOPE_SERVICE:
        callers += [Caller(f"a person, {role.name.lower()}", ours.client(role), NOT_ALLOWED) for role in Role]
        callers.append(Caller("a person without a tenant", house.user(_owner(ours).user_id), NOT_ALLOWED))
    return callers


def _without_proof(ours: Company, policy: MethodPolicy) -> Iterator[Caller]:
    """Wrong tokens of somebody who would be right."""
    house, person = ours.tenant.house, ours.tenant.people[policy.least_role or Role.OWNER]
    tenant_id = ours.tenant.tenant_id if policy.scope == Scope.SCOPE_TENANT else None
    token = partial(house.mint.person, person.user_id, tenant_id=tenant_id, role=policy.least_role)
    yield Caller("nobody", house.nobody(), NO_TOKEN)
    yield Caller("garbage", house.with_token("garbage"), INVALID)
    tokens = {
        "an expired token": (token(lasts=-100), EXPIRED),
        "a token for others": (token(audience="elsewhere"), INVALID),
        "a token by others": (token(issuer="elsewhere"), INVALID),
        "a forged token": (token(signer=house.forger()), INVALID),
        "a token for too long": (token(lasts=86_400), INVALID),
        "an unsigned token": (_unsigned(token()), INVALID),
        "a token with another's claims": (_transplanted(token(), own=house.mint.person(new_id())), INVALID),
    }
    for name, (wrong, expects) in tokens.items():
        yield Caller(name, house.with_token(wrong), expects)


def _of_elsewhere(ours: Company, theirs: Company, policy: MethodPolicy) -> Iterator[Caller]:
    """Right tokens of the wrong people."""
    house, least = ours.tenant.house, policy.least_role or Role.OWNER
    us, them = ours.tenant.tenant_id, theirs.tenant.tenant_id
    me, stranger = ours.tenant.people[least].user_id, theirs.tenant.people[least].user_id
    foreign = ours.client(least).with_metadata(("x-tenant-id", str(them)))
    yield Caller("a member with another tenant's header", foreign, MISMATCH)
    yield Caller("somebody without a tenant", house.user(me), UNSELECTED)
    without = house.user(me).with_metadata(("x-tenant-id", str(us)))
    yield Caller("somebody with a header but no tenant in the token", without, UNSELECTED)
    yield Caller("a stranger with our tenant in the token", house.member(stranger, us, least), CHANGED)
    yield Caller("a member with their tenant in the token", house.member(me, them, least), CHANGED)
    yield Caller("a person nobody knows", house.member(new_id(), us, least), CHANGED)
    yield Caller("a tenant nobody knows", house.member(me, new_id(), least), CHANGED)
    yield Caller("a member with an old version", house.member(me, us, least, version=0), CHANGED)
    yield Caller("a member with a later version", house.member(me, us, least, version=2), CHANGED)
    for role in Role:
        if role != least and role >= least:
            yield Caller(f"a member who says she is {role.name.lower()}", house.member(me, us, role), CHANGED)


def _keys(ours: Company, theirs: Company) -> Iterator[Caller]:
    """API keys that open nothing, or not this tenant."""
    house = ours.tenant.house
    us, them = (("x-tenant-id", str(company.tenant.tenant_id)) for company in (ours, theirs))
    live, ended = ours.keys["live"], ours.keys["revoked"]
    yield Caller("a revoked key", house.with_token(ended), INVALID)
    yield Caller("another tenant's revoked key", house.with_token(theirs.keys["revoked"]), INVALID)
    yield Caller("a key nobody has", house.with_token(live[:12] + "A" * 43), INVALID)
    yield Caller("the beginning of a key", house.with_token(live[:11]), INVALID)
    yield Caller("a key with another tenant's header", house.with_token(live).with_metadata(them), MISMATCH)
    foreign = house.with_token(theirs.keys["live"]).with_metadata(us)
    yield Caller("another tenant's key with our header", foreign, MISMATCH)


async def _no_administrators(house: House, ours: Company) -> list[Caller]:
    """Members and strangers; and who says she is one in a token of ours, and is not, or not any more."""
    owner, former = _owner(ours), await house.person()
    was = await house.platform_admin(former)
    administration.set_administrator(house.database.admin_dsn, former.email, is_admin=False)
    told = house.mint.person(owner.user_id, platform_admin=True)
    within = house.mint.person(owner.user_id, tenant_id=ours.tenant.tenant_id, role=Role.OWNER, platform_admin=True)
    unknown = house.mint.person(new_id(), platform_admin=True)
    return [
        *(Caller(f"a member, {role.name.lower()}", ours.client(role), NOT_ALLOWED) for role in Role),
        Caller("a person without a tenant", await house.signed_in(owner), NOT_ALLOWED),
        Caller("an owner whose token says that she administers", house.with_token(told), NOT_ALLOWED),
        Caller("the same in her tenant", house.with_token(within), NOT_ALLOWED),
        Caller("one who did administer", was, NOT_ALLOWED),
        Caller("a person nobody knows", house.with_token(unknown), NOT_ALLOWED),
    ]


def _services(ours: Company, method: MethodDescriptor, policy: MethodPolicy) -> Iterator[Caller]:
    house, tenant_id = ours.tenant.house, ours.tenant.tenant_id
    allowed = _allowed_services(method)
    for name in SERVICES:
        if name not in allowed:
            yield Caller(f"the service {name}", house.service(name, tenant_id), NOT_ALLOWED)
            yield Caller(f"the service {name} without a tenant", house.service(name), NOT_ALLOWED)
            continue
        elsewhere = house.mint.service(name, "elsewhere", tenant_id)
        yield Caller(f"{name} with a token for others", house.with_token(elsewhere), INVALID)
        other = house.service(name, tenant_id).with_metadata(("x-tenant-id", str(new_id())))
        yield Caller(f"{name} with another tenant's header", other, MISMATCH)
        if policy.method not in WHATEVER_TENANT:
            unknown = house.service(name, new_id())
            yield Caller(f"{name} in a tenant nobody knows", unknown, ("NOT_FOUND", "RESOURCE_NOT_FOUND"))


def _allowed_services(method: MethodDescriptor) -> list[str]:
    package = method.full_name.split(".")[1]
    allow_list = importlib.import_module(f"bulkhead_{package}.serving").ALLOWED
    full_name = f"{method.containing_service.full_name}/{method.name}"
    return [name for name in SERVICES if allow_list.allows(name, full_name)]


async def _disabled(house: House, ours: Company, policy: MethodPolicy) -> Client:
    """Her version is right, so that only her state stands in the way."""
    role = policy.least_role or Role.OWNER
    person = await _new_member(house, ours, role)
    await ours.client(Role.OWNER).identity.DisableMember(user_id=str(person.user_id))
    return house.member(person.user_id, ours.tenant.tenant_id, role, version=2)


async def _new_member(house: House, ours: Company, role: Role) -> Person:
    connection = await house.connection()
    person = await people.make_person(connection)
    await people.add_member(connection, ours.tenant.tenant_id, _owner(ours), person, role)
    return person


def _owner(company: Company) -> Person:
    return company.tenant.people[Role.OWNER]


def _unsigned(token: str) -> str:
    header, payload, signature = token.split(".")
    return f"{header}.{payload}.{'A' * len(signature)}"


def _transplanted(victim: str, own: str) -> str:
    """Another's claims under our own signature."""
    return ".".join([*victim.split(".")[:2], own.split(".")[2]])
