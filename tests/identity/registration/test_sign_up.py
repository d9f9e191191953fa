"""SignUp and VerifyEmail."""

from __future__ import annotations

import asyncio
import time

import psycopg
import pytest
from bulkhead_kit.ids import new_id

from tests.identity.world import (
    PASSWORD,
    PostOffice,
    as_owner,
    as_role,
    events,
    forget_failures,
    log_in,
    new_address,
    set_plan,
    sign_up,
)
from tests.support.client import refused
from tests.support.house import House


async def test_a_mail_proves_the_address(house: House, mails: PostOffice) -> None:
    email = new_address()
    await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
    with refused("UNAUTHENTICATED", "CREDENTIALS_INVALID"):
        await log_in(house, email)
    (mail,) = await mails.to(email)
    assert mail.subject == "Confirm your e-mail address"
    reply = await house.nobody().identity.VerifyEmail(token=mail.token, password=PASSWORD)
    _, login = await log_in(house, email)
    assert login.user_id == reply.user_id


async def test_a_known_address_gets_the_same_answer_and_another_mail(house: House, mails: PostOffice) -> None:
    email = new_address()
    await sign_up(house, mails, email)
    known = await house.nobody().identity.SignUp(email=email.upper(), password="another password", full_name="Eve")
    unknown = await house.nobody().identity.SignUp(email=new_address(), password=PASSWORD, full_name="Ann")
    assert known.SerializeToString() == unknown.SerializeToString()
    first, second = await mails.to(email)
    assert (first.subject, second.subject) == ("Confirm your e-mail address", "You have an account already")
    assert "token" not in second.text
    # Nothing of the account has changed.
    await log_in(house, email)
    with refused("UNAUTHENTICATED", "CREDENTIALS_INVALID"):
        await log_in(house, email, "another password")


async def test_a_strangers_sign_up_cannot_slip_in_its_password(house: House, mails: PostOffice) -> None:
    email = new_address()
    await house.nobody().identity.SignUp(email=email, password="the stranger's one", full_name="Eve")
    await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
    strangers, own = await mails.to(email)
    await house.nobody().identity.VerifyEmail(token=own.token, password=PASSWORD)
    with refused("UNAUTHENTICATED", "CREDENTIALS_INVALID"):
        await log_in(house, email, "the stranger's one")
    with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
        await house.nobody().identity.VerifyEmail(token=strangers.token, password="the stranger's one")
    person, _ = await log_in(house, email)
    tenant = await person.identity.CreateTenant(tenant={"slug": f"own-{new_id().hex[-12:]}", "name": "Own"})
    chosen = await person.identity.SelectTenant(tenant_id=tenant.tenant_id)
    (member,) = (await house.with_token(chosen.access_token.token).identity.ListMembers()).members
    assert member.display_name == "Ann"


async def test_who_opens_a_strangers_mail_gives_her_address_to_nobody(house: House, mails: PostOffice) -> None:
    """Eve signs up with Ann's address; Ann, who signs up too, opens the mail of Eve's sign-up."""
    email = new_address()
    await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
    await house.nobody().identity.SignUp(email=email, password="the stranger's one", full_name="Eve")
    own, strangers = await mails.to(email)
    with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID") as wrong:
        await house.nobody().identity.VerifyEmail(token=strangers.token, password=PASSWORD)
    with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID") as unknown:
        await house.nobody().identity.VerifyEmail(token="A" * 43, password=PASSWORD)
    assert wrong.status == unknown.status
    for password in (PASSWORD, "the stranger's one"):
        with refused("UNAUTHENTICATED", "CREDENTIALS_INVALID"):
            await log_in(house, email, password)
    await house.nobody().identity.VerifyEmail(token=own.token, password=PASSWORD)
    await log_in(house, email)
    with refused("UNAUTHENTICATED", "CREDENTIALS_INVALID"):
        await log_in(house, email, "the stranger's one")


@pytest.mark.parametrize("state", ["unknown", "waiting", "registered"])
async def test_signing_up_and_logging_in_tells_nothing_of_an_address(
    house: House, mails: PostOffice, state: str
) -> None:
    email = new_address()
    if state == "waiting":
        await house.nobody().identity.SignUp(email=email, password="another password", full_name="Bob")
    if state == "registered":
        await sign_up(house, mails, email, "another password")
    await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Eve")
    with refused("UNAUTHENTICATED", "CREDENTIALS_INVALID") as told:
        await log_in(house, email)
    with refused("UNAUTHENTICATED", "CREDENTIALS_INVALID") as nobody:
        await log_in(house, new_address())
    assert told.status == nobody.status


async def test_a_waiting_address_has_no_password_yet(house: House) -> None:
    email = new_address()
    await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
    async with as_owner(house.database) as connection:
        cursor = await connection.execute(
            "select count(*), count(c.user_id) from identity.users as u"
            " left join identity.user_credentials as c on c.user_id = u.user_id where u.email_key = %s",
            (email,),
        )
        assert await cursor.fetchone() == (1, 0)


async def test_a_repeat_with_a_request_id_sends_one_mail(house: House, mails: PostOffice) -> None:
    email, request_id = new_address(), str(new_id())
    for _ in range(3):
        await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann", request_id=request_id)
    assert len(await mails.to(email)) == 1
    with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
        await house.nobody().identity.SignUp(
            email=email, password="another password", full_name="Ann", request_id=request_id
        )
    await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
    assert len(await mails.to(email)) == 2


async def test_many_sign_ups_at_once_make_one_account(house: House, mails: PostOffice) -> None:
    email = new_address()
    await asyncio.gather(
        *(house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann") for _ in range(8))
    )
    sent = await mails.to(email)
    assert len(sent) == 5
    done = await asyncio.gather(
        *(house.nobody().identity.VerifyEmail(token=mail.token, password=PASSWORD) for mail in sent),
        return_exceptions=True,
    )
    assert sum(1 for one in done if not isinstance(one, BaseException)) == 1
    await log_in(house, email)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"email": "ann"}, "email"),
        ({"email": "ann@"}, "email"),
        ({"email": "a@b.example\n"}, "email"),
        ({"email": "a" * 250 + "@example.com"}, "email"),
        ({"email": "ann\x00@example.com"}, "email"),
        ({"password": "short"}, "password"),
        ({"password": "x" * 129}, "password"),
        ({"full_name": ""}, "full_name"),
        ({"full_name": "   "}, "full_name"),
        ({"full_name": "Ann\nLee"}, "full_name"),
        ({"full_name": "Ann\x1b[2J"}, "full_name"),
        ({"full_name": "x" * 201}, "full_name"),
        ({"request_id": "17"}, "request_id"),
    ],
)
async def test_what_is_wrong_is_named(house: House, changed: dict[str, str], field: str) -> None:
    request = {"email": new_address(), "password": PASSWORD, "full_name": "Ann", **changed}
    with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
        await house.nobody().identity.SignUp(**request)
    assert refusal.fields == [field]
    assert changed.get("password", "never") not in refusal.message


async def test_names_and_passwords_of_any_script(house: House, mails: PostOffice) -> None:
    email, password = new_address("zo\u00eb"), "\U0001f511 \u03c0\u03b1\u03c1\u03cc\u03bb\u03b1 \U0001d11e"
    await sign_up(house, mails, email, password, name="\U0001f98a \u674e Zo\u00eb \U00020bb7")
    await log_in(house, email, password)
    # The same letters typed as base and accent.
    await log_in(house, email, "\U0001f511 \u03c0\u03b1\u03c1\u03bf\u0301\u03bb\u03b1 \U0001d11e")
    await log_in(house, email.upper().replace("\u00cb", "\u00eb"), password)


@pytest.mark.parametrize(
    ("own", "alike"),
    [("ivan", "\u0130van"), ("zo\u00eb", "zo\u00cb"), ("\u03c3", "\u03a3"), ("\u00e5", "\u212b")],
)
async def test_a_look_alike_is_another_address(house: House, mails: PostOffice, own: str, alike: str) -> None:
    """A mail to a mailbox that only looks the same proves nothing of the other."""
    email = new_address(own)
    other = alike + email.removeprefix(own)
    await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
    strangers = await sign_up(house, mails, other, "the stranger's one")
    for password in (PASSWORD, "the stranger's one"):
        with refused("UNAUTHENTICATED", "CREDENTIALS_INVALID"):
            await log_in(house, email, password)
    (mail,) = [one for one in await mails.to(email) if one.to == email]
    reply = await house.nobody().identity.VerifyEmail(token=mail.token, password=PASSWORD)
    assert reply.user_id != strangers
    await log_in(house, email)


class TestTokens:
    async def test_work_once(self, house: House, mails: PostOffice) -> None:
        email = new_address()
        await sign_up(house, mails, email)
        (mail,) = await mails.to(email)
        with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
            await house.nobody().identity.VerifyEmail(token=mail.token, password=PASSWORD)

    async def test_a_repeat_with_the_request_id_gets_the_answer(self, house: House, mails: PostOffice) -> None:
        email, request_id = new_address(), str(new_id())
        await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
        (mail,) = await mails.to(email)
        first = await house.nobody().identity.VerifyEmail(token=mail.token, password=PASSWORD, request_id=request_id)
        assert (
            await house.nobody().identity.VerifyEmail(token=mail.token, password=PASSWORD, request_id=request_id)
            == first
        )
        with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
            await house.nobody().identity.VerifyEmail(token=mail.token, password=PASSWORD, request_id=str(new_id()))

    async def test_a_repeat_with_another_password_gets_none(self, house: House, mails: PostOffice) -> None:
        email, request_id = new_address(), str(new_id())
        await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
        (mail,) = await mails.to(email)
        await house.nobody().identity.VerifyEmail(token=mail.token, password=PASSWORD, request_id=request_id)
        with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
            await house.nobody().identity.VerifyEmail(token=mail.token, password="wrong", request_id=request_id)

    async def test_a_used_one_is_no_way_to_guess_the_password(self, house: House, mails: PostOffice) -> None:
        email = new_address()
        await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
        (mail,) = await mails.to(email)
        request = {"token": mail.token, "request_id": str(new_id())}
        first = await house.nobody().identity.VerifyEmail(**request, password=PASSWORD)
        for number in range(5):
            with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
                await house.nobody().identity.VerifyEmail(**request, password=f"wrong {number}")
        with refused("RESOURCE_EXHAUSTED", "RATE_LIMITED"):
            await house.nobody().identity.VerifyEmail(**request, password=PASSWORD)
        # Counted with the logins.
        with refused("RESOURCE_EXHAUSTED", "RATE_LIMITED"):
            await log_in(house, email)
        await forget_failures(house.database)
        assert await house.nobody().identity.VerifyEmail(**request, password=PASSWORD) == first

    async def test_survive_four_wrong_passwords(self, house: House, mails: PostOffice) -> None:
        email = new_address()
        await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
        (mail,) = await mails.to(email)
        for _ in range(4):
            with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
                await house.nobody().identity.VerifyEmail(token=mail.token, password="wrong")
        await house.nobody().identity.VerifyEmail(token=mail.token, password=PASSWORD)

    async def test_do_not_survive_five_at_once(self, house: House, mails: PostOffice) -> None:
        email = new_address()
        await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
        (mail,) = await mails.to(email)
        guesses = [house.nobody().identity.VerifyEmail(token=mail.token, password=f"guess {n}") for n in range(8)]
        assert all(isinstance(one, BaseException) for one in await asyncio.gather(*guesses, return_exceptions=True))
        with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
            await house.nobody().identity.VerifyEmail(token=mail.token, password=PASSWORD)
        async with as_owner(house.database) as connection:
            cursor = await connection.execute(
                "select t.attempts from identity.one_time_tokens as t"
                " inner join identity.users as u on u.user_id = t.user_id where u.email_key = %s",
                (email,),
            )
            assert await cursor.fetchone() == (5,)

    @pytest.mark.parametrize("password", ["", "x" * 129])
    async def test_impossible_passwords_are_named(self, house: House, password: str) -> None:
        with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
            await house.nobody().identity.VerifyEmail(token="A" * 43, password=password)
        assert refusal.fields == ["password"]

    @pytest.mark.parametrize("token", ["x", "A" * 43, "-" * 100, "\U0001f511", "' or true --"])
    async def test_unknown_ones_are_refused(self, house: House, token: str) -> None:
        with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
            await house.nobody().identity.VerifyEmail(token=token, password=PASSWORD)

    @pytest.mark.parametrize("token", ["", "A" * 101])
    async def test_impossible_ones_are_named(self, house: House, token: str) -> None:
        with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
            await house.nobody().identity.VerifyEmail(token=token, password=PASSWORD)

    async def test_expire(self, house: House, mails: PostOffice) -> None:
        email = new_address()
        await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
        (mail,) = await mails.to(email)
        async with as_owner(house.database) as connection:
            await connection.execute(
                "update identity.one_time_tokens as t set expires_at = now() from identity.users as u"
                " where u.user_id = t.user_id and u.email_key = %s",
                (email.lower(),),
            )
        with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
            await house.nobody().identity.VerifyEmail(token=mail.token, password=PASSWORD)

    async def test_of_an_invitation_prove_no_address(self, house: House, mails: PostOffice) -> None:
        tenant, email = await house.tenant("purpose"), new_address()
        await set_plan(house.database, tenant.tenant_id, users=10)
        await tenant.owner.identity.InviteMember(email=email, role=2)
        (mail,) = await mails.to(email)
        with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
            await house.nobody().identity.VerifyEmail(token=mail.token, password=PASSWORD)


async def test_no_secret_is_stored_or_captured(house: House, mails: PostOffice) -> None:
    email = new_address()
    user_id = await sign_up(house, mails, email)
    (mail,) = await mails.to(email)
    captured = str(await events(house.database, user_id))
    assert "credential.created" in captured
    assert "user.updated" in captured
    async with as_owner(house.database) as connection:
        cursor = await connection.execute(
            "select (select string_agg(o::text, ' ') from identity.outbox as o),"
            " (select string_agg(t::text, ' ') from identity.one_time_tokens as t),"
            " (select string_agg(m::text, ' ') from identity.mails as m)"
        )
        row = await cursor.fetchone()
    assert row is not None
    outbox, tokens, queue = row
    for text in (outbox, tokens, queue):
        assert mail.token not in text
        assert PASSWORD not in text
    assert "argon2" not in outbox
    # The hash that waited with the token has gone to the account.
    async with as_owner(house.database) as connection:
        cursor = await connection.execute(
            "select count(*) from identity.one_time_tokens where user_id = %s and password_hash is not null", (user_id,)
        )
        assert await cursor.fetchone() == (0,)


async def test_known_and_unknown_addresses_take_the_same_time(house: House, mails: PostOffice) -> None:
    email = new_address()
    await sign_up(house, mails, email)

    async def timed(address: str) -> float:
        began = time.perf_counter()
        await house.nobody().identity.SignUp(email=address, password=PASSWORD, full_name="Ann")
        return time.perf_counter() - began

    pairs = [(await timed(email), await timed(new_address())) for _ in range(15)]
    known, unknown = (sorted(times)[len(times) // 2] for times in zip(*pairs, strict=True))
    # A skipped hash would make one of them a fifth of the other; closer than this a busy machine does not measure.
    assert 0.6 < known / unknown < 1.7


async def test_the_app_role_cannot_read_credentials(house: House) -> None:
    for table in ("user_credentials", "refresh_tokens", "one_time_tokens"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with as_role(house.database, "bulkhead_identity_app") as connection:
                await connection.execute(f"select count(*) from identity.{table}".encode())
