"""What changes who belongs to a tenant."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from bulkhead_kit import clock, etags
from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database, Transaction
from bulkhead_kit.errors import AlreadyExists, NotFound
from bulkhead_kit.ids import new_id

from bulkhead_identity.derived import DerivedTokens, hash_of
from bulkhead_identity.membership import invitations, rules, store
from bulkhead_identity.membership.rules import (
    Author,
    Imported,
    InvitationRow,
    Joined,
    MemberRow,
    NewInvitation,
    RoleChange,
)


async def invite_member(tx: Transaction, derived: DerivedTokens, new: NewInvitation) -> InvitationRow:
    rules.demand_not_above(tx.caller.role, new.role)
    is_member, letterhead = await invitations.look_up_for_invitation(tx, new.email)
    if is_member:
        raise AlreadyExists.field("email", "the address is a member's already")
    invitation_id = new_id()
    row, wait = await invitations.invite(
        tx,
        invitation_id,
        letterhead,
        email=new.email,
        role=new.role,
        token_hash=hash_of(derived.invitation(invitation_id)),
        expires_at=clock.now() + new.life,
    )
    rules.demand_mail(wait)
    return row


async def accept_invitation(tx: Transaction, token: str) -> Joined:
    return await invitations.accept(tx, hash_of(token))


async def revoke_invitation(tx: Transaction, invitation_id: UUID) -> InvitationRow:
    """The tenant's limits are locked, so nobody accepts it between this look and the write."""
    invitation = _invitation(await invitations.load(tx, invitation_id))
    rules.demand_not_above(tx.caller.role, invitation.role)
    if invitation.status == "revoked":
        return invitation
    rules.demand_revocable(invitation)
    return _invitation(await invitations.revoke(tx, invitation_id))


async def change_role(tx: Transaction, change: RoleChange) -> MemberRow:
    member = await _changeable(tx, change.user_id)
    rules.demand_not_above(tx.caller.role, change.role)
    rules.demand_fitting(member, change.role)
    etags.demand(change.version, member.version)
    if member.role == change.role:
        return member
    return _found(await store.set_role(tx, change.user_id, change.role))


async def disable_member(tx: Transaction, user_id: UUID) -> MemberRow:
    return await _set_status(tx, user_id, "disabled")


async def enable_member(tx: Transaction, user_id: UUID) -> MemberRow:
    return await _set_status(tx, user_id, "active")


async def leave_tenant(tx: Transaction, tenant_id: UUID) -> None:
    await store.leave(tx, tenant_id)


async def import_members(database: Database, caller: Caller, source: str, authors: Sequence[Author]) -> list[Imported]:
    rules.demand_distinct(authors)
    async with database.transaction(caller, locks_limits=True) as tx:
        return rules.in_order(authors, await store.import_members(tx, source, authors))


async def _set_status(tx: Transaction, user_id: UUID, status: str) -> MemberRow:
    member = await _changeable(tx, user_id)
    if member.status == status:
        return member
    rules.demand_not_left(member)
    return _found(await store.set_status(tx, user_id, status))


async def _changeable(tx: Transaction, user_id: UUID) -> MemberRow:
    """The tenant's limits are locked, so nobody else changes the member between this look and the write."""
    member = _found(await store.load(tx, user_id))
    rules.demand_not_above(tx.caller.role, member.role)
    return member


def _found(member: MemberRow | None) -> MemberRow:
    if member is None:
        raise NotFound("member")
    return member


def _invitation(invitation: InvitationRow | None) -> InvitationRow:
    if invitation is None:
        raise NotFound("invitation")
    return invitation
