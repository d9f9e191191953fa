"""Login and sessions: their facts and decisions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit.errors import Unauthenticated

NOBODY: Final = UUID(int=0)
"""The entity of a failed login with an address that nobody has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lives:
    """How long things last."""

    session: timedelta
    refresh_token: timedelta
    refresh_grace: timedelta
    device: timedelta
    verify_email: timedelta


class Credentials(NamedTuple):
    user_id: str
    password_hash: str
    is_active: bool
    is_platform_admin: bool


class OwnCredentials(NamedTuple):
    """Of a person whose session lasts: what to check the password against that she gives once more."""

    email: str
    full_name: str
    password_hash: str


class Rotation(NamedTuple):
    """What became of a refresh token: rotated, repeated, reused or invalid. Only the first two have an end."""

    outcome: str
    user_id: str | None
    session_id: str | None
    is_platform_admin: bool | None
    expires_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogIn:
    email: str
    address_key: str
    password: str
    device_token: str
    request_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a session begins with."""

    session_id: UUID
    user_id: str
    token_hash: bytes
    checked_hash: str
    """Of the password that was right; if it is another one by now, no session begins."""
    rehashed: str | None
    """The same password with the parameters of today."""
    device_is_known: bool


@dataclass(frozen=True, slots=True)
class Child:
    """The next refresh token of a session."""

    user_id: str
    session_id: str
    expires_at: int
    is_platform_admin: bool


@dataclass(frozen=True, slots=True)
class Issued:
    """An access token."""

    token: str
    expires_at: int
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    user_id: str
    session_id: str
    access: Issued
    refresh_token: str
    refresh_expires_at: int
    """Microseconds since 2000."""
    device_token: str
    """Empty where a session goes on."""


class Entry(NamedTuple):
    """A person's standing in a tenant she selects."""

    role: int
    version: int
    is_platform_admin: bool
    """As it is now, whatever the token says that she selects with."""


class SessionRow(NamedTuple):
    session_id: str
    created_at: int
    last_seen_at: int
    expires_at: int
    ip: str | None
    user_agent: str | None


def demand_session(lasts: bool) -> None:
    """An access token outlives its session by minutes, in which a thief is not to end the sessions of the owner."""
    if not lasts:
        raise Unauthenticated(ErrorReason.SESSION_ENDED, "the session has ended, log in again")


def demand_login(found: Credentials | None, password_is_right: bool) -> Credentials:
    """Only one who knows the password learns anything about the account."""
    if found is None or not password_is_right or not found.is_active:
        raise Unauthenticated(ErrorReason.CREDENTIALS_INVALID, "unknown e-mail or wrong password")
    return found


def demand_child(rotation: Rotation) -> Child:
    user_id, session_id, expires_at = rotation.user_id, rotation.session_id, rotation.expires_at
    if user_id is None or session_id is None or expires_at is None:
        raise Unauthenticated(ErrorReason.REFRESH_TOKEN_INVALID, "the refresh token is unknown, used or expired")
    return Child(user_id, session_id, expires_at, is_platform_admin=bool(rotation.is_platform_admin))
