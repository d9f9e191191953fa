"""Messages of MembershipService."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from bulkhead.identity.v1 import membership_pb2 as member_pb
from bulkhead.identity.v1 import membership_service_pb2 as pb
from bulkhead.rpc.v1 import options_pb2
from bulkhead_kit import texts as kit_texts
from bulkhead_kit.etags import etag, expected_version
from bulkhead_kit.ids import parse_id
from bulkhead_kit.wire import timestamp

from bulkhead_identity import texts
from bulkhead_identity.lookalikes import reads_like_support
from bulkhead_identity.membership import rules
from bulkhead_identity.membership.rules import (
    Author,
    Imported,
    InvitationRow,
    Joined,
    MemberRow,
    NewInvitation,
    RoleChange,
)
from bulkhead_identity.wire import MEMBER_KINDS, MEMBER_STATES

_NAMELESS: Final = "(imported author)"
_INVITATION_STATES = {
    stored: member_pb.Invitation.State.Value(f"STATE_{name}") for name, stored in rules.INVITATION_STATES.items()
}


def new_invitation(request: pb.InviteMemberRequest, life: timedelta) -> NewInvitation:
    return NewInvitation(texts.address(request.email, "email"), request.role, life)


def role_change(request: pb.ChangeRoleRequest) -> RoleChange:
    return RoleChange(parse_id(request.user_id, "user_id"), request.role, expected_version(request.etag))


def authors(request: pb.ImportMembersRequest) -> list[Author]:
    return [
        Author(
            external_id=kit_texts.name(author.external_id, f"authors[{position}].external_id"),
            display_name=_display_name(author.display_name, f"authors[{position}].display_name"),
            avatar_url=kit_texts.optional_line(author.avatar_url, f"authors[{position}].avatar_url") or None,
        )
        for position, author in enumerate(request.authors)
    ]


def _display_name(text: str, field: str) -> str:
    """An import is not lost for what somebody is called elsewhere."""
    found = kit_texts.name(text, field)
    return _NAMELESS if reads_like_support(found) else found


def member(row: MemberRow) -> member_pb.Member:
    return member_pb.Member(
        user_id=row.user_id,
        kind=MEMBER_KINDS[row.kind],
        role=options_pb2.Role.ValueType(row.role),
        state=MEMBER_STATES[row.status],
        display_name=row.display_name,
        avatar_url=row.avatar_url or "",
        join_time=timestamp(row.joined_at),
        disable_time=timestamp(row.disabled_at),
        disabled_by=row.disabled_by or "",
        external_source=row.external_source or "",
        external_id=row.external_id or "",
        etag=etag(row.version),
        leave_time=timestamp(row.left_at),
        is_support=row.support_until is not None,
    )


def members(rows: Iterable[MemberRow], next_page_token: str) -> pb.ListMembersResponse:
    return pb.ListMembersResponse(members=map(member, rows), next_page_token=next_page_token)


def invitation(row: InvitationRow) -> member_pb.Invitation:
    return member_pb.Invitation(
        invitation_id=row.invitation_id,
        email=row.email or "",
        role=options_pb2.Role.ValueType(row.role),
        state=_INVITATION_STATES[row.status],
        expire_time=timestamp(row.expires_at),
        create_time=timestamp(row.created_at),
        invited_by=row.created_by or "",
        accept_time=timestamp(row.accepted_at),
        accepted_by=row.accepted_by or "",
        revoke_time=timestamp(row.revoked_at),
        revoked_by=row.revoked_by or "",
    )


def invitations(rows: Iterable[InvitationRow], next_page_token: str) -> pb.ListInvitationsResponse:
    return pb.ListInvitationsResponse(invitations=map(invitation, rows), next_page_token=next_page_token)


def joined(row: Joined) -> pb.AcceptInvitationResponse:
    return pb.AcceptInvitationResponse(tenant_id=row.tenant_id, role=options_pb2.Role.ValueType(row.role))


def left(_: None) -> pb.LeaveTenantResponse:
    return pb.LeaveTenantResponse()


def imported(rows: Iterable[Imported]) -> pb.ImportMembersResponse:
    return pb.ImportMembersResponse(
        members=[
            member_pb.ImportedMember(external_id=row.external_id, user_id=row.user_id, is_new=row.is_new)
            for row in rows
        ]
    )
