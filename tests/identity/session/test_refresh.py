"""RefreshToken: rotation, lost replies, reuse."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
import pytest

from tests.identity.world import PostOffice, as_owner, events, log_in, new_address, sign_up
from tests.support.client import reason_of, refused
from tests.support.house import House


@pytest.fixture
async def login(house: House, mails: PostOffice) -> Any:
    email = new_address()
    await sign_up(house, mails, email)
    _, login = await log_in(house, email)
    return login


async def refresh(house: House, token: str) -> Any:
    return await house.nobody().identity.RefreshToken(refresh_token=token)


async def age(house: House, session_id: str, seconds: int) -> None:
    """As if the session's tokens had been made so long ago."""
    async with as_owner(house.database) as connection:
        await connection.execute(
            "update identity.refresh_tokens set created_at = created_at - make_interval(secs => %s)"
            " where session_id = %s",
            (seconds, session_id),
        )


async def test_each_use_gives_the_next(house: House, login: Any) -> None:
    tokens = [login.refresh_token.token]
    for _ in range(5):
        tokens.append((await refresh(house, tokens[-1])).refresh_token.token)
    assert len(set(tokens)) == 6
    assert all(len(token) == 43 for token in tokens)


async def test_a_lost_reply_can_be_had_again(house: House, login: Any) -> None:
    first = await refresh(house, login.refresh_token.token)
    second = await refresh(house, login.refresh_token.token)
    assert first.refresh_token == second.refresh_token
    await refresh(house, first.refresh_token.token)


async def test_only_the_direct_predecessor_may_repeat(house: House, login: Any) -> None:
    child = await refresh(house, login.refresh_token.token)
    grandchild = await refresh(house, child.refresh_token.token)
    with refused("UNAUTHENTICATED", "REFRESH_TOKEN_INVALID"):
        await refresh(house, login.refresh_token.token)
    # The family is dead.
    with refused("UNAUTHENTICATED", "REFRESH_TOKEN_INVALID"):
        await refresh(house, grandchild.refresh_token.token)


async def test_reuse_after_the_grace_ends_the_session(house: House, login: Any) -> None:
    child = await refresh(house, login.refresh_token.token)
    await age(house, login.session_id, 31)
    with refused("UNAUTHENTICATED", "REFRESH_TOKEN_INVALID"):
        await refresh(house, login.refresh_token.token)
    with refused("UNAUTHENTICATED", "REFRESH_TOKEN_INVALID"):
        await refresh(house, child.refresh_token.token)
    captured = await events(house.database, login.session_id)
    assert [(action, outcome) for action, outcome, _ in captured] == [
        ("session.created", "ok"),
        ("session.revoked", "ok"),
        ("refresh_token.reused", "denied"),
    ]
    assert captured[1][2]["revoke_reason"] == [None, "token_reused"]


async def test_within_the_grace_it_does_not(house: House, login: Any) -> None:
    child = await refresh(house, login.refresh_token.token)
    await age(house, login.session_id, 25)
    assert (await refresh(house, login.refresh_token.token)).refresh_token == child.refresh_token
    await refresh(house, child.refresh_token.token)


async def test_five_hundred_at_once_have_one_child(house: House, login: Any) -> None:
    async def one() -> str:
        while True:
            try:
                return str((await refresh(house, login.refresh_token.token)).refresh_token.token)
            except grpc.aio.AioRpcError as error:
                # A full server may say so; the token is not lost by it.
                if reason_of(error) not in ("OVERLOADED", "DATABASE_UNAVAILABLE"):
                    raise
                await asyncio.sleep(0.05)

    children = set(await asyncio.gather(*(one() for _ in range(500))))
    assert len(children) == 1
    async with as_owner(house.database) as connection:
        cursor = await connection.execute(
            "select count(*) from identity.refresh_tokens where session_id = %s", (login.session_id,)
        )
        assert await cursor.fetchone() == (2,)
    await refresh(house, children.pop())


async def test_ends_with_the_session_however_often_it_is_used(house: House, login: Any) -> None:
    async with as_owner(house.database) as connection:
        await connection.execute(
            "update identity.sessions set expires_at = now() + interval '1 hour' where session_id = %s",
            (login.session_id,),
        )
    child = await refresh(house, login.refresh_token.token)
    assert child.refresh_token.expire_time.ToSeconds() < login.refresh_token.expire_time.ToSeconds() - 3600
    async with as_owner(house.database) as connection:
        await connection.execute(
            "update identity.sessions set expires_at = now() where session_id = %s", (login.session_id,)
        )
    with refused("UNAUTHENTICATED", "REFRESH_TOKEN_INVALID"):
        await refresh(house, child.refresh_token.token)


async def test_an_unused_token_ends(house: House, login: Any) -> None:
    async with as_owner(house.database) as connection:
        await connection.execute(
            "update identity.refresh_tokens set expires_at = now() where session_id = %s", (login.session_id,)
        )
    with refused("UNAUTHENTICATED", "REFRESH_TOKEN_INVALID"):
        await refresh(house, login.refresh_token.token)


@pytest.mark.parametrize("token", ["x", "A" * 43, "\U0001f511" * 25])
async def test_unknown_tokens_are_refused(house: House, token: str) -> None:
    with refused("UNAUTHENTICATED", "REFRESH_TOKEN_INVALID"):
        await refresh(house, token)


async def test_an_access_token_is_none(house: House, login: Any) -> None:
    with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
        await refresh(house, login.access_token.token)


async def test_a_refresh_token_is_no_access_token(house: House, login: Any) -> None:
    with refused("UNAUTHENTICATED", "TOKEN_INVALID"):
        await house.with_token(login.refresh_token.token).identity.ListMyTenants()
