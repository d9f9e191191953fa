"""Sign-up: its facts and decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit.errors import FailedPrecondition


@dataclass(frozen=True, slots=True, kw_only=True)
class SignUp:
    email: str
    full_name: str
    password: str
    request_id: UUID | None
    digest: bytes | None
    """Of the request, when it has a request_id."""


class Tried(NamedTuple):
    """A try of a token: the hash to check the given password against, none for a token that is worth nothing."""

    password_hash: str | None
    used_by: str | None
    """The address of the account whose hash it is, when this very request has used the token already."""


def demand_sign_up(password_is_right: bool) -> None:
    """Who reads the mail of a sign-up that was not hers proves nothing by it, and gives nobody her address."""
    if not password_is_right:
        raise FailedPrecondition(
            ErrorReason.ONE_TIME_TOKEN_INVALID,
            "the token is unknown, used, expired, replaced or tried too often, or the password is not the sign-up's",
        )
