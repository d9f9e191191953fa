"""InviteMember and AcceptInvitation."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
import pytest
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id

from tests.identity.world import (
    PostOffice,
    as_owner,
    events,
    log_in,
    new_address,
    read_folder,
    set_plan,
    set_status,
    sign_up,
)
from tests.support.client import Client, reason_of, refused
from tests.support.house import House, Tenant


@pytest.fixture
async def tenant(house: House) -> Tenant:
    made = await house.tenant("invite")
    await set_plan(house.database, made.tenant_id, users=50)
    return made


async def invited(mails: PostOffice, tenant: Tenant, email: str, role: Role = Role.MEMBER) -> str:
    """The token of the mail."""
    await tenant.owner.identity.InviteMember(email=email, role=role.value)
    return [mail for mail in await mails.to(email) if "invites you" in mail.subject][-1].token


async def known_person(house: House) -> tuple[Client, str]:
    person = await house.person()
    return house.user(person.user_id), person.email


async def test_a_new_person_comes_in(house: House, mails: PostOffice, tenant: Tenant) -> None:
    email = new_address()
    invitation = await tenant.owner.identity.InviteMember(email=email.upper(), role=3)
    assert (invitation.role, invitation.state) == (3, 1)
    assert invitation.invited_by == str(tenant.people[Role.OWNER].user_id)
    (mail,) = await mails.to(email)
    assert mail.subject.startswith("Owner invites you to Invite-")
    await sign_up(house, mails, email)
    person, _ = await log_in(house, email)
    joined = await person.identity.AcceptInvitation(token=mail.token)
    assert (joined.tenant_id, joined.role) == (str(tenant.tenant_id), 3)
    chosen = await person.identity.SelectTenant(tenant_id=joined.tenant_id)
    await house.with_token(chosen.access_token.token).identity.ListMembers()
    captured = await events(house.database, invitation.invitation_id)
    assert [action for action, _, _ in captured] == ["invitation.created", "invitation.updated"]
    assert captured[1][2]["state"] == ["STATE_OPEN", "STATE_ACCEPTED"]
    assert mail.token not in str(captured)


async def test_accepting_again_gets_the_same_answer(house: House, mails: PostOffice, tenant: Tenant) -> None:
    person, email = await known_person(house)
    token, request_id = await invited(mails, tenant, email), str(new_id())
    first = await person.identity.AcceptInvitation(token=token, request_id=request_id)
    assert await person.identity.AcceptInvitation(token=token, request_id=request_id) == first
    assert await person.identity.AcceptInvitation(token=token) == first


async def test_it_is_for_the_invited_address_only(house: House, mails: PostOffice, tenant: Tenant) -> None:
    person, email = await known_person(house)
    token = await invited(mails, tenant, email)
    stranger, _ = await known_person(house)
    with refused("FAILED_PRECONDITION", "INVITATION_INVALID") as theirs:
        await stranger.identity.AcceptInvitation(token=token)
    with refused("FAILED_PRECONDITION", "INVITATION_INVALID") as nobodys:
        await stranger.identity.AcceptInvitation(token="A" * 43)
    assert theirs.status == nobodys.status
    with refused("UNAUTHENTICATED", "TOKEN_MISSING"):
        await house.nobody().identity.AcceptInvitation(token=token)
    await person.identity.AcceptInvitation(token=token)
    with refused("FAILED_PRECONDITION", "INVITATION_INVALID"):
        await stranger.identity.AcceptInvitation(token=token)


async def test_a_look_alike_is_not_the_invited_address(house: House, mails: PostOffice, tenant: Tenant) -> None:
    email = new_address("ivan")
    token = await invited(mails, tenant, email)
    other = "\u0130" + email.removeprefix("i")
    await sign_up(house, mails, other)
    stranger, _ = await log_in(house, other)
    with refused("FAILED_PRECONDITION", "INVITATION_INVALID"):
        await stranger.identity.AcceptInvitation(token=token)
    # And can be invited besides.
    await stranger.identity.AcceptInvitation(token=await invited(mails, tenant, other))


async def test_it_expires_and_gives_its_seat_back(house: House, mails: PostOffice, tenant: Tenant) -> None:
    await set_plan(house.database, tenant.tenant_id, users=6)
    person, email = await known_person(house)
    token = await invited(mails, tenant, email)
    with refused("RESOURCE_EXHAUSTED", "PLAN_LIMIT_REACHED"):
        await tenant.owner.identity.InviteMember(email=new_address(), role=2)
    async with as_owner(house.database) as connection:
        await connection.execute(
            "update identity.invitations set expires_at = now() where tenant_id = %s", (tenant.tenant_id,)
        )
    with refused("FAILED_PRECONDITION", "INVITATION_INVALID"):
        await person.identity.AcceptInvitation(token=token)
    # The same address can be invited anew.
    await person.identity.AcceptInvitation(token=await invited(mails, tenant, email))


async def test_one_open_invitation_an_address(house: House, tenant: Tenant) -> None:
    email = new_address()

    async def one() -> str:
        try:
            await tenant.owner.identity.InviteMember(email=email, role=2)
        except grpc.aio.AioRpcError as error:
            return reason_of(error)
        return "invited"

    assert sorted(await asyncio.gather(*(one() for _ in range(5)))) == ["ALREADY_TAKEN"] * 4 + ["invited"]
    for member in tenant.people.values():
        with refused("ALREADY_EXISTS", "ALREADY_TAKEN") as refusal:
            await tenant.owner.identity.InviteMember(email=member.email.upper(), role=2)
        assert refusal.metadata == {"field": "email"}


async def test_a_repeat_with_a_request_id_sends_one_mail(house: House, mails: PostOffice, tenant: Tenant) -> None:
    email, request_id = new_address(), str(new_id())
    replies = [await tenant.owner.identity.InviteMember(email=email, role=2, request_id=request_id) for _ in range(3)]
    assert replies[0] == replies[1] == replies[2]
    assert len(await mails.to(email)) == 1


@pytest.mark.parametrize("caller", list(Role), ids=lambda role: role.name.lower())
async def test_nobody_invites_above_herself(house: House, tenant: Tenant, caller: Role) -> None:
    for role in Role:
        call = tenant.member(caller).identity.InviteMember(email=new_address(), role=role.value)
        if caller < Role.ADMIN:
            with refused("PERMISSION_DENIED", "ROLE_TOO_LOW"):
                await call
        elif role > caller:
            with refused("PERMISSION_DENIED", "ROLE_ABOVE_OWN"):
                await call
        else:
            assert (await call).role == role


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"email": "nobody"}, "email"),
        ({"email": "a@b.example\r\nBcc: c@d.example"}, "email"),
        ({"role": 0}, "role"),
        ({"role": 9}, "role"),
        ({"request_id": "x"}, "request_id"),
    ],
)
async def test_what_is_wrong_is_named(house: House, tenant: Tenant, changed: dict[str, Any], field: str) -> None:
    with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
        await tenant.owner.identity.InviteMember(**{"email": new_address(), "role": 2, **changed})
    assert refusal.fields == [field]


async def test_a_disabled_member_does_not_come_back_by_an_old_invitation(
    house: House, mails: PostOffice, tenant: Tenant
) -> None:
    person, email = await known_person(house)
    token = await invited(mails, tenant, email)
    await person.identity.AcceptInvitation(token=token)
    members = (await tenant.owner.identity.ListMembers()).members
    user_id = max(member.user_id for member in members)
    await tenant.owner.identity.DisableMember(user_id=user_id)
    with refused("FAILED_PRECONDITION", "INVITATION_INVALID"):
        await person.identity.AcceptInvitation(token=token)
    with refused("ALREADY_EXISTS", "ALREADY_TAKEN"):
        await tenant.owner.identity.InviteMember(email=email, role=2)


@pytest.mark.parametrize("role", [Role.MEMBER, Role.ADMIN], ids=lambda role: role.name.lower())
async def test_it_is_worth_what_its_sender_may_do(house: House, mails: PostOffice, tenant: Tenant, role: Role) -> None:
    """An admin sends one to a second address of hers, and loses her rights."""
    person, email = await known_person(house)
    sender = str(tenant.people[Role.ADMIN].user_id)
    await tenant.member(Role.ADMIN).identity.InviteMember(email=email, role=role.value)
    token = [mail for mail in await mails.to(email) if "invites you" in mail.subject][-1].token

    async def refuses() -> None:
        with refused("FAILED_PRECONDITION", "INVITATION_INVALID") as refusal:
            await person.identity.AcceptInvitation(token=token)
        with refused("FAILED_PRECONDITION", "INVITATION_INVALID") as unknown:
            await person.identity.AcceptInvitation(token="A" * 43)
        assert refusal.status == unknown.status

    await tenant.owner.identity.DisableMember(user_id=sender)
    await refuses()
    await tenant.owner.identity.EnableMember(user_id=sender)
    await tenant.owner.identity.ChangeRole(user_id=sender, role=Role.MANAGER.value)
    await refuses()
    await tenant.owner.identity.ChangeRole(user_id=sender, role=Role.ADMIN.value)
    async with as_owner(house.database) as connection:
        await connection.execute("update identity.users set status = 'disabled' where user_id = %s", (sender,))
    await refuses()
    async with as_owner(house.database) as connection:
        await connection.execute("update identity.users set status = 'active' where user_id = %s", (sender,))
    assert (await person.identity.AcceptInvitation(token=token)).role == role
    # She is in: what becomes of the sender changes nothing of a repeat.
    await tenant.owner.identity.DisableMember(user_id=sender)
    assert (await person.identity.AcceptInvitation(token=token)).role == role


async def test_a_demoted_owner_makes_no_owner(house: House, mails: PostOffice, tenant: Tenant) -> None:
    person, email = await known_person(house)
    token = await invited(mails, tenant, email, Role.OWNER)
    other = str(tenant.people[Role.ADMIN].user_id)
    await tenant.owner.identity.ChangeRole(user_id=other, role=Role.OWNER.value)
    owner = str(tenant.people[Role.OWNER].user_id)
    second = house.member(tenant.people[Role.ADMIN].user_id, tenant.tenant_id, Role.OWNER, version=2)
    await second.identity.ChangeRole(user_id=owner, role=Role.ADMIN.value)
    with refused("FAILED_PRECONDITION", "INVITATION_INVALID"):
        await person.identity.AcceptInvitation(token=token)


async def test_suspended_and_deleted_tenants_take_nobody(house: House, mails: PostOffice, tenant: Tenant) -> None:
    person, email = await known_person(house)
    token = await invited(mails, tenant, email)
    await set_status(house.database, tenant.tenant_id, "suspended")
    with refused("FAILED_PRECONDITION", "TENANT_SUSPENDED"):
        await person.identity.AcceptInvitation(token=token)
    await set_status(house.database, tenant.tenant_id, "deleted")
    with refused("FAILED_PRECONDITION", "INVITATION_INVALID"):
        await person.identity.AcceptInvitation(token=token)
    await set_status(house.database, tenant.tenant_id, "active")
    await person.identity.AcceptInvitation(token=token)


async def test_seats_are_exact_when_many_accept_at_once(house: House, mails: PostOffice, tenant: Tenant) -> None:
    """The plan shrinks while a hundred invitations are out: ten may still come in."""
    await set_plan(house.database, tenant.tenant_id, users=200)
    people = [await known_person(house) for _ in range(100)]
    for _, email in people:
        await tenant.owner.identity.InviteMember(email=email, role=Role.MEMBER.value)
    await mails.to(people[0][1])
    sent = {mail.to: mail.token for mail in read_folder(mails.folder) if "invites you" in mail.subject}
    tokens = [sent[email] for _, email in people]
    await set_plan(house.database, tenant.tenant_id, users=15)

    async def accept(person: Client, token: str) -> str:
        try:
            await person.identity.AcceptInvitation(token=token)
        except grpc.aio.AioRpcError as error:
            return reason_of(error)
        return "joined"

    told = await asyncio.gather(*(accept(person, token) for (person, _), token in zip(people, tokens, strict=True)))
    assert sorted(told) == ["PLAN_LIMIT_REACHED"] * 90 + ["joined"] * 10
    active = [m for m in (await tenant.owner.identity.ListMembers(page_size=200)).members if m.state == 1]
    assert len(active) == 15


async def test_seats_are_exact_when_many_are_invited_at_once(house: House, tenant: Tenant) -> None:
    await set_plan(house.database, tenant.tenant_id, users=8)

    async def invite() -> str:
        try:
            await tenant.owner.identity.InviteMember(email=new_address(), role=2)
        except grpc.aio.AioRpcError as error:
            return reason_of(error)
        return "invited"

    assert sorted(await asyncio.gather(*(invite() for _ in range(12)))) == ["PLAN_LIMIT_REACHED"] * 9 + ["invited"] * 3
