"""How many mails one address gets that anybody can cause, and who still has her own."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import pairwise
from uuid import UUID

import grpc.aio
import psycopg
import pytest
from bulkhead_identity.mail_ask.actions import answer_asks
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from google.rpc import error_details_pb2

from tests.identity.world import (
    PASSWORD,
    PostOffice,
    as_owner,
    as_role,
    new_address,
    pass_time,
    set_plan,
    sign_up,
)
from tests.support import people
from tests.support.callers import worker_caller
from tests.support.client import refused
from tests.support.house import House, Tenant

NEW = "seven quiet otters dancing"
CONFIRM, KNOWN, RESET = "Confirm your e-mail address", "You have an account already", "Choose a new password"
BURST = 5
EVERY = 96


async def subjects(mails: PostOffice, email: str) -> list[str]:
    return [mail.subject for mail in await mails.to(email)]


async def sign_up_again(house: House, email: str, times: int, request_id: str = "") -> set[bytes]:
    """What it is told."""
    request = {"email": email, "password": PASSWORD, "full_name": "Ann", "request_id": request_id}
    return {(await house.nobody().identity.SignUp(**request)).SerializeToString() for _ in range(times)}


async def let_ask_again(house: House) -> None:
    """As if the mails had been asked for an hour ago, and no more could be sent for that."""
    async with as_owner(house.database) as connection:
        await connection.execute("update identity.mail_asks set mailed_at = mailed_at - interval '1 hour'")


class TestSignUp:
    async def test_known_and_unknown_addresses_get_five_and_the_same_answer(
        self, house: House, mails: PostOffice
    ) -> None:
        known, unknown = new_address(), new_address()
        await sign_up(house, mails, known)
        # Capitals are no way round.
        said = [await sign_up_again(house, email, 3) for email in (known, known.upper(), unknown, unknown.upper())]
        assert said == [{b""}] * 4
        assert await subjects(mails, known) == [CONFIRM] + [KNOWN] * BURST
        sent = await mails.to(unknown)
        assert [mail.subject for mail in sent] == [CONFIRM] * BURST
        await house.nobody().identity.VerifyEmail(token=sent[-1].token, password=PASSWORD)

    async def test_what_was_not_mailed_can_be_asked_for_later(self, house: House, mails: PostOffice) -> None:
        """The sign-up counts, only its mail is missing."""
        email = new_address()
        await sign_up_again(house, email, BURST)
        await house.nobody().identity.SignUp(email=email, password=NEW, full_name="Ann")
        await house.nobody().identity.ResendVerification(email=email)
        assert len(await mails.to(email)) == BURST
        await pass_time(house.database, EVERY)
        await house.nobody().identity.ResendVerification(email=email)
        sent = await mails.to(email)
        assert len(sent) == BURST + 1
        await house.nobody().identity.VerifyEmail(token=sent[-1].token, password=NEW)

    async def test_a_repeat_is_known_mailed_or_not_and_costs_nothing(self, house: House, mails: PostOffice) -> None:
        email, request_id = new_address(), str(new_id())
        await sign_up_again(house, email, 2, request_id=str(new_id()))
        await sign_up_again(house, email, BURST - 1)
        assert await sign_up_again(house, email, 2, request_id) == {b""}
        with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
            await house.nobody().identity.SignUp(email=email, password=NEW, full_name="Ann", request_id=request_id)
        assert len(await mails.to(email)) == BURST

    async def test_fifty_at_once_are_five(self, house: House, mails: PostOffice) -> None:
        email, room = new_address(), asyncio.Semaphore(20)

        async def one() -> None:
            async with room, as_role(house.database, "bulkhead_identity_app") as connection:
                await connection.execute(
                    "select identity.sign_up(gen_random_uuid(), %s, 'Ann', '$argon2id$x', gen_random_uuid(),"
                    " sha256(gen_random_uuid()::text::bytea), '1 hour', gen_random_uuid(), null)",
                    (email,),
                )

        await asyncio.gather(*(one() for _ in range(50)))
        async with as_owner(house.database) as connection:
            cursor = await connection.execute(
                "select count(*) filter (where failed_at is null), count(*) from identity.mails where to_address = %s",
                (email,),
            )
            assert await cursor.fetchone() == (BURST, 50)
        assert len(await mails.to(email)) == BURST


class TestAsked:
    async def test_one_too_many_leaves_the_last_mail_as_it_was(self, house: House, mails: PostOffice) -> None:
        email = new_address()
        await sign_up(house, mails, email)
        for _ in range(BURST + 2):
            await house.nobody().identity.RequestPasswordReset(email=email)
            await answer_asks(mails.answering, worker_caller())
            await let_ask_again(house)
        sent = await mails.to(email)
        assert [mail.subject for mail in sent] == [CONFIRM] + [RESET] * BURST
        await house.nobody().identity.ResetPassword(token=sent[-1].token, new_password=NEW)

    async def test_one_kind_does_not_use_up_another(self, house: House, mails: PostOffice) -> None:
        """Who signs up in her name without end does not keep the owner from a new password."""
        email = new_address()
        await sign_up(house, mails, email)
        await sign_up_again(house, email, 6)
        await house.nobody().identity.RequestPasswordReset(email=email)
        assert (await subjects(mails, email))[-1] == RESET
        await let_ask_again(house)
        await house.nobody().identity.ResendVerification(email=email)
        assert (await subjects(mails, email)).count(KNOWN) == BURST

    async def test_fifty_at_once_before_four_workers_are_one(self, house: House, mails: PostOffice) -> None:
        email = new_address()
        await sign_up(house, mails, email)
        await sign_up_again(house, email, BURST - 1)
        await asyncio.gather(*(house.nobody().identity.ResendVerification(email=email) for _ in range(50)))
        await asyncio.gather(*(answer_asks(mails.answering, worker_caller()) for _ in range(4)))
        assert (await subjects(mails, email)).count(KNOWN) == BURST
        async with as_owner(house.database) as connection:
            cursor = await connection.execute("select count(*) from identity.mail_asks where answered_at is null")
            assert await cursor.fetchone() == (0,)


class TestInvitations:
    @pytest.fixture
    async def tenant(self, house: House) -> Tenant:
        made = await house.tenant("bombs")
        await set_plan(house.database, made.tenant_id, users=20)
        return made

    async def invite_and_revoke(self, tenant: Tenant, email: str) -> None:
        made = await tenant.owner.identity.InviteMember(email=email, role=2)
        await tenant.owner.identity.RevokeInvitation(invitation_id=made.invitation_id)

    async def test_the_sixth_of_a_tenant_is_refused(self, house: House, mails: PostOffice, tenant: Tenant) -> None:
        email = new_address()
        for _ in range(BURST):
            await self.invite_and_revoke(tenant, email)
        with refused("RESOURCE_EXHAUSTED", "RATE_LIMITED") as refusal:
            await tenant.member(Role.ADMIN).identity.InviteMember(email=email.upper(), role=2)
        assert refusal.metadata["limit"] == "invitations_address"
        wait = error_details_pb2.RetryInfo()
        assert any(detail.Unpack(wait) for detail in refusal.status.details)
        assert EVERY * 60 - 60 < wait.retry_delay.seconds <= EVERY * 60
        # Neither a mail nor an invitation is left of it.
        assert len(await mails.to(email)) == BURST
        page = await tenant.owner.identity.ListInvitations(filter='state = "OPEN"')
        assert [one.email for one in page.invitations] == []
        # Others are not kept waiting: another address, another tenant.
        await tenant.owner.identity.InviteMember(email=new_address(), role=2)
        other = await house.tenant("others")
        await set_plan(house.database, other.tenant_id, users=20)
        await other.owner.identity.InviteMember(email=email, role=2)
        await pass_time(house.database, EVERY)
        await self.invite_and_revoke(tenant, email)
        with refused("RESOURCE_EXHAUSTED", "RATE_LIMITED"):
            await tenant.owner.identity.InviteMember(email=email, role=2)
        assert len(await mails.to(email)) == BURST + 2

    async def test_one_person_has_five_for_an_address_over_all_tenants(
        self, house: House, mails: PostOffice, tenant: Tenant
    ) -> None:
        email, connection, person = new_address(), await house.connection(), tenant.people[Role.OWNER]
        others = [await people.make_tenant(connection, person, slug=f"b-{new_id().hex[-12:]}") for _ in range(8)]
        owners = [house.member(person.user_id, tenant_id, Role.OWNER) for tenant_id in others]
        for owner in owners[:BURST]:
            await owner.identity.InviteMember(email=email, role=2)
        for owner in owners[BURST:]:
            with refused("RESOURCE_EXHAUSTED", "RATE_LIMITED"):
                await owner.identity.InviteMember(email=email, role=2)
        assert len(await mails.to(email)) == BURST

    async def test_an_address_gets_twenty_whoever_invites_it(
        self, house: House, mails: PostOffice, tenant: Tenant
    ) -> None:
        email, connection = new_address(), await house.connection()
        for _ in range(6):
            person = await house.person()
            tenant_id = await people.make_tenant(connection, person, slug=f"b-{new_id().hex[-12:]}")
            owner = house.member(person.user_id, tenant_id, Role.OWNER)
            for _ in range(4):
                with suppress(grpc.aio.AioRpcError):
                    made = await owner.identity.InviteMember(email=email, role=2)
                    await owner.identity.RevokeInvitation(invitation_id=made.invitation_id)
        assert len(await mails.to(email)) == 20

    async def test_one_person_invites_five_hundred_an_hour(self, house: House, tenant: Tenant) -> None:
        person = tenant.people[Role.OWNER].user_id
        async with as_owner(house.database) as connection:
            await connection.execute(
                "insert into identity.mail_limits (bucket, free_at)"
                " values (sha256(convert_to('invitations by ' || %s, 'UTF8')), now() + interval '1 hour')",
                (str(person),),
            )
        with refused("RESOURCE_EXHAUSTED", "RATE_LIMITED"):
            await tenant.owner.identity.InviteMember(email=new_address(), role=2)
        await tenant.member(Role.ADMIN).identity.InviteMember(email=new_address(), role=2)

    @pytest.mark.parametrize("context", ["manager", "other tenant"])
    async def test_only_who_may_invite_mails(self, house: House, tenant: Tenant, context: str) -> None:
        made = await tenant.owner.identity.InviteMember(email=new_address(), role=2)
        other = await house.tenant("stranger")
        tenant_id, level = (tenant.tenant_id, 3) if context == "manager" else (other.tenant_id, 5)
        with pytest.raises(psycopg.errors.RaiseException):
            async with as_role(house.database, "bulkhead_identity_app", tenant_id=tenant_id, role=level) as connection:
                await connection.execute(
                    "select identity.mail_invitation(%s, %s, '{}')", (new_id(), UUID(made.invitation_id))
                )


class TestInTheDatabase:
    @pytest.mark.parametrize(
        "statement",
        [
            "insert into identity.mails (mail_id, kind, to_address, subject_id)"
            " values (gen_random_uuid(), 'invitation', 'ann@example.com', gen_random_uuid())",
            "select identity.claim_mail('invitation', 'ann@example.com', null)",
            "select count(*) from identity.mail_limits",
            "update identity.mail_limits set free_at = now()",
            "delete from identity.mail_limits",
        ],
    )
    async def test_the_app_role_cannot(self, house: House, statement: str) -> None:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with as_role(house.database, "bulkhead_identity_app") as connection:
                await connection.execute(statement.encode())

    async def test_a_day_of_asking_is_twenty(self, house: House) -> None:
        sent = []
        with psycopg.connect(house.database.admin_dsn) as connection:
            for minute in range(0, 24 * 60 + 1, 16):
                row = connection.execute(
                    "select identity.claim_mail('verify_email', 'day@example.com', null)"
                ).fetchone()
                assert row is not None
                if row[0] is None:
                    sent.append(minute)
                connection.execute("update identity.mail_limits set free_at = free_at - interval '16 minutes'")
            connection.rollback()
        assert sent[:BURST] == [0, 16, 32, 48, 64]
        assert len(sent) == 20
        # Nobody waits longer than this for the next one.
        assert max(after - before for before, after in pairwise(sent)) <= EVERY
