"""Tries whose password nobody looked at, because too many were waiting already."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

import pytest
from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_identity.passwords import Passwords
from bulkhead_kit.errors import ResourceExhausted
from bulkhead_kit.ids import new_id

from tests.identity.throttle.test_guessing import exhaust, guess, set_failures, wait_of
from tests.identity.world import PASSWORD, PostOffice, as_owner, as_role, forget_failures, log_in, new_address, sign_up
from tests.support.client import refused
from tests.support.house import House

FULL = ("RESOURCE_EXHAUSTED", "OVERLOADED")
THROTTLED = ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
NEW = "seven quiet otters dancing"


@contextmanager
def full_queue(full: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """As if so many passwords waited that there is no room for another."""
    verify = Passwords.verify

    async def refuse(self: Passwords, payer: Hashable, password: str, stored: str | None) -> bool:
        if full():
            raise ResourceExhausted(ErrorReason.OVERLOADED, "too many", retry_after=1.0)
        return await verify(self, payer, password, stored)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Passwords, "verify", refuse)
        yield


@pytest.fixture
async def email(house: House, mails: PostOffice) -> str:
    address = new_address()
    await sign_up(house, mails, address)
    return address


class TestLogin:
    async def test_costs_no_try(self, house: House, email: str) -> None:
        with full_queue():
            for _ in range(10):
                with refused(*FULL):
                    await log_in(house, email)
        await exhaust(house, email)
        assert await guess(house, email) == "RATE_LIMITED"

    async def test_costs_no_pause_and_saves_none(self, house: House, email: str) -> None:
        await forget_failures(house.database)
        assert await guess(house, email) == "CREDENTIALS_INVALID"
        await set_failures(house, 9)
        with full_queue():
            for _ in range(3):
                with refused(*FULL):
                    await log_in(house, email)
        assert await guess(house, email) == "CREDENTIALS_INVALID"
        with refused(*THROTTLED) as refusal:
            await log_in(house, email)
        # Of the tenth wrong one, as if the three had not been.
        assert 16 < wait_of(refusal) <= 32

    async def test_who_must_wait_is_told_so(self, house: House, email: str) -> None:
        await exhaust(house, email)
        with full_queue(), refused(*THROTTLED):
            await log_in(house, email)

    async def test_two_hundred_at_once_are_five_at_most(self, house: House, email: str) -> None:
        """Every second one meets a full queue, and comes again. Of several at once only the last is given back."""
        chance = random.Random(7)
        with full_queue(lambda: chance.random() < 0.5):
            told = Counter(await asyncio.gather(*(guess(house, email) for _ in range(200))))
        assert told.total() == 200
        print(f"200 at once on one account, every second one before a full queue: {told}")
        # One more for each pause that ends while the storm lasts.
        assert 1 <= told["CREDENTIALS_INVALID"] <= 9


class TestVerifyEmail:
    async def test_costs_no_try(self, house: House, mails: PostOffice) -> None:
        email = new_address()
        await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
        (mail,) = await mails.to(email)
        with full_queue():
            for _ in range(6):
                with refused(*FULL):
                    await house.nobody().identity.VerifyEmail(token=mail.token, password=PASSWORD)
        await house.nobody().identity.VerifyEmail(token=mail.token, password=PASSWORD)

    async def test_gives_a_dead_token_no_life(self, house: House, mails: PostOffice) -> None:
        email = new_address()
        await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
        (mail,) = await mails.to(email)
        for _ in range(5):
            with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
                await house.nobody().identity.VerifyEmail(token=mail.token, password="wrong")
        with full_queue(), refused(*FULL):
            await house.nobody().identity.VerifyEmail(token=mail.token, password=PASSWORD)
        with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
            await house.nobody().identity.VerifyEmail(token=mail.token, password=PASSWORD)


async def test_changing_and_closing_cost_no_try(house: House, email: str) -> None:
    person, _ = await log_in(house, email)
    with full_queue():
        for _ in range(3):
            with refused(*FULL):
                await person.identity.ChangePassword(current_password=PASSWORD, new_password=NEW)
            with refused(*FULL):
                await person.identity.CloseAccount(password=PASSWORD)
    for _ in range(5):
        with refused("UNAUTHENTICATED", "CREDENTIALS_INVALID"):
            await person.identity.CloseAccount(password="wrong")


async def test_repeats_cost_no_try(house: House, mails: PostOffice, email: str) -> None:
    await house.nobody().identity.RequestPasswordReset(email=email)
    request = {"token": (await mails.to(email))[-1].token, "request_id": str(new_id())}
    await house.nobody().identity.ResetPassword(**request, new_password=NEW)
    with full_queue():
        for _ in range(6):
            with refused(*FULL):
                await house.nobody().identity.ResetPassword(**request, new_password=NEW)
    await house.nobody().identity.ResetPassword(**request, new_password=NEW)


BUCKET = b"b" * 32


class TestInTheDatabase:
    async def claim(self, house: House) -> str:
        async with as_role(house.database, "bulkhead_identity_app") as connection:
            cursor = await connection.execute(
                "select claimed_at::text from identity.claim_attempt(%s, 'ann@example.com')", (BUCKET,)
            )
            row = await cursor.fetchone()
        assert row is not None
        return str(row[0])

    async def give_back(self, house: House, claimed_at: str) -> None:
        async with as_role(house.database, "bulkhead_identity_app") as connection:
            await connection.execute("select identity.give_back_attempt(%s, %s)", (BUCKET, claimed_at))

    async def arrange(self, house: House, failures: int) -> None:
        async with as_owner(house.database) as connection:
            await connection.execute(
                "insert into identity.login_throttles (bucket, failures) values (%(bucket)s, %(failures)s)"
                " on conflict (bucket) do update set failures = %(failures)s, retry_at = now()",
                {"bucket": BUCKET, "failures": failures},
            )

    async def state(self, house: House) -> tuple[int, bool]:
        """Failures, and whether the next one has to wait."""
        async with as_owner(house.database) as connection:
            cursor = await connection.execute(
                "select failures, retry_at > clock_timestamp() from identity.login_throttles where bucket = %s",
                (BUCKET,),
            )
            row = await cursor.fetchone()
        assert row is not None
        return row[0], row[1]

    async def test_a_try_is_given_back_with_its_pause(self, house: House) -> None:
        await self.arrange(house, 8)
        claimed_at = await self.claim(house)
        assert await self.state(house) == (9, True)
        await self.give_back(house, claimed_at)
        assert await self.state(house) == (8, False)

    async def test_a_try_that_came_since_keeps_its_pause(self, house: House) -> None:
        """The first one found the queue full so late that its pause was over, and another password was looked at."""
        await self.arrange(house, 8)
        first = await self.claim(house)
        await self.arrange(house, 9)
        await self.claim(house)
        await self.give_back(house, first)
        assert await self.state(house) == (10, True)

    async def test_nothing_is_given_back_twice(self, house: House) -> None:
        await self.arrange(house, 1)
        first, second = await self.claim(house), await self.claim(house)
        for claimed_at in (first, second, second):
            await self.give_back(house, claimed_at)
        assert await self.state(house) == (2, False)

    async def test_there_are_never_less_than_none(self, house: House) -> None:
        await self.arrange(house, 0)
        claimed_at = await self.claim(house)
        await self.arrange(house, 0)
        await self.give_back(house, claimed_at)
        assert await self.state(house) == (0, False)
