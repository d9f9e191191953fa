"""ListSessions, RevokeSession and RevokeOtherSessions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bulkhead_kit.ids import new_id

from tests.identity.world import PASSWORD, PostOffice, events, log_in, new_address, sign_up
from tests.support.client import Client, refused
from tests.support.house import House


@pytest.fixture
async def email(house: House, mails: PostOffice) -> str:
    address = new_address()
    await sign_up(house, mails, address)
    return address


async def is_over(house: House, client: Client, login: Any) -> None:
    """At once: no tenant can be selected and no token refreshed."""
    with refused("UNAUTHENTICATED", "SESSION_ENDED"):
        await client.identity.SelectTenant(tenant_id=str(new_id()))
    with refused("UNAUTHENTICATED", "REFRESH_TOKEN_INVALID"):
        await house.nobody().identity.RefreshToken(refresh_token=login.refresh_token.token)


async def lasts(house: House, login: Any) -> None:
    await house.nobody().identity.RefreshToken(refresh_token=login.refresh_token.token)


async def ids(client: Client) -> list[str]:
    return [session.session_id for session in (await client.identity.ListSessions()).sessions]


class TestListSessions:
    async def test_shows_where_she_is_logged_in(self, house: House, email: str) -> None:
        reply = await house.nobody().identity.Login(email=email, password=PASSWORD)
        person, login = await log_in(house, email)
        newer, older = (await person.identity.ListSessions()).sessions
        assert (newer.session_id, older.session_id) == (login.session_id, reply.session_id)
        assert (newer.is_current, older.is_current) == (True, False)
        assert newer.ip == older.ip == "127.0.0.1"
        assert newer.user_agent.startswith("grpc")
        assert newer.create_time.ToMicroseconds() == newer.last_seen_time.ToMicroseconds()
        assert 29 * 86400 < newer.expire_time.ToSeconds() - newer.create_time.ToSeconds() <= 30 * 86400
        await house.nobody().identity.RefreshToken(refresh_token=reply.refresh_token.token)
        older = (await person.identity.ListSessions()).sessions[1]
        assert older.last_seen_time.ToMicroseconds() > older.create_time.ToMicroseconds()

    async def test_goes_from_page_to_page(self, house: House, email: str) -> None:
        made = [(await log_in(house, email))[1].session_id for _ in range(4)]
        person, login = await log_in(house, email)
        found: list[str] = []
        token = ""
        while True:
            page = await person.identity.ListSessions(page_size=2, page_token=token)
            assert len(page.sessions) <= 2
            found += [session.session_id for session in page.sessions]
            if not (token := page.next_page_token):
                break
        assert found == [login.session_id, *reversed(made)]

    async def test_a_page_token_is_the_persons_own(self, house: House, mails: PostOffice, email: str) -> None:
        other = new_address()
        await sign_up(house, mails, other)
        person, _ = await log_in(house, email)
        await log_in(house, email)
        stranger, _ = await log_in(house, other)
        token = (await person.identity.ListSessions(page_size=1)).next_page_token
        with refused("INVALID_ARGUMENT", "INVALID_PAGE_TOKEN"):
            await stranger.identity.ListSessions(page_size=1, page_token=token)
        with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
            await person.identity.ListSessions(page_size=-1)

    async def test_shows_nobody_elses(self, house: House, mails: PostOffice, email: str) -> None:
        other = new_address()
        await sign_up(house, mails, other)
        _, theirs = await log_in(house, other)
        person, login = await log_in(house, email)
        assert await ids(person) == [login.session_id]
        assert theirs.session_id != login.session_id

    async def test_needs_a_session_that_lasts(self, house: House, email: str) -> None:
        person, _ = await log_in(house, email)
        await person.identity.Logout()
        with refused("UNAUTHENTICATED", "SESSION_ENDED"):
            await person.identity.ListSessions()
        with refused("UNAUTHENTICATED", "TOKEN_MISSING"):
            await house.nobody().identity.ListSessions()


class TestRevokeSession:
    async def test_ends_it_at_once(self, house: House, email: str) -> None:
        lost, of_lost = await log_in(house, email)
        person, login = await log_in(house, email)
        request_id = str(new_id())
        for _ in range(2):
            await person.identity.RevokeSession(session_id=of_lost.session_id, request_id=request_id)
        await person.identity.RevokeSession(session_id=of_lost.session_id)
        await is_over(house, lost, of_lost)
        await lasts(house, login)
        assert await ids(person) == [login.session_id]
        captured = await events(house.database, of_lost.session_id)
        assert [action for action, _, _ in captured] == ["session.created", "session.revoked"]
        assert captured[1][2]["revoke_reason"] == [None, "revoked"]

    async def test_may_be_the_own_one(self, house: House, email: str) -> None:
        person, login = await log_in(house, email)
        await person.identity.RevokeSession(session_id=login.session_id)
        await is_over(house, person, login)

    async def test_is_alike_for_others_and_unknown_ones(self, house: House, mails: PostOffice, email: str) -> None:
        other = new_address()
        await sign_up(house, mails, other)
        _, theirs = await log_in(house, other)
        person, _ = await log_in(house, email)
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as others:
            await person.identity.RevokeSession(session_id=theirs.session_id)
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as unknown:
            await person.identity.RevokeSession(session_id=str(new_id()))
        assert others.status == unknown.status
        await lasts(house, theirs)

    async def test_a_session_that_has_ended_ends_no_others(self, house: House, email: str) -> None:
        _, login = await log_in(house, email)
        thief, stolen = await log_in(house, email)
        person, _ = await log_in(house, email)
        await person.identity.RevokeSession(session_id=stolen.session_id)
        with refused("UNAUTHENTICATED", "SESSION_ENDED"):
            await thief.identity.RevokeSession(session_id=login.session_id)
        with refused("UNAUTHENTICATED", "SESSION_ENDED"):
            await thief.identity.RevokeOtherSessions()
        await lasts(house, login)

    async def test_a_request_id_is_for_one_session(self, house: House, email: str) -> None:
        (_, first), (_, second), (person, _) = [await log_in(house, email) for _ in range(3)]
        request_id = str(new_id())
        await person.identity.RevokeSession(session_id=first.session_id, request_id=request_id)
        with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
            await person.identity.RevokeSession(session_id=second.session_id, request_id=request_id)
        await lasts(house, second)

    @pytest.mark.parametrize("session_id", ["", "x"])
    async def test_needs_an_id(self, house: House, session_id: str) -> None:
        with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
            await house.user(new_id()).identity.RevokeSession(session_id=session_id)
        assert refusal.fields == ["session_id"]

    async def test_refreshing_meanwhile_does_not_save_it(self, house: House, email: str) -> None:
        """Whichever comes first: after the answer nothing comes out of the session's tokens."""
        person, _ = await log_in(house, email)
        for _ in range(5):
            _, lost = await log_in(house, email)
            outcomes: Any = await asyncio.gather(
                house.nobody().identity.RefreshToken(refresh_token=lost.refresh_token.token),
                person.identity.RevokeSession(session_id=lost.session_id),
                return_exceptions=True,
            )
            latest = lost if isinstance(outcomes[0], BaseException) else outcomes[0]
            with refused("UNAUTHENTICATED", "REFRESH_TOKEN_INVALID"):
                await house.nobody().identity.RefreshToken(refresh_token=latest.refresh_token.token)


class TestRevokeOtherSessions:
    async def test_leaves_the_callers(self, house: House, mails: PostOffice, email: str) -> None:
        stranger = new_address()
        await sign_up(house, mails, stranger)
        _, theirs = await log_in(house, stranger)
        others = [await log_in(house, email) for _ in range(3)]
        person, login = await log_in(house, email)
        request_id = str(new_id())
        assert (await person.identity.RevokeOtherSessions(request_id=request_id)).revoked_count == 3
        for client, other in others:
            await is_over(house, client, other)
        await lasts(house, theirs)
        _, later = await log_in(house, email)
        assert (await person.identity.RevokeOtherSessions(request_id=request_id)).revoked_count == 3
        await lasts(house, later)
        assert (await person.identity.RevokeOtherSessions()).revoked_count == 1
        assert await ids(person) == [login.session_id]
        await lasts(house, login)

    async def test_needs_a_token(self, house: House) -> None:
        with refused("UNAUTHENTICATED", "TOKEN_MISSING"):
            await house.nobody().identity.RevokeOtherSessions()
        with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
            await house.user(new_id()).identity.RevokeOtherSessions(request_id="x")
