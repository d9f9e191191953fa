"""What sign-up, login and passwords work with."""

from __future__ import annotations

from dataclasses import dataclass

from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database
from bulkhead_kit.idempotency import Request

from bulkhead_identity.derived import DerivedTokens
from bulkhead_identity.passwords import Passwords
from bulkhead_identity.session.rules import Lives
from bulkhead_identity.session.tokens import AccessTokens
from bulkhead_identity.strength import Strength


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    database: Database
    passwords: Passwords
    strength: Strength
    access: AccessTokens
    derived: DerivedTokens
    lives: Lives

    def digest(self, caller: Caller, request: Request) -> bytes:
        """By which a repeat of a request with a password or an address in it is known; a guesser cannot compute it."""
        return self.derived.request_digest(caller.rpc, request.SerializeToString(deterministic=True))
