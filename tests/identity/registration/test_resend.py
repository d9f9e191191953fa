"""ResendVerification."""

from __future__ import annotations

import asyncio

from bulkhead_identity.mail_ask.actions import answer_asks
from bulkhead_kit.ids import new_id

from tests.identity.world import (
    PASSWORD,
    PostOffice,
    as_owner,
    log_in,
    new_address,
    pass_time,
    read_folder,
    sign_up,
)
from tests.support.callers import worker_caller
from tests.support.client import refused
from tests.support.house import House

CONFIRM = "Confirm your e-mail address"
OTHER = "nine loud badgers sleeping"


async def resend(house: House, mails: PostOffice, email: str) -> list[str]:
    """The subjects of all mails to the address afterwards."""
    reply = await house.nobody().identity.ResendVerification(email=email)
    assert reply.SerializeToString() == b""
    return [mail.subject for mail in await mails.to(email)]


async def test_a_new_token_takes_the_place_of_the_one_before(house: House, mails: PostOffice) -> None:
    email = new_address()
    await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
    assert await resend(house, mails, email) == [CONFIRM, CONFIRM]
    lost, found = await mails.to(email)
    with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
        await house.nobody().identity.VerifyEmail(token=lost.token, password=PASSWORD)
    await house.nobody().identity.VerifyEmail(token=found.token, password=PASSWORD)
    await log_in(house, email)


async def test_an_expired_token_can_be_had_again(house: House, mails: PostOffice) -> None:
    email = new_address()
    await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
    (late,) = await mails.to(email)
    await pass_time(house.database, 90)
    with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
        await house.nobody().identity.VerifyEmail(token=late.token, password=PASSWORD)
    await resend(house, mails, email)
    await house.nobody().identity.VerifyEmail(token=(await mails.to(email))[-1].token, password=PASSWORD)


async def test_is_for_the_sign_up_that_was_made_last(house: House, mails: PostOffice) -> None:
    email = new_address()
    await house.nobody().identity.SignUp(email=email, password=OTHER, full_name="Eve")
    await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
    await resend(house, mails, email)
    token = (await mails.to(email))[-1].token
    with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
        await house.nobody().identity.VerifyEmail(token=token, password=OTHER)
    await house.nobody().identity.VerifyEmail(token=token, password=PASSWORD)
    await log_in(house, email)


async def test_gives_no_new_tries_to_a_guesser(house: House, mails: PostOffice) -> None:
    email = new_address()
    await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
    for _ in range(2):
        token = (await mails.to(email))[-1].token
        for _ in range(2):
            with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
                await house.nobody().identity.VerifyEmail(token=token, password="wrong")
        await resend(house, mails, email)
        await pass_time(house.database, 1)
    token = (await mails.to(email))[-1].token
    with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
        await house.nobody().identity.VerifyEmail(token=token, password="wrong")
    # The fifth was the last.
    with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
        await house.nobody().identity.VerifyEmail(token=token, password=PASSWORD)
    assert len(await resend(house, mails, email)) == 3


async def test_a_proved_address_is_told_so_and_an_unknown_one_nothing(house: House, mails: PostOffice) -> None:
    email = new_address()
    await sign_up(house, mails, email)
    assert await resend(house, mails, email) == [CONFIRM, "You have an account already"]
    assert await resend(house, mails, new_address()) == []


async def test_mails_once_a_minute(house: House, mails: PostOffice) -> None:
    email = new_address()
    await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
    for _ in range(3):
        assert len(await resend(house, mails, email)) == 2
    await pass_time(house.database, 1)
    assert len(await resend(house, mails, email)) == 3


async def test_a_request_id_asks_once(house: House, mails: PostOffice) -> None:
    email, request_id = new_address(), str(new_id())
    await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
    for _ in range(2):
        await house.nobody().identity.ResendVerification(email=email, request_id=request_id)
        assert len(await mails.to(email)) == 2
        await pass_time(house.database, 2)
    with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
        await house.nobody().identity.ResendVerification(email=new_address(), request_id=request_id)


async def test_two_workers_answer_an_ask_once(house: House, mails: PostOffice) -> None:
    email = new_address()
    await house.nobody().identity.SignUp(email=email, password=PASSWORD, full_name="Ann")
    await mails.to(email)
    for _ in range(5):
        await house.nobody().identity.ResendVerification(email=email)
    await asyncio.gather(*(answer_asks(mails.answering, worker_caller()) for _ in range(4)))
    assert len(await mails.to(email)) == 2
    async with as_owner(house.database) as connection:
        cursor = await connection.execute("select count(*) from identity.mail_asks where answered_at is null")
        assert await cursor.fetchone() == (0,)
    assert len({mail.token for mail in read_folder(mails.folder) if mail.to == email}) == 2
