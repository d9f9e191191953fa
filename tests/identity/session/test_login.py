"""Login, SelectTenant and Logout."""

from __future__ import annotations

import time
from uuid import UUID

import pytest
from bulkhead_kit.caller import Role
from bulkhead_kit.ids import new_id
from bulkhead_kit.keyfiles import ACCESS, load_public_keys
from bulkhead_kit.keysets import KeySet
from bulkhead_kit.tokens import AccessClaims, access_verifier

from tests.identity.world import (
    PASSWORD,
    PostOffice,
    as_owner,
    events,
    forget_failures,
    log_in,
    new_address,
    set_status,
    sign_up,
)
from tests.support.client import refused
from tests.support.house import House
from tests.support.people import start_session
from tests.support.tokens import AUDIENCE, ISSUER

NOBODY = UUID(int=0)


def claims_of(house: House, token: str) -> AccessClaims:
    keys = load_public_keys(house.mint.keys, [ACCESS])
    return access_verifier(keys, issuer=ISSUER, audience=AUDIENCE).verify(token)


async def test_starts_a_session(house: House, mails: PostOffice) -> None:
    email = new_address()
    user_id = await sign_up(house, mails, email)
    _, login = await log_in(house, email)
    captured = await events(house.database, login.session_id)
    assert [action for action, _, _ in captured] == ["session.created"]
    assert captured[0][2]["user_id"] == [None, user_id]
    assert captured[0][2]["ip"] == [None, "127.0.0.1"]
    lasts = login.refresh_token.expire_time.ToSeconds() - time.time()
    assert 23 * 3600 < lasts < 25 * 3600
    assert 200 < login.access_token.expire_time.ToSeconds() - time.time() <= 300


async def test_wrong_passwords_and_unknown_addresses_get_one_answer(house: House, mails: PostOffice) -> None:
    email = new_address()
    user_id = await sign_up(house, mails, email)
    with refused("UNAUTHENTICATED", "CREDENTIALS_INVALID") as known:
        await log_in(house, email, "wrong")
    stranger = new_address()
    with refused("UNAUTHENTICATED", "CREDENTIALS_INVALID") as unknown:
        await log_in(house, stranger, "wrong")
    assert known.status == unknown.status
    assert ("session.login_failed", "failed", {"email": [None, email]}) in await events(house.database, user_id)
    assert ("session.login_failed", "failed", {"email": [None, stranger]}) in await events(house.database, NOBODY)


async def test_unknown_addresses_cost_a_hash_too(house: House, mails: PostOffice) -> None:
    email = new_address()
    await sign_up(house, mails, email)

    async def timed(address: str) -> float:
        await forget_failures(house.database)
        began = time.perf_counter()
        with refused("UNAUTHENTICATED", "CREDENTIALS_INVALID"):
            await log_in(house, address, "wrong")
        return time.perf_counter() - began

    pairs = [(await timed(email), await timed(new_address())) for _ in range(15)]
    known, unknown = (sorted(times)[len(times) // 2] for times in zip(*pairs, strict=True))
    assert 0.6 < known / unknown < 1.7


async def test_a_disabled_account_cannot_log_in(house: House, mails: PostOffice) -> None:
    email = new_address()
    user_id = await sign_up(house, mails, email)
    _, login = await log_in(house, email)
    async with as_owner(house.database) as connection:
        await connection.execute("update identity.users set status = 'disabled' where user_id = %s", (user_id,))
    with refused("UNAUTHENTICATED", "CREDENTIALS_INVALID"):
        await log_in(house, email)
    with refused("UNAUTHENTICATED", "REFRESH_TOKEN_INVALID"):
        await house.nobody().identity.RefreshToken(refresh_token=login.refresh_token.token)


async def test_a_request_id_logs_in_once(house: House, mails: PostOffice) -> None:
    email, other, request_id = new_address(), new_address(), str(new_id())
    await sign_up(house, mails, email)
    await sign_up(house, mails, other)
    nobody = house.nobody()
    first = await nobody.identity.Login(email=email, password=PASSWORD, request_id=request_id)
    with refused("FAILED_PRECONDITION", "SECRET_ALREADY_SHOWN"):
        await nobody.identity.Login(email=email, password=PASSWORD, request_id=request_id)
    with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
        await nobody.identity.Login(email=other, password=PASSWORD, request_id=request_id)
    await nobody.identity.RefreshToken(refresh_token=first.refresh_token.token)


@pytest.mark.parametrize(
    "request_fields",
    [
        {"email": "", "password": PASSWORD},
        {"email": "nobody", "password": PASSWORD},
        {"email": "a@b.example", "password": ""},
        {"email": "a@b.example", "password": "x" * 129},
        {"email": "a@b.example", "password": PASSWORD, "request_id": "x"},
    ],
)
async def test_what_is_wrong_is_named(house: House, request_fields: dict[str, str]) -> None:
    with refused("INVALID_ARGUMENT", "INVALID_FIELD") as refusal:
        await house.nobody().identity.Login(**request_fields)
    assert PASSWORD not in refusal.message


async def test_an_expired_token_is_no_hindrance(house: House, mails: PostOffice) -> None:
    email = new_address()
    user_id = await sign_up(house, mails, email)
    late = house.with_token(house.mint.person(UUID(user_id), lasts=-60))
    await late.identity.Login(email=email, password=PASSWORD)


class TestSelectTenant:
    async def test_says_who_she_is_there(self, house: House) -> None:
        tenant = await house.tenant("select")
        for role, member in tenant.people.items():
            person = await house.signed_in(member)
            reply = await person.identity.SelectTenant(tenant_id=str(tenant.tenant_id))
            claims = claims_of(house, reply.access_token.token)
            assert (claims.sub, claims.tid, claims.role, claims.mv) == (member.user_id, tenant.tenant_id, role, 1)
            assert reply.role == role

    async def test_works_with_a_token_of_another_tenant(self, house: House, mails: PostOffice) -> None:
        email = new_address()
        await sign_up(house, mails, email)
        person, _ = await log_in(house, email)
        slugs = [f"two-{new_id().hex[-12:]}" for _ in range(2)]
        first, second = [await person.identity.CreateTenant(tenant={"slug": slug, "name": "Two"}) for slug in slugs]
        in_first = house.with_token((await person.identity.SelectTenant(tenant_id=first.tenant_id)).access_token.token)
        in_second = house.with_token(
            (await in_first.identity.SelectTenant(tenant_id=second.tenant_id)).access_token.token
        )
        await in_second.identity.GetTenant(tenant_id=second.tenant_id)

    async def test_a_token_is_not_renewed_by_selecting(self, house: House, mails: PostOffice) -> None:
        """A stolen token ends when it would have, whatever chain of tokens the thief makes of it."""
        email = new_address()
        await sign_up(house, mails, email)
        person, login = await log_in(house, email)
        tenant = await person.identity.CreateTenant(tenant={"slug": f"thief-{new_id().hex[-12:]}", "name": "Thief"})
        token = house.mint.person(UUID(login.user_id), session_id=UUID(login.session_id), lasts=20)
        ends = claims_of(house, token).exp
        for _ in range(3):
            reply = await house.with_token(token).identity.SelectTenant(tenant_id=tenant.tenant_id)
            token = reply.access_token.token
            assert claims_of(house, token).exp == reply.access_token.expire_time.ToSeconds() == ends

    async def test_asks_the_database_who_administers_the_platform(self, house: House) -> None:
        tenant = await house.tenant("platform")
        member = tenant.people[Role.OWNER]
        session = await start_session(await house.connection(), member)
        for is_admin in (False, True):
            async with as_owner(house.database) as connection:
                await connection.execute(
                    "update identity.users set is_platform_admin = %s where user_id = %s", (is_admin, member.user_id)
                )
            person = house.with_token(
                house.mint.person(member.user_id, session_id=session, platform_admin=not is_admin)
            )
            reply = await person.identity.SelectTenant(tenant_id=str(tenant.tenant_id))
            assert claims_of(house, reply.access_token.token).platform_admin is is_admin

    async def test_tells_nothing_of_other_tenants(self, house: House) -> None:
        own, other = await house.tenant("own"), await house.tenant("other")
        person = await house.signed_in(own.people[Role.OWNER])
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as theirs:
            await person.identity.SelectTenant(tenant_id=str(other.tenant_id))
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as nobodys:
            await person.identity.SelectTenant(tenant_id=str(new_id()))
        await set_status(house.database, own.tenant_id, "deleted")
        with refused("NOT_FOUND", "RESOURCE_NOT_FOUND") as deleted:
            await person.identity.SelectTenant(tenant_id=str(own.tenant_id))
        assert theirs.status == nobodys.status == deleted.status

    async def test_a_suspended_tenant_can_be_read(self, house: House) -> None:
        tenant = await house.tenant("suspended")
        person = await house.signed_in(tenant.people[Role.OWNER])
        await set_status(house.database, tenant.tenant_id, "suspended")
        reply = await person.identity.SelectTenant(tenant_id=str(tenant.tenant_id))
        member = house.with_token(reply.access_token.token)
        assert len((await member.identity.ListMembers()).members) == 5
        with refused("FAILED_PRECONDITION", "TENANT_SUSPENDED"):
            await member.identity.InviteMember(email=new_address(), role=2)

    async def test_needs_a_session_that_lasts(self, house: House) -> None:
        tenant = await house.tenant("session")
        owner = tenant.people[Role.OWNER]
        with refused("UNAUTHENTICATED", "SESSION_ENDED"):
            await house.user(owner.user_id).identity.SelectTenant(tenant_id=str(tenant.tenant_id))

    async def test_needs_a_token(self, house: House) -> None:
        with refused("UNAUTHENTICATED", "TOKEN_MISSING"):
            await house.nobody().identity.SelectTenant(tenant_id=str(new_id()))

    @pytest.mark.parametrize("tenant_id", ["", "x", "0" * 32])
    async def test_needs_an_id(self, house: House, tenant_id: str) -> None:
        with refused("INVALID_ARGUMENT", "INVALID_FIELD"):
            await house.user(new_id()).identity.SelectTenant(tenant_id=tenant_id)


class TestLogout:
    async def test_ends_the_session(self, house: House, mails: PostOffice) -> None:
        email = new_address()
        await sign_up(house, mails, email)
        person, login = await log_in(house, email)
        other, _ = await log_in(house, email)
        tenant = await person.identity.CreateTenant(tenant={"slug": f"bye-{new_id().hex[-12:]}", "name": "Bye"})
        request_id = str(new_id())
        for _ in range(2):
            await person.identity.Logout(request_id=request_id)
        await person.identity.Logout()
        with refused("UNAUTHENTICATED", "SESSION_ENDED"):
            await person.identity.SelectTenant(tenant_id=tenant.tenant_id)
        with refused("UNAUTHENTICATED", "REFRESH_TOKEN_INVALID"):
            await house.nobody().identity.RefreshToken(refresh_token=login.refresh_token.token)
        # The other session is untouched.
        await other.identity.SelectTenant(tenant_id=tenant.tenant_id)
        captured = await events(house.database, login.session_id)
        assert [action for action, _, _ in captured] == ["session.created", "session.revoked"]
        assert captured[1][2]["revoke_reason"] == [None, "logout"]

    async def test_ends_nobody_elses(self, house: House, mails: PostOffice) -> None:
        email = new_address()
        await sign_up(house, mails, email)
        _, login = await log_in(house, email)
        stranger = await house.person()
        forged = house.mint.person(stranger.user_id, session_id=UUID(login.session_id))
        await house.with_token(forged).identity.Logout()
        await house.nobody().identity.RefreshToken(refresh_token=login.refresh_token.token)

    async def test_works_for_a_member_who_has_been_disabled(self, house: House) -> None:
        tenant = await house.tenant("left")
        viewer = tenant.people[Role.VIEWER]
        person = await house.signed_in(viewer)
        chosen = await person.identity.SelectTenant(tenant_id=str(tenant.tenant_id))
        await tenant.owner.identity.DisableMember(user_id=str(viewer.user_id))
        await house.with_token(chosen.access_token.token).identity.Logout()
        with refused("UNAUTHENTICATED", "SESSION_ENDED"):
            await person.identity.SelectTenant(tenant_id=str(tenant.tenant_id))


async def test_the_published_keys_verify_tokens(house: House, mails: PostOffice) -> None:
    email = new_address()
    user_id = await sign_up(house, mails, email)
    _, login = await log_in(house, email)
    reply = await house.nobody().identity.GetJwks()
    jwks = {"keys": [{field.name: getattr(key, field.name) for field in key.DESCRIPTOR.fields} for key in reply.keys]}
    claims = access_verifier(KeySet.from_jwks(jwks), issuer=ISSUER, audience=AUDIENCE).verify(login.access_token.token)
    assert str(claims.sub) == user_id
    assert all("d" not in key for key in jwks["keys"])
