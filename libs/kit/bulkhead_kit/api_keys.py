"""From an API key to the membership it stands for: asked of identity's database at every call.

Nothing is remembered here. A key that is revoked is refused from the next call on, and what a call was told is compared
again by the membership check of its transaction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple
from uuid import UUID

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from sqlalchemy import Integer, LargeBinary, SmallInteger, Text, bindparam, column, text
from sqlalchemy.dialects.postgresql import INET

from bulkhead_kit.caller import Caller, Role
from bulkhead_kit.db import Database, Query, Time
from bulkhead_kit.errors import Unauthenticated
from bulkhead_kit.moments import from_us_since_2000

PREFIX: Final = "bh_"
_form = re.compile(r"bh_[a-z2-7]{8}_[A-Za-z0-9_-]{43}", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class KeyOwner:
    """A service account, and the state of its membership that the call is let in with."""

    tenant_id: UUID
    user_id: UUID
    role: Role
    version: int
    expires_at: float | None = None
    """Of the key, in seconds since 1970; None: it lasts."""
    made_by: UUID | None = None
    """The person who made the key, whose share it takes."""


class _Found(NamedTuple):
    tenant_id: str
    user_id: str
    role: int
    version: int
    expires_at: int | None
    made_by: str


_FIND = Query(
    text("""
    select cast(tenant_id as text) as tenant_id, cast(user_id as text) as user_id, role, version, expires_at,
        cast(made_by as text) as made_by
    from identity.find_api_key(:secret_hash, :ip)
    """)
    .bindparams(bindparam("secret_hash", type_=LargeBinary), bindparam("ip", type_=INET))
    .columns(
        column("tenant_id", Text),
        column("user_id", Text),
        column("role", SmallInteger),
        column("version", Integer),
        column("expires_at", Time),
        column("made_by", Text),
    ),
    row=_Found,
)


class ApiKeyLookup:
    """The service's own role may run the one function of identity that finds a key; it cannot read any."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __call__(self, key: str, nobody: Caller) -> KeyOwner:
        """Raises Unauthenticated, in the same words whatever is wrong with the key."""
        if _form(key) is None:
            raise _invalid()
        secret_hash = sha256(key.encode()).digest()
        found = await self._database.read(nobody).one_or_none(_FIND, secret_hash=secret_hash, ip=nobody.ip)
        if found is None:
            raise _invalid()
        expires_at = None if found.expires_at is None else from_us_since_2000(found.expires_at).timestamp()
        return KeyOwner(
            UUID(found.tenant_id),
            UUID(found.user_id),
            Role(found.role),
            found.version,
            expires_at,
            UUID(found.made_by),
        )


def _invalid() -> Unauthenticated:
    # In the words of a token that is not valid: which of the two it was meant to be is nobody's business.
    return Unauthenticated(ErrorReason.TOKEN_INVALID, "the token is not valid")
