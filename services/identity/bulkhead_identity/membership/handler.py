"""MembershipService."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from bulkhead.identity.v1 import membership_pb2 as member_pb
from bulkhead.identity.v1 import membership_service_pb2 as pb
from bulkhead.identity.v1.membership_service_pb2_grpc import MembershipServiceServicer
from bulkhead_kit import texts
from bulkhead_kit.caller import current_caller
from bulkhead_kit.db import Database
from bulkhead_kit.errors import NotFound
from bulkhead_kit.ids import parse_id
from bulkhead_kit.metadata import TENANT_ID, malformed
from bulkhead_kit.page_tokens import PageTokens
from bulkhead_kit.paging import cut, page_of
from grpc.aio import ServicerContext

from bulkhead_identity.calls import PERSONAL_REQUEST_IDS, REQUEST_IDS, as_person
from bulkhead_identity.derived import DerivedTokens
from bulkhead_identity.membership import actions, invitations, store, wire

Context = ServicerContext[Any, Any]


class MembershipHandler(MembershipServiceServicer):
    def __init__(
        self, database: Database, page_tokens: PageTokens, derived: DerivedTokens, invitation_life: timedelta
    ) -> None:
        self._database = database
        self._page_tokens = page_tokens
        self._derived = derived
        self._invitation_life = invitation_life

    async def InviteMember(self, request: pb.InviteMemberRequest, _context: Context) -> member_pb.Invitation:
        new = wire.new_invitation(request, self._invitation_life)
        return await REQUEST_IDS.once(
            self._database,
            current_caller(),
            request,
            member_pb.Invitation,
            lambda tx: actions.invite_member(tx, self._derived, new),
            wire.invitation,
            locks_limits=True,
        )

    async def RevokeInvitation(self, request: pb.RevokeInvitationRequest, _context: Context) -> member_pb.Invitation:
        invitation_id = parse_id(request.invitation_id, "invitation_id")
        return await REQUEST_IDS.once(
            self._database,
            current_caller(),
            request,
            member_pb.Invitation,
            lambda tx: actions.revoke_invitation(tx, invitation_id),
            wire.invitation,
            locks_limits=True,
        )

    async def ListInvitations(
        self, request: pb.ListInvitationsRequest, _context: Context
    ) -> pb.ListInvitationsResponse:
        caller = current_caller()
        asked = invitations.FILTERS.parse(request.filter, words={"me": str(caller.user_id)})
        page = page_of(self._page_tokens, caller, request, request.filter)
        rows = await invitations.list_invitations(self._database.read(caller), asked, page.after, page.size + 1)
        return wire.invitations(*cut(rows, page, lambda row: (row.invitation_id,)))

    async def AcceptInvitation(
        self, request: pb.AcceptInvitationRequest, _context: Context
    ) -> pb.AcceptInvitationResponse:
        return await PERSONAL_REQUEST_IDS.once(
            self._database,
            as_person(current_caller()),
            request,
            pb.AcceptInvitationResponse,
            lambda tx: actions.accept_invitation(tx, request.token),
            wire.joined,
        )

    async def LeaveTenant(self, request: pb.LeaveTenantRequest, _context: Context) -> pb.LeaveTenantResponse:
        tenant_id = parse_id(request.tenant_id, "tenant_id")
        return await PERSONAL_REQUEST_IDS.once(
            self._database,
            as_person(current_caller()),
            request,
            pb.LeaveTenantResponse,
            lambda tx: actions.leave_tenant(tx, tenant_id),
            wire.left,
        )

    async def GetMember(self, request: pb.GetMemberRequest, _context: Context) -> member_pb.Member:
        row = await store.load(self._database.read(current_caller()), parse_id(request.user_id, "user_id"))
        if row is None:
            raise NotFound("member")
        return wire.member(row)

    async def ListMembers(self, request: pb.ListMembersRequest, _context: Context) -> pb.ListMembersResponse:
        caller = current_caller()
        asked = store.FILTERS.parse(request.filter, words={"me": str(caller.user_id)})
        page = page_of(self._page_tokens, caller, request, request.filter)
        rows = await store.list_members(self._database.read(caller), asked, page.after, page.size + 1)
        return wire.members(*cut(rows, page, lambda row: (row.user_id,)))

    async def ChangeRole(self, request: pb.ChangeRoleRequest, _context: Context) -> member_pb.Member:
        change = wire.role_change(request)
        return await REQUEST_IDS.once(
            self._database,
            current_caller(),
            request,
            member_pb.Member,
            lambda tx: actions.change_role(tx, change),
            wire.member,
            locks_limits=True,
        )

    async def DisableMember(self, request: pb.DisableMemberRequest, _context: Context) -> member_pb.Member:
        user_id = parse_id(request.user_id, "user_id")
        return await REQUEST_IDS.once(
            self._database,
            current_caller(),
            request,
            member_pb.Member,
            lambda tx: actions.disable_member(tx, user_id),
            wire.member,
            locks_limits=True,
        )

    async def EnableMember(self, request: pb.EnableMemberRequest, _context: Context) -> member_pb.Member:
        user_id = parse_id(request.user_id, "user_id")
        return await REQUEST_IDS.once(
            self._database,
            current_caller(),
            request,
            member_pb.Member,
            lambda tx: actions.enable_member(tx, user_id),
            wire.member,
            locks_limits=True,
        )

    async def ImportMembers(self, request: pb.ImportMembersRequest, _context: Context) -> pb.ImportMembersResponse:
        caller = current_caller()
        if caller.tenant_id is None:
            raise malformed(TENANT_ID, "must name the tenant the authors belong to")
        source = texts.name(request.external_source, "external_source")
        return wire.imported(await actions.import_members(self._database, caller, source, wire.authors(request)))
