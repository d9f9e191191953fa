"""How services know each other: each signs short tokens with a key of its own, and each lists who may call what.

A service's key is named `<service>:<thumbprint>`, and a token's issuer must be that service: a stolen key of one
speaks for no other. Keys are files, `<name>.private.pem` and `<name>.public.pem`; to rotate, the public file holds
the new key and the old one for a while.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason

from bulkhead_kit import clock
from bulkhead_kit.errors import PermissionDenied
from bulkhead_kit.ids import new_id
from bulkhead_kit.keysets import KeySet
from bulkhead_kit.tokens import AccessClaims, Json, Signer, Verifier, integer, invalid, read_header, uuid

SERVICE_TYP: Final = "svc+jwt"
LIFETIME: Final = 60
_RENEW_BEFORE: Final = 10
_KEPT: Final = 1024


@dataclass(frozen=True, slots=True)
class ServiceClaims:
    service: str
    exp: int
    tid: UUID | None = None
    """When set, the token works within this tenant only."""


class ServiceTokens:
    """The tokens a service shows to others. One is used again until shortly before its end."""

    def __init__(self, service: str, signer: Signer) -> None:
        if owner_of(signer.kid) != service:
            raise ValueError(f"key {signer.kid} does not belong to {service}")
        self.service = service
        self._signer = signer
        self._kid = signer.kid
        self._kept: OrderedDict[tuple[str, UUID | None], tuple[float, str]] = OrderedDict()

    def token(self, audience: str, tenant: UUID | None = None) -> str:
        now = clock.unix()
        self._signer.refresh()
        if self._kid != self._signer.kid:
            # The old key may be forgotten before its tokens end.
            self._kept.clear()
            self._kid = self._signer.kid
        renew_at, token = self._kept.get((audience, tenant), (0.0, ""))
        if now >= renew_at:
            token = self._signed(audience, tenant, int(now))
            self._kept[audience, tenant] = (int(now) + LIFETIME - _RENEW_BEFORE, token)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return token

    def _signed(self, audience: str, tenant: UUID | None, now: int) -> str:
        claims: dict[str, object] = {
            "iss": self.service,
            "aud": audience,
            "iat": now,
            "exp": now + LIFETIME,
            "jti": str(new_id()),
        }
        if tenant is not None:
            claims["tid"] = str(tenant)
        return self._signer.sign(claims, SERVICE_TYP)


def service_verifier(keys: KeySet, *, audience: str) -> Verifier[ServiceClaims]:
    """`audience` is the name of the service that is called."""
    return Verifier(
        keys, issuer=owner_of, audience=audience, typ=SERVICE_TYP, parse=_service_claims, max_lifetime=LIFETIME
    )


def owner_of(kid: str) -> str:
    return kid.partition(":")[0]


def _service_claims(payload: Json) -> ServiceClaims:
    issuer = payload.get("iss")
    if not isinstance(issuer, str) or not issuer:
        invalid()
    tenant = uuid(payload, "tid") if "tid" in payload else None
    return ServiceClaims(service=issuer, exp=integer(payload, "exp"), tid=tenant)


class Authenticator:
    """Tells people's tokens from services' by their type and verifies each with its own keys."""

    def __init__(self, people: Verifier[AccessClaims], services: Verifier[ServiceClaims]) -> None:
        self._people = people
        self._services = services

    def recall(self, token: str) -> AccessClaims | ServiceClaims | None:
        """Of a token that was verified before."""
        return self._people.recall(token) or self._services.recall(token)

    def verify(self, token: str) -> AccessClaims | ServiceClaims:
        # The type is not believed here: it only says which verifier is to check it.
        if read_header(token).get("typ") == SERVICE_TYP:
            return self._services.verify(token)
        return self._people.verify(token)


class ServiceAllowList:
    """Which services may call which methods of this server; written in the server's code, checked at its start."""

    def __init__(self, methods_by_service: Mapping[str, Iterable[str]]) -> None:
        self._allowed = frozenset(
            (service, method) for service, methods in methods_by_service.items() for method in methods
        )

    def allows(self, service: str, method: str) -> bool:
        return (service, method) in self._allowed

    def check(self, service: str, method: str) -> None:
        if not self.allows(service, method):
            raise PermissionDenied(ErrorReason.CALLER_NOT_ALLOWED, "this service may not call this method")

    def demand_known(self, methods: Iterable[str]) -> None:
        """A method that does not exist is a typing error that would lock a service out, found at start."""
        unknown = sorted({method for _, method in self._allowed} - set(methods))
        if unknown:
            raise ValueError(f"the allow list names methods this server does not have: {', '.join(unknown)}")
