"""ChangePassword."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from bulkhead.identity.v1 import auth_service_pb2 as pb
from bulkhead_kit.ids import new_id

from tests.identity.world import PASSWORD, PostOffice, as_owner, events, log_in, new_address, sign_up
from tests.support.client import Client, reason_of, refused
from tests.support.house import House

NEW = "seven quiet otters dancing"
OTHER = "nine loud badgers sleeping"


@pytest.fixture
async def email(house: House, mails: PostOffice) -> str:
    address = new_address()
    await sign_up(house, mails, address)
    return address


async def change(client: Client, current: str, new: str, request_id: str = "") -> None:
    await client.identity.ChangePassword(current_password=current, new_password=new, request_id=request_id)


async def test_ends_the_other_sessions_and_keeps_the_own(house: House, mails: PostOffice, email: str) -> None:
    other, of_other = await log_in(house, email)
    person, login = await log_in(house, email)
    await change(person, PASSWORD, NEW)
    with refused("UNAUTHENTICATED", "SESSION_ENDED"):
        await other.identity.ListSessions()
    with refused("UNAUTHENTICATED", "REFRESH_TOKEN_INVALID"):
        await house.nobody().identity.RefreshToken(refresh_token=of_other.refresh_token.token)
    await house.nobody().identity.RefreshToken(refresh_token=login.refresh_token.token)
    with refused("UNAUTHENTICATED", "CREDENTIALS_INVALID"):
        await log_in(house, email)
    await log_in(house, email, NEW)
    assert (await mails.to(email))[-1].subject == "Your password has been changed"


async def test_wants_the_current_one(house: House, email: str) -> None:
    person, login = await log_in(house, email)
    with refused("UNAUTHENTICATED", "CREDENTIALS_INVALID"):
        await change(person, "wrong", NEW)
    assert ("password.change_failed", "failed", {}) in await events(house.database, login.user_id)
    await log_in(house, email)
    await change(person, PASSWORD, NEW)


async def test_a_repeat_gets_the_same_answer(house: House, mails: PostOffice, email: str) -> None:
    person, _ = await log_in(house, email)
    request_id = str(new_id())
    await change(person, PASSWORD, NEW, request_id)
    _, later = await log_in(house, email, NEW)
    await change(person, PASSWORD, NEW, request_id)
    await house.nobody().identity.RefreshToken(refresh_token=later.refresh_token.token)
    assert [mail.subject for mail in await mails.to(email)].count("Your password has been changed") == 1
    with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
        await change(person, PASSWORD, OTHER, request_id)


async def test_no_digest_of_a_password_is_kept(house: House, email: str) -> None:
    """Two people with the same request leave different digests only if a key is in them; guessing needs the key."""
    person, login = await log_in(house, email)
    request_id = str(new_id())
    await change(person, PASSWORD, NEW, request_id)
    async with as_owner(house.database) as connection:
        cursor = await connection.execute(
            "select request_digest from identity.user_request_ids where user_id = %s and request_id = %s",
            (login.user_id, request_id),
        )
        row = await cursor.fetchone()
    assert row is not None
    plain = _plain_digest(request_id)
    assert bytes(row[0]) != plain


def _plain_digest(request_id: str) -> bytes:
    """As RequestIds makes it of a request without secrets."""
    request = pb.ChangePasswordRequest(current_password=PASSWORD, new_password=NEW, request_id=request_id)
    rpc = b"/bulkhead.identity.v1.AuthService/ChangePassword"
    return hashlib.sha256(rpc + b"\0" + request.SerializeToString(deterministic=True)).digest()


async def test_one_of_two_at_once_wins(house: House, email: str) -> None:
    person, _ = await log_in(house, email)
    outcomes = await asyncio.gather(
        change(person, PASSWORD, NEW), change(person, PASSWORD, OTHER), return_exceptions=True
    )
    assert sorted(outcome is None for outcome in outcomes) == [False, True]
    (lost,) = [outcome for outcome in outcomes if outcome is not None]
    assert reason_of(lost) in {"CONFLICT", "CREDENTIALS_INVALID"}  # type: ignore[arg-type]  # an AioRpcError, or it fails
    await log_in(house, email, NEW if outcomes[0] is None else OTHER)


async def test_makes_a_reset_that_was_asked_for_worthless(house: House, mails: PostOffice, email: str) -> None:
    await house.nobody().identity.RequestPasswordReset(email=email)
    token = (await mails.to(email))[-1].token
    person, _ = await log_in(house, email)
    await change(person, PASSWORD, NEW)
    with refused("FAILED_PRECONDITION", "ONE_TIME_TOKEN_INVALID"):
        await house.nobody().identity.ResetPassword(token=token, new_password=OTHER)


async def test_needs_a_session_that_lasts(house: House, email: str) -> None:
    person, _ = await log_in(house, email)
    await person.identity.Logout()
    with refused("UNAUTHENTICATED", "SESSION_ENDED"):
        await change(person, PASSWORD, NEW)
    with refused("UNAUTHENTICATED", "TOKEN_MISSING"):
        await change(house.nobody(), PASSWORD, NEW)


async def test_guesses_are_throttled_apart_from_logins(house: House, email: str) -> None:
    person, _ = await log_in(house, email)
    for _ in range(5):
        with refused("UNAUTHENTICATED", "CREDENTIALS_INVALID"):
            await change(person, "wrong", NEW)
    with refused("RESOURCE_EXHAUSTED", "RATE_LIMITED") as refusal:
        await change(person, PASSWORD, NEW)
    assert refusal.metadata["limit"] == "login_account"
    await log_in(house, email)
    await asyncio.sleep(1.1)
    await change(person, PASSWORD, NEW)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"current_password": ""}, "current_password"),
        ({"current_password": "x" * 129}, "current_password"),
        ({"new_password": "short"}, "new_password"),
        ({"new_password": "password12"}, "new_password"),
        ({"request_id": "x"}, "request_id"),
    ],
)
async def test_what_is_wrong_is_named(house: House, email: str, changed: dict[str, str], field: str) -> None:
    person, _ = await log_in(house, email)
    with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
        await person.identity.ChangePassword(**{"current_password": PASSWORD, "new_password": NEW, **changed})
    assert refusal.fields == [field]
    assert changed.get("new_password", "never") not in refusal.message
