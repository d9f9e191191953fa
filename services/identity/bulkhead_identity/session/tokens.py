"""Access tokens, as this service gives them out."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from bulkhead_kit import clock
from bulkhead_kit.caller import Role
from bulkhead_kit.tokens import AccessClaims, Signer, sign_access

from bulkhead_identity.session.rules import Issued


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessTokens:
    signer: Signer
    issuer: str
    audience: str
    seconds: int

    def of_person(self, user_id: UUID, session_id: UUID, *, is_platform_admin: bool) -> Issued:
        return self._issue(AccessClaims(sub=user_id, sid=session_id, exp=self._end(), platform_admin=is_platform_admin))

    def of_member(
        self,
        user_id: UUID,
        session_id: UUID,
        tenant_id: UUID,
        role: Role,
        version: int,
        *,
        is_platform_admin: bool,
        ends_by: float,
    ) -> Issued:
        """Never outlives the token it is made from, or a stolen one could be renewed for as long as the session."""
        return self._issue(
            AccessClaims(
                sub=user_id,
                sid=session_id,
                exp=min(self._end(), int(ends_by)),
                tid=tenant_id,
                role=role,
                mv=version,
                platform_admin=is_platform_admin,
            )
        )

    def _end(self) -> int:
        return int(clock.unix()) + self.seconds

    def _issue(self, claims: AccessClaims) -> Issued:
        token = sign_access(self.signer, claims, issuer=self.issuer, audience=self.audience)
        return Issued(token, claims.exp)
