"""Guesses of a password: how many are looked at, who has to wait, and who has not."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from typing import Any

import grpc.aio
import psycopg
import pytest
from bulkhead.identity.v1 import auth_service_pb2, auth_service_pb2_grpc
from google.rpc import error_details_pb2

from tests.identity.world import (
    PASSWORD,
    PostOffice,
    as_owner,
    as_role,
    forget_failures,
    log_in,
    new_address,
    sign_up,
)
from tests.support.client import Refusal, reason_of, refused
from tests.support.house import House

THROTTLED = ("RESOURCE_EXHAUSTED", "RATE_LIMITED")


@pytest.fixture
async def email(house: House, mails: PostOffice) -> str:
    address = new_address()
    await sign_up(house, mails, address)
    return address


async def guess(house: House, email: str, device_token: str = "") -> str:
    """What the guesser is told; a full server is asked again."""
    while True:
        try:
            await house.nobody().identity.Login(email=email, password="wrong", device_token=device_token)
        except grpc.aio.AioRpcError as error:
            if reason_of(error) != "OVERLOADED":
                return reason_of(error)
            await asyncio.sleep(0.05)
        else:
            raise AssertionError("a wrong password was right")


async def exhaust(house: House, email: str, device_token: str = "") -> None:
    for _ in range(5):
        assert await guess(house, email, device_token) == "CREDENTIALS_INVALID"


def wait_of(refusal: Refusal) -> float:
    info = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(info) for detail in refusal.status.details)
    return float(info.retry_delay.ToMilliseconds() / 1000)


async def set_failures(house: House, failures: int) -> None:
    async with as_owner(house.database) as connection:
        await connection.execute(
            "update identity.login_throttles set failures = %s, retry_at = now() where failures > 0", (failures,)
        )


async def test_the_sixth_wrong_password_waits(house: House, email: str) -> None:
    await exhaust(house, email)
    with refused(*THROTTLED) as refusal:
        await log_in(house, email)
    assert refusal.metadata["limit"] == "login_account"
    assert 0 < wait_of(refusal) <= 1
    await asyncio.sleep(1.1)
    await log_in(house, email)
    # The right one wipes the slate.
    await exhaust(house, email)


async def test_a_reset_lets_the_owner_in(house: House, mails: PostOffice, email: str) -> None:
    """On a new device, which somebody's guesses would keep waiting for a quarter of an hour again and again."""
    await exhaust(house, email)
    await set_failures(house, 20)
    assert await guess(house, email) == "CREDENTIALS_INVALID"
    await house.nobody().identity.RequestPasswordReset(email=email)
    token, password = (await mails.to(email))[-1].token, "seven quiet otters dancing"
    with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
        await house.nobody().identity.ResetPassword(token="A" * 43, new_password=password)
    with refused(*THROTTLED):
        await log_in(house, email)
    await house.nobody().identity.ResetPassword(token=token, new_password=password)
    await log_in(house, email, password)


@pytest.mark.parametrize(("failures", "longest"), [(5, 2), (6, 4), (9, 32), (13, 512), (14, 900), (40, 900)])
async def test_each_next_one_waits_twice_as_long(house: House, email: str, failures: int, longest: int) -> None:
    await forget_failures(house.database)
    assert await guess(house, email) == "CREDENTIALS_INVALID"
    await set_failures(house, failures)
    assert await guess(house, email) == "CREDENTIALS_INVALID"
    with refused(*THROTTLED) as refusal:
        await log_in(house, email)
    assert longest * 0.5 < wait_of(refusal) <= longest


async def test_two_hundred_at_once_are_five(house: House, email: str) -> None:
    """Each is counted before it is looked at: as many are as one by one."""
    told = Counter(await asyncio.gather(*(guess(house, email) for _ in range(200))))
    async with as_owner(house.database) as connection:
        cursor = await connection.execute(
            "select count(*) from identity.outbox where action = 'session.login_failed'"
            " and changes -> 'email' ->> 1 = %s",
            (email,),
        )
        row = await cursor.fetchone()
    assert row is not None
    print(f"200 guesses at once on one account: {row[0]} looked at, {told['RATE_LIMITED']} refused")
    assert row[0] == told["CREDENTIALS_INVALID"]
    # One more for each pause that ends while the storm lasts.
    assert 5 <= row[0] <= 9
    assert told.total() == 200


@pytest.mark.soak
async def test_five_thousand_are_a_few(house: House, email: str) -> None:
    """One more is looked at for each pause that ends meanwhile, and each pause is twice the one before."""
    room = asyncio.Semaphore(50)

    async def one() -> str:
        async with room:
            return await guess(house, email)

    began = time.monotonic()
    told = Counter(await asyncio.gather(*(one() for _ in range(5000))))
    lasted = time.monotonic() - began
    print(f"5,000 guesses on one account in {lasted:.0f} s: {told['CREDENTIALS_INVALID']} looked at")
    assert told["CREDENTIALS_INVALID"] + told["RATE_LIMITED"] == 5000
    assert 5 <= told["CREDENTIALS_INVALID"] <= 5 + math.log2(lasted + 1) + 1


async def test_unknown_addresses_wait_alike(house: House, email: str) -> None:
    statuses = []
    for address in (email, new_address()):
        await exhaust(house, address)
        with refused(*THROTTLED) as refusal:
            await log_in(house, address, "wrong")
        status = refusal.status
        status.ClearField("details")
        statuses.append((status, refusal.metadata))
    assert statuses[0] == statuses[1]


async def test_capitals_are_no_way_round(house: House, email: str) -> None:
    await exhaust(house, email)
    assert await guess(house, email.upper()) == "RATE_LIMITED"


async def test_one_account_does_not_keep_another_waiting(house: House, mails: PostOffice, email: str) -> None:
    other = new_address()
    await sign_up(house, mails, other)
    await exhaust(house, email)
    await log_in(house, other)


async def test_a_refusal_costs_no_hash_and_one_event_a_minute(house: House, email: str) -> None:
    await exhaust(house, email)
    before = await _events_of(house, email)
    for _ in range(20):
        assert await guess(house, email) == "RATE_LIMITED"
    assert (await _events_of(house, email)) - before == Counter({("session.login_throttled", "denied"): 1})
    async with as_owner(house.database) as connection:
        await connection.execute(
            "update identity.login_throttles set reported_at = reported_at - interval '61 seconds',"
            " retry_at = now() + interval '1 minute' where failures > 0"
        )
    for _ in range(3):
        assert await guess(house, email) == "RATE_LIMITED"
    assert (await _events_of(house, email)) - before == Counter({("session.login_throttled", "denied"): 2})


async def _events_of(house: House, email: str) -> Counter[tuple[str, str]]:
    async with as_owner(house.database) as connection:
        cursor = await connection.execute(
            "select action, outcome from identity.outbox where changes -> 'email' ->> 1 = %s", (email,)
        )
        return Counter(await cursor.fetchall())


class TestDevices:
    async def test_a_known_device_is_not_kept_waiting_by_strangers(self, house: House, email: str) -> None:
        _, login = await log_in(house, email)
        await exhaust(house, email)
        with refused(*THROTTLED):
            await log_in(house, email)
        again = await house.nobody().identity.Login(email=email, password=PASSWORD, device_token=login.device_token)
        assert again.device_token != ""
        # The strangers still wait.
        assert await guess(house, email) == "RATE_LIMITED"

    async def test_its_own_guesses_are_counted(self, house: House, email: str) -> None:
        _, login = await log_in(house, email)
        await exhaust(house, email, login.device_token)
        assert await guess(house, email, login.device_token) == "RATE_LIMITED"
        await log_in(house, email)

    async def test_a_new_token_of_it_is_no_new_device(self, house: House, email: str) -> None:
        _, login = await log_in(house, email)
        again = await house.nobody().identity.Login(email=email, password=PASSWORD, device_token=login.device_token)
        await exhaust(house, email, login.device_token)
        assert await guess(house, email, again.device_token) == "RATE_LIMITED"

    async def test_another_accounts_token_counts_as_none(self, house: House, mails: PostOffice, email: str) -> None:
        other = new_address()
        await sign_up(house, mails, other)
        _, login = await log_in(house, other)
        await exhaust(house, email)
        for token in (login.device_token, "x", "A" * 75, login.device_token[:-1]):
            assert await guess(house, email, token) == "RATE_LIMITED"
        with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
            await house.nobody().identity.Login(email=email, password=PASSWORD, device_token="A" * 101)

    async def test_a_new_one_leaves_a_mail(self, house: House, mails: PostOffice, email: str) -> None:
        _, login = await log_in(house, email)
        elsewhere = _as_program("curl/8")
        channel = grpc.aio.insecure_channel(house.running["identity"].address, options=elsewhere)
        assert await _subjects(mails, email) == []
        async with channel:
            await _login_over(channel, email, "")
            assert await _subjects(mails, email) == ["Somebody logged in from a new device"]
            # Seen before, by its program and address.
            await _login_over(channel, email, "")
        async with grpc.aio.insecure_channel(
            house.running["identity"].address, options=_as_program("other/1")
        ) as third:
            # Known by its token.
            await _login_over(third, email, login.device_token)
        assert len(await _subjects(mails, email)) == 1


async def _subjects(mails: PostOffice, email: str) -> list[str]:
    """But for the first mail, of the sign-up."""
    return [mail.subject for mail in await mails.to(email)][1:]


def _as_program(name: str) -> list[tuple[str, Any]]:
    return [("grpc.primary_user_agent", name)]


async def _login_over(channel: grpc.aio.Channel, email: str, device_token: str) -> None:
    stub = auth_service_pb2_grpc.AuthServiceStub(channel)
    request = auth_service_pb2.LoginRequest(email=email, password=PASSWORD, device_token=device_token)
    await stub.Login(request)


class TestInTheDatabase:
    @pytest.mark.parametrize(
        "statement",
        [
            "update identity.login_throttles set failures = 0",
            "select count(*) from identity.login_throttles",
            "delete from identity.login_throttles",
            "select count(*) from identity.mail_asks",
            "insert into identity.mail_asks (ask_id, purpose, email) values (gen_random_uuid(), 'verify_email', 'a')",
            "select identity.replace_password(gen_random_uuid(), '$argon2id$x', null, gen_random_uuid())",
            "select identity.answer_mail_ask(gen_random_uuid(), gen_random_uuid(), '', '1 h', gen_random_uuid())",
        ],
    )
    async def test_the_app_role_cannot(self, house: House, statement: str) -> None:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with as_role(house.database, "bulkhead_identity_app") as connection:
                await connection.execute(statement.encode())

    @pytest.mark.parametrize(
        ("statement", "error"),
        [
            ("update identity.login_throttles set failures = -1", psycopg.errors.CheckViolation),
            ("insert into identity.login_throttles (bucket) values ('short')", psycopg.errors.CheckViolation),
            ("update identity.mail_asks set mailed_at = now(), answered_at = null", psycopg.errors.CheckViolation),
            ("update identity.mail_asks set purpose = 'invitation'", psycopg.errors.CheckViolation),
            (
                "insert into identity.one_time_tokens (token_id, purpose, user_id, token_hash, expires_at)"
                " select gen_random_uuid(), 'reset_password', u.user_id, sha256(n::text::bytea), now()"
                " from (select user_id from identity.users where email is not null limit 1) as u,"
                " generate_series(1, 2) as n",
                psycopg.errors.UniqueViolation,
            ),
        ],
    )
    async def test_nobody_can(self, house: House, email: str, statement: str, error: type[Exception]) -> None:
        await guess(house, email)
        await house.nobody().identity.RequestPasswordReset(email=email)
        with pytest.raises(error):
            async with as_owner(house.database) as connection:
                await connection.execute(statement.encode())
