"""API keys: what they look like and where they may be used from."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from ipaddress import ip_network
from typing import Final, NamedTuple
from uuid import UUID

from bulkhead_kit.errors import InvalidArgument

# By the contract's names without their prefix: what is stored or computed.
ROLES: Final = {"VIEWER": 1, "MEMBER": 2, "MANAGER": 3, "ADMIN": 4}
STATES: Final = {
    "ACTIVE": "active",
    "ACCOUNT_DISABLED": "account_disabled",
    "MAKER_DISABLED": "maker_disabled",
    "EXPIRED": "expired",
    "REVOKED": "revoked",
}
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_PREFIX_LETTERS: Final = 8
_SECRET_BYTES: Final = 32
_IPV4_IN_IPV6: Final = ip_network("::ffff:0:0/96")


class ApiKeyRow(NamedTuple):
    api_key_id: str
    user_id: str
    display_name: str
    prefix: str
    role: int
    effective_role: int
    state: str
    ip_ranges: list[str]
    expires_at: int | None
    last_used_at: int | None
    created_at: int
    created_by: str | None
    revoked_at: int | None
    revoked_by: str | None


@dataclass(frozen=True, slots=True)
class NewKey:
    display_name: str
    role: int | None
    """Of the new account; None: the key is for one that is there."""
    user_id: UUID | None
    expires_at: datetime | None
    ip_ranges: Sequence[str]


@dataclass(frozen=True, slots=True)
class Secret:
    """A key as it is shown once."""

    text: str
    prefix: str

    @property
    def hash(self) -> bytes:
        """What is stored. Services ask with the hash of the key, so that what is stored is the hash of that one.

        256 bits of chance need no salt and no slow hash.
        """
        return sha256(sha256(self.text.encode()).digest()).digest()


def new_secret() -> Secret:
    prefix = "bh_" + "".join(secrets.choice(_LETTERS) for _ in range(_PREFIX_LETTERS))
    return Secret(f"{prefix}_{secrets.token_urlsafe(_SECRET_BYTES)}", prefix)


def demand_one_account(role: int, user_id: UUID | None) -> None:
    """Either the role of a new one or an old one, whose role the key cannot change."""
    if user_id is None and not role:
        raise InvalidArgument.field("role", "is required, unless user_id names a service account that is there")
    if user_id is not None and role:
        raise InvalidArgument.field("role", "must not be set when user_id is: the key has the account's role")


def demand_later(moment: datetime | None, now: datetime) -> None:
    if moment is not None and moment <= now:
        raise InvalidArgument.field("expire_time", "must be in the future")


def networks(texts: Sequence[str]) -> list[str]:
    """Each in its one form. A network with bits beyond its prefix is a slip of who wrote it."""
    return [_network(text, f"ip_ranges[{position}]") for position, text in enumerate(texts)]


def _network(text: str, field: str) -> str:
    try:
        found = ip_network(text)
    except ValueError:
        raise InvalidArgument.field(
            field, "must be an address or a network such as 203.0.113.0/24, without bits beyond its prefix"
        ) from None
    if "%" in text or (found.version == 6 and found.overlaps(_IPV4_IN_IPV6) and found.prefixlen > 0):
        raise InvalidArgument.field(field, "must be without a zone, and in the form of IPv4 where it is IPv4")
    return str(found)
