"""Members and invitations: who may change whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit.errors import FailedPrecondition, InvalidArgument, PermissionDenied, ResourceExhausted

VIEWER: Final = 1
OWNER: Final = 5


# By the contract's names without their prefix: what is stored.
ROLES: Final = {"VIEWER": 1, "MEMBER": 2, "MANAGER": 3, "ADMIN": 4, "OWNER": 5}
STATES: Final = {"ACTIVE": "active", "DISABLED": "disabled"}
INVITATION_STATES: Final = {"OPEN": "open", "ACCEPTED": "accepted", "REVOKED": "revoked", "EXPIRED": "expired"}
KINDS: Final = {"PERSON": "person", "SERVICE_ACCOUNT": "service", "PLACEHOLDER": "placeholder"}


class MemberRow(NamedTuple):
    user_id: str
    kind: str
    role: int
    status: str
    display_name: str
    avatar_url: str | None
    joined_at: int
    disabled_at: int | None
    disabled_by: str | None
    external_source: str | None
    external_id: str | None
    version: int
    left_at: int | None
    support_until: int | None


class InvitationRow(NamedTuple):
    invitation_id: str
    email: str | None
    """None: whoever had the address has closed their account."""
    role: int
    status: str
    expires_at: int
    created_at: int
    created_by: str | None
    accepted_at: int | None
    accepted_by: str | None
    revoked_at: int | None
    revoked_by: str | None


class Letterhead(NamedTuple):
    """What the mail of an invitation says about its sender."""

    tenant_name: str
    invited_by: str


class Joined(NamedTuple):
    tenant_id: str
    role: int


class Imported(NamedTuple):
    external_id: str
    user_id: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class NewInvitation:
    email: str
    role: int
    life: timedelta


@dataclass(frozen=True, slots=True)
class RoleChange:
    user_id: UUID
    role: int
    version: int | None
    """The version the change is meant for; None: any."""


@dataclass(frozen=True, slots=True)
class Author:
    external_id: str
    display_name: str
    avatar_url: str | None


def demand_not_above(own_role: int | None, role: int) -> None:
    """Nobody gives a role above her own or changes a member above herself."""
    if own_role is None or role > own_role:
        raise PermissionDenied(ErrorReason.ROLE_ABOVE_OWN, "the role is above the caller's own")


def demand_fitting(member: MemberRow, role: int) -> None:
    """What the kind of a member allows her to be."""
    if (member.kind == "placeholder" and role != VIEWER) or (member.kind == "service" and role == OWNER):
        raise FailedPrecondition(
            ErrorReason.STATE_NOT_ALLOWED,
            "a placeholder stays a viewer, and only a person can be an owner",
            metadata={"state": member.kind},
        )


def demand_not_left(member: MemberRow) -> None:
    """Who went by her own will is not fetched back by somebody else's."""
    if member.left_at is not None:
        raise FailedPrecondition(
            ErrorReason.STATE_NOT_ALLOWED,
            "she has left the tenant and comes back by an invitation",
            metadata={"state": "left"},
        )


def demand_mail(wait: float | None) -> None:
    """An invitation without a mail would be one that nobody can accept."""
    if wait is not None:
        raise ResourceExhausted(
            ErrorReason.RATE_LIMITED,
            "too many invitations to this address, or by the same person, wait before the next one",
            metadata={"limit": "invitations_address"},
            retry_after=wait,
        )


def demand_revocable(invitation: InvitationRow) -> None:
    if invitation.status != "open":
        raise FailedPrecondition(
            ErrorReason.STATE_NOT_ALLOWED,
            "the invitation is settled, there is nothing to take back",
            metadata={"state": invitation.status},
        )


def demand_distinct(authors: Sequence[Author]) -> None:
    seen: set[str] = set()
    for position, author in enumerate(authors):
        if author.external_id in seen:
            raise InvalidArgument.field(f"authors[{position}].external_id", "is in the list twice")
        seen.add(author.external_id)


def in_order(authors: Sequence[Author], members: Sequence[Imported]) -> list[Imported]:
    by_id = {member.external_id: member for member in members}
    return [by_id[author.external_id] for author in authors]
