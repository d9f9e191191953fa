"""RequestPasswordReset and ResetPassword."""

from __future__ import annotations

import asyncio

import pytest
from bulkhead_kit.ids import new_id

from tests.identity.world import PASSWORD, PostOffice, as_owner, events, log_in, new_address, pass_time, sign_up
from tests.support.client import refused
from tests.support.house import House

NEW = "seven quiet otters dancing"
OTHER = "nine loud badgers sleeping"
RESET = "Choose a new password"


@pytest.fixture
async def email(house: House, mails: PostOffice) -> str:
    address = new_address()
    await sign_up(house, mails, address)
    return address


async def ask(house: House, mails: PostOffice, email: str) -> str:
    """The token of the mail."""
    await house.nobody().identity.RequestPasswordReset(email=email)
    mail = (await mails.to(email))[-1]
    assert mail.subject == RESET
    return mail.token


async def reset(house: House, token: str, password: str = NEW, request_id: str = "") -> None:
    await house.nobody().identity.ResetPassword(token=token, new_password=password, request_id=request_id)


class TestRequest:
    async def test_mails_the_owner_and_nobody_else(self, house: House, mails: PostOffice, email: str) -> None:
        waiting, unknown = new_address(), new_address()
        await house.nobody().identity.SignUp(email=waiting, password=PASSWORD, full_name="Ann")
        answers = [
            (await house.nobody().identity.RequestPasswordReset(email=address)).SerializeToString()
            for address in (email, waiting, unknown)
        ]
        assert len(set(answers)) == 1
        assert [mail.subject for mail in await mails.to(email)][1:] == [RESET]
        assert [mail.subject for mail in await mails.to(waiting)] == ["Confirm your e-mail address"]
        assert await mails.to(unknown) == []

    async def test_notes_the_same_for_every_address(self, house: House, email: str) -> None:
        """Neither rows nor events tell: what differs is found out later, by the worker."""
        made: list[list[tuple[str, str, list[str]]]] = []
        for address in (email, new_address()):
            request_id = str(new_id())
            await house.nobody().identity.RequestPasswordReset(email=address, request_id=request_id)
            found = await events(house.database, request_id)
            made.append([(action, outcome, sorted(changes)) for action, outcome, changes in found])
        assert made[0] == made[1] == [("mail_ask.created", "ok", ["email", "purpose"])]

    async def test_sends_one_mail_a_minute(self, house: House, mails: PostOffice, email: str) -> None:
        first = await ask(house, mails, email)
        for _ in range(3):
            await house.nobody().identity.RequestPasswordReset(email=email)
        assert len(await mails.to(email)) == 2
        await pass_time(house.database, 1)
        second = await ask(house, mails, email)
        with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
            await reset(house, first)
        await reset(house, second)

    async def test_whoever_asks_without_end_leaves_the_owner_one(
        self, house: House, mails: PostOffice, email: str
    ) -> None:
        for _ in range(20):
            await house.nobody().identity.RequestPasswordReset(email=email)
            await mails.to(email)
            await pass_time(house.database, 1)
        sent = (await mails.to(email))[1:]
        assert len(sent) == 3
        await reset(house, sent[-1].token)
        await pass_time(house.database, 11)
        await ask(house, mails, email)
        assert len(await mails.to(email)) == 6

    async def test_a_request_id_asks_once(self, house: House, mails: PostOffice, email: str) -> None:
        request_id = str(new_id())
        for _ in range(2):
            await house.nobody().identity.RequestPasswordReset(email=email, request_id=request_id)
            await mails.to(email)
            await pass_time(house.database, 2)
        assert len(await mails.to(email)) == 2
        with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
            await house.nobody().identity.RequestPasswordReset(email=new_address(), request_id=request_id)
        with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
            await house.nobody().identity.ResendVerification(email=email, request_id=request_id)

    async def test_of_a_disabled_account_sends_nothing(self, house: House, mails: PostOffice, email: str) -> None:
        async with as_owner(house.database) as connection:
            await connection.execute("update identity.users set status = 'disabled' where email_key = %s", (email,))
        await house.nobody().identity.RequestPasswordReset(email=email)
        assert len(await mails.to(email)) == 1

    @pytest.mark.parametrize("changed", [{"email": ""}, {"email": "ann"}, {"request_id": "x"}])
    async def test_what_is_wrong_is_named(self, house: House, changed: dict[str, str]) -> None:
        for method in ("RequestPasswordReset", "ResendVerification"):
            with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
                await getattr(house.nobody().identity, method)(**{"email": new_address(), **changed})
            assert refusal.fields == list(changed)


class TestReset:
    async def test_changes_the_password_and_ends_every_session(
        self, house: House, mails: PostOffice, email: str
    ) -> None:
        logins = [await log_in(house, email) for _ in range(3)]
        await reset(house, await ask(house, mails, email))
        with refused("UNAUTHENTICATED", "CREDENTIALS_INVALID"):
            await log_in(house, email)
        for client, login in logins:
            with refused("UNAUTHENTICATED", "SESSION_ENDED"):
                await client.identity.SelectTenant(tenant_id=str(new_id()))
            with refused("UNAUTHENTICATED", "REFRESH_TOKEN_INVALID"):
                await house.nobody().identity.RefreshToken(refresh_token=login.refresh_token.token)
            captured = await events(house.database, login.session_id)
            assert captured[-1][0] == "session.revoked"
            assert captured[-1][2]["revoke_reason"] == [None, "password_changed"]
        await log_in(house, email, NEW)
        assert (await mails.to(email))[-1].subject == "Your password has been changed"
        assert "credential.updated" in [action for action, _, _ in await events(house.database, logins[0][1].user_id)]

    async def test_works_once(self, house: House, mails: PostOffice, email: str) -> None:
        token = await ask(house, mails, email)
        await reset(house, token)
        with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
            await reset(house, token, OTHER)
        await log_in(house, email, NEW)

    async def test_a_repeat_gets_the_same_answer(self, house: House, mails: PostOffice, email: str) -> None:
        token, request_id = await ask(house, mails, email), str(new_id())
        await reset(house, token, NEW, request_id)
        _, login = await log_in(house, email, NEW)
        await reset(house, token, NEW, request_id)
        await house.nobody().identity.RefreshToken(refresh_token=login.refresh_token.token)
        with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
            await reset(house, token, OTHER, request_id)
        with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
            await reset(house, token, NEW, str(new_id()))

    async def test_a_used_token_is_no_way_to_guess_the_password(
        self, house: House, mails: PostOffice, email: str
    ) -> None:
        token, request_id = await ask(house, mails, email), str(new_id())
        await reset(house, token, NEW, request_id)
        for number in range(5):
            with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
                await reset(house, token, f"{OTHER} {number}", request_id)
        with refused("RESOURCE_EXHAUSTED", "RATE_LIMITED"):
            await reset(house, token, NEW, request_id)

    async def test_one_of_many_at_once_wins(self, house: House, mails: PostOffice, email: str) -> None:
        token = await ask(house, mails, email)
        passwords = [f"{word} quiet otters dancing" for word in ("six", "seven", "eight", "nine", "ten", "eleven")]
        done = await asyncio.gather(*(reset(house, token, one) for one in passwords), return_exceptions=True)
        won = [one for one, outcome in zip(passwords, done, strict=True) if outcome is None]
        assert len(won) == 1
        await log_in(house, email, won[0])
        assert [mail.subject for mail in await mails.to(email)].count("Your password has been changed") == 1

    async def test_the_same_call_twice_at_once_gets_one_answer(
        self, house: House, mails: PostOffice, email: str
    ) -> None:
        token, request_id = await ask(house, mails, email), str(new_id())
        await asyncio.gather(*(reset(house, token, NEW, request_id) for _ in range(4)))
        await log_in(house, email, NEW)

    async def test_no_login_with_the_old_password_outlives_it(
        self, house: House, mails: PostOffice, email: str
    ) -> None:
        """A login whose password was checked before the reset and whose session begins after it."""
        for round_number in range(4):
            await pass_time(house.database, 31)
            token = await ask(house, mails, email)
            old, new = (PASSWORD, NEW) if round_number % 2 == 0 else (NEW, PASSWORD)
            begun = [asyncio.ensure_future(log_in(house, email, old)) for _ in range(3)]
            await asyncio.sleep(0.01 * round_number)
            await reset(house, token, new)
            for outcome in await asyncio.gather(*begun, return_exceptions=True):
                if not isinstance(outcome, BaseException):
                    with refused("UNAUTHENTICATED", "REFRESH_TOKEN_INVALID"):
                        await house.nobody().identity.RefreshToken(refresh_token=outcome[1].refresh_token.token)

    async def test_a_weak_password_does_not_use_up_the_token(self, house: House, mails: PostOffice, email: str) -> None:
        token = await ask(house, mails, email)
        for weak in ("password12", email, "aaaaaaaaaaaa", "qwertyuiop"):
            with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
                await reset(house, token, weak)
            assert refusal.fields == ["new_password"]
            assert weak not in refusal.message
        await reset(house, token)

    async def test_expires_after_half_an_hour(self, house: House, mails: PostOffice, email: str) -> None:
        token = await ask(house, mails, email)
        await pass_time(house.database, 31)
        with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
            await reset(house, token)
        await pass_time(house.database, -5)
        await reset(house, token)

    async def test_a_token_is_for_one_purpose(self, house: House, mails: PostOffice, email: str) -> None:
        other = new_address()
        await house.nobody().identity.SignUp(email=other, password=PASSWORD, full_name="Ann")
        verification = (await mails.to(other))[-1].token
        with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
            await reset(house, verification)
        token = await ask(house, mails, email)
        with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
            await house.nobody().identity.VerifyEmail(token=token, password=PASSWORD)
        await house.nobody().identity.VerifyEmail(token=verification, password=PASSWORD)
        await reset(house, token)

    @pytest.mark.parametrize("token", ["x", "A" * 43, "\U0001f511"])
    async def test_unknown_ones_are_refused(self, house: House, token: str) -> None:
        with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
            await reset(house, token)

    @pytest.mark.parametrize(
        ("changed", "field"),
        [
            ({"token": ""}, "token"),
            ({"token": "A" * 101}, "token"),
            ({"new_password": "short"}, "new_password"),
            ({"new_password": "x" * 129}, "new_password"),
            ({"request_id": "x"}, "request_id"),
        ],
    )
    async def test_what_is_wrong_is_named(self, house: House, changed: dict[str, str], field: str) -> None:
        with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
            await house.nobody().identity.ResetPassword(**{"token": "A" * 43, "new_password": NEW, **changed})
        assert refusal.fields == [field]
