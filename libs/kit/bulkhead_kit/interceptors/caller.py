"""The step caller: from what came with a call to the Caller who asks. What this file believes, everything believes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import unquote
from uuid import UUID

import grpc.aio
from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead.rpc.v1.options_pb2 import Scope

from bulkhead_kit.api_keys import PREFIX as API_KEY_PREFIX
from bulkhead_kit.api_keys import KeyOwner
from bulkhead_kit.caller import Caller
from bulkhead_kit.errors import Unauthenticated
from bulkhead_kit.interceptors.call import Call
from bulkhead_kit.metadata import CallMetadata
from bulkhead_kit.rates.refusals import Refusals
from bulkhead_kit.services_auth import Authenticator, ServiceClaims
from bulkhead_kit.tokens import AccessClaims

GATEWAY: Final = "gateway"

Context = grpc.aio.ServicerContext[Any, Any]
ApiKeys = Callable[[str, Caller], Awaitable[KeyOwner]]
"""From an API key and who sent it, nobody as yet, to the membership it stands for; raises Unauthenticated."""


class Callers:
    def __init__(
        self, authenticator: Authenticator, *, api_keys: ApiKeys | None = None, refusals: Refusals | None = None
    ) -> None:
        self._authenticator = authenticator
        self._api_keys = api_keys
        self._refusals = refusals

    def known(self, call: Call, found: CallMetadata, context: Context) -> Caller | None:
        """Without waiting for anything; None for an API key, which has to be looked up."""
        call.ip, call.user_agent = _origin(found, context, by_gateway=False)
        token = found.token
        if token is None:
            return _anonymous(call, found)
        if token.startswith(API_KEY_PREFIX):
            # Where nobody has to be known, nobody's key is looked up either.
            return _anonymous(call, found) if call.policy.scope == Scope.SCOPE_PUBLIC else None
        try:
            claims = self._authenticator.recall(token) or self._look_at(token, call)
            if claims is None:
                return _anonymous(call, found)
            if isinstance(claims, ServiceClaims):
                return _service(claims, call, found, context)
            return _member(claims, call, found)
        except Unauthenticated as error:
            if call.policy.scope != Scope.SCOPE_PUBLIC:
                raise
            # Who logs in or refreshes may well send the expired token along: there it proves and spoils nothing.
            if self._refusals is not None and error.reason == ErrorReason.TOKEN_INVALID:
                self._refusals.count(call.ip)
            return _anonymous(call, found)

    def _look_at(self, token: str, call: Call) -> AccessClaims | ServiceClaims | None:
        """None where the token of an address with too many bad ones need not be looked at. Raises RATE_LIMITED where it
        would have to be."""
        if self._refusals is not None:
            if call.policy.scope == Scope.SCOPE_PUBLIC and self._refusals.is_over(call.ip):
                return None
            self._refusals.demand_look(call.ip)
        return self._authenticator.verify(token)

    async def by_key(self, call: Call, found: CallMetadata, context: Context) -> Caller:
        if self._api_keys is None:
            raise Unauthenticated(ErrorReason.TOKEN_INVALID, "this server takes no API keys")
        nobody = _anonymous(call, found)
        owner = await self._api_keys(found.token or "", nobody)
        _demand_tenant(found, owner.tenant_id)
        return replace(
            nobody,
            actor_type="service_account",
            tenant_id=owner.tenant_id,
            user_id=owner.user_id,
            role=owner.role,
            membership_version=owner.version,
            token_expires_at=owner.expires_at,
            made_by=owner.made_by,
        )


def _anonymous(call: Call, found: CallMetadata) -> Caller:
    return Caller(
        actor_type="anonymous",
        rpc=call.policy.method,
        request_id=found.request_id,
        deadline=call.deadline,
        ip=call.ip,
        user_agent=call.user_agent,
        allowed_while_suspended=call.policy.allowed_while_suspended,
    )


def _demand_tenant(found: CallMetadata, tenant_id: UUID | None) -> None:
    """Whoever names a tenant besides, has to name the same one."""
    if found.tenant_id is not None and found.tenant_id != tenant_id:
        if tenant_id is None:
            raise Unauthenticated(ErrorReason.TENANT_NOT_SELECTED, "the token names no tenant, call SelectTenant")
        raise Unauthenticated(ErrorReason.TENANT_MISMATCH, "the tenant of the metadata is not the token's")


def _member(claims: AccessClaims, call: Call, found: CallMetadata) -> Caller:
    _demand_tenant(found, claims.tid)
    return Caller(
        actor_type="person",
        rpc=call.policy.method,
        request_id=found.request_id,
        deadline=call.deadline,
        tenant_id=claims.tid,
        user_id=claims.sub,
        role=claims.role,
        membership_version=claims.mv,
        session_id=claims.sid,
        token_expires_at=claims.exp,
        ip=call.ip,
        user_agent=call.user_agent,
        is_platform_admin=claims.platform_admin,
        allowed_while_suspended=call.policy.allowed_while_suspended,
    )


def _service(claims: ServiceClaims, call: Call, found: CallMetadata, context: Context) -> Caller:
    if claims.tid is not None and found.tenant_id != claims.tid:
        raise Unauthenticated(ErrorReason.TENANT_MISMATCH, "the tenant of the metadata is not the token's")
    if claims.service == GATEWAY:
        call.ip, call.user_agent = _origin(found, context, by_gateway=True)
    return Caller(
        actor_type="service",
        rpc=call.policy.method,
        request_id=found.request_id,
        deadline=call.deadline,
        tenant_id=found.tenant_id,
        service=claims.service,
        ip=call.ip,
        user_agent=call.user_agent,
    )


def peer_address(context: Context) -> str | None:
    """Of a call whose metadata could not be read."""
    return _peer_address(context.peer())


def _origin(found: CallMetadata, context: Context, *, by_gateway: bool) -> tuple[str | None, str | None]:
    """Address and user agent. Anybody can write the forwarded ones, so only the gateway's are believed."""
    forwarded = found.forwarded_for is not None or found.forwarded_user_agent is not None
    if forwarded and (by_gateway or _is_gateway(context)):
        ip = _last_address(found.forwarded_for) if found.forwarded_for is not None else None
        return ip or _peer_address(context.peer()), found.forwarded_user_agent or found.user_agent
    return _peer_address(context.peer()), found.user_agent


def _is_gateway(context: Context) -> bool:
    """By its certificate, which the transport has checked against our authority."""
    proved = context.auth_context()
    names = proved.get("x509_subject_alternative_name") or proved.get("x509_common_name") or ()
    return GATEWAY.encode() in names


@lru_cache(maxsize=4096)
def _last_address(forwarded_for: str) -> str | None:
    """The entry the gateway has added itself; the ones before it are the client's word."""
    return _address(forwarded_for.rpartition(",")[2].strip())


@lru_cache(maxsize=4096)
def _peer_address(peer: str) -> str | None:
    """From grpc's "ipv4:127.0.0.1:4711" or "ipv6:%5B::1%5D:4711"; None for a unix socket."""
    kind, _, rest = unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return None
    return _address(rest.rpartition(":")[0].strip("[]"))


def _address(text: str) -> str | None:
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # How a socket of both kinds shows a caller by IPv4: one address has one spelling, or ranges of it do not hold.
    return str(getattr(found, "ipv4_mapped", None) or found)
