"""Another password: facts and decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit.errors import FailedPrecondition, InvalidArgument, Unauthenticated


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    token: str
    password: str
    request_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    current: str
    password: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A change whose passwords have been looked at."""

    session_id: UUID
    bucket: bytes
    checked_hash: str
    new_hash: str | None
    """None: the current password was wrong."""


class Owner(NamedTuple):
    """Of a token: whose password it changes, and the hash to check the given one against when it has been used."""

    email: str
    full_name: str
    password_hash: str | None


def demand_reset(owner: Owner | None) -> Owner:
    if owner is None:
        raise FailedPrecondition(ErrorReason.ONE_TIME_TOKEN_INVALID, "the token is unknown, used, expired or replaced")
    return owner


def demand_repeat(is_same: bool) -> None:
    if not is_same:
        raise InvalidArgument(
            ErrorReason.REQUEST_ID_REUSED, "request_id: used before with another request; make a new one"
        )


def demand_current(new_hash: str | None) -> str:
    """The new one is hashed only when the current one is right."""
    if new_hash is None:
        raise Unauthenticated(ErrorReason.CREDENTIALS_INVALID, "current_password is wrong")
    return new_hash
