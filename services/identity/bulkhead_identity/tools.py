"""What sign-up, login and passwords work with."""

from __future__ import annotations

from dataclasses import dataclass

from bulkhead_kit.db import Database

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
