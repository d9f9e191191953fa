"""Tokens of every kind, right and wrong, signed with the keys of one test house."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from bulkhead_kit import clock
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from bulkhead_kit.keyfiles import ACCESS, SERVICES, generate_keys, load_signer
from bulkhead_kit.services_auth import ServiceTokens
from bulkhead_kit.tokens import AccessClaims, Signer, sign_access

ISSUER = AUDIENCE = "bulkhead"
LASTS = 240


@dataclass(frozen=True)
class Mint:
    keys: Path
    access: Signer
    services: dict[str, ServiceTokens]

    @classmethod
    def open(cls, keys: Path) -> Mint:
        """Makes the keys that are missing."""
        generate_keys(keys)
        services = {name: ServiceTokens(name, load_signer(keys, name)) for name in SERVICES}
        return cls(keys, load_signer(keys, ACCESS), services)

    def person(
        self,
        user_id: UUID,
        *,
        tenant_id: UUID | None = None,
        role: Role | None = None,
        version: int = 1,
        session_id: UUID | None = None,
        lasts: int = LASTS,
        audience: str = AUDIENCE,
        issuer: str = ISSUER,
        platform_admin: bool = False,
        signer: Signer | None = None,
    ) -> str:
        """`lasts` below 0 is a token that has expired."""
        claims = AccessClaims(
            sub=user_id,
            sid=session_id or new_id(),
            exp=int(clock.unix()) + lasts,
            tid=tenant_id,
            role=role,
            mv=version if tenant_id else None,
            platform_admin=platform_admin,
        )
        if lasts > 0:
            return sign_access(signer or self.access, claims, issuer=issuer, audience=audience)
        # A life that is over: begun long enough ago to have been a valid one.
        with clock.replaced(_Earlier(LASTS - lasts)):
            return sign_access(signer or self.access, claims, issuer=issuer, audience=audience)

    def service(self, name: str, audience: str, tenant_id: UUID | None = None) -> str:
        return self.services[name].token(audience, tenant_id)


class _Earlier(clock.Clock):
    def __init__(self, seconds: int) -> None:
        self._seconds = seconds

    def unix(self) -> float:
        return super().unix() - self._seconds
