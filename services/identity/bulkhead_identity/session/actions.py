"""Sign-up, login, refresh, logout."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from bulkhead_kit.caller import Caller, Role
from bulkhead_kit.db import Database, Transaction
from bulkhead_kit.errors import NotFound
from bulkhead_kit.ids import new_id

from bulkhead_identity.derived import DerivedTokens, hash_of
from bulkhead_identity.passwords import Passwords
from bulkhead_identity.session import rules, store
from bulkhead_identity.session.rules import Issued, Lives, SignedIn, SignUp
from bulkhead_identity.session.tokens import AccessTokens

_TOKEN_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    database: Database
    passwords: Passwords
    access: AccessTokens
    derived: DerivedTokens
    lives: Lives


async def sign_up(tools: Tools, caller: Caller, new: SignUp) -> None:
    # Before the database is asked: known and unknown addresses cost the same.
    password_hash = await tools.passwords.hash(new.password)
    token_id = new_id()
    async with tools.database.transaction(caller) as tx:
        store.sign_up(
            tx,
            email=new.email,
            full_name=new.full_name,
            password_hash=password_hash,
            token_id=token_id,
            token_hash=hash_of(tools.derived.one_time(token_id)),
            life=tools.lives.verify_email,
            mail_id=new.request_id or new_id(),
            digest=new.digest,
        )


async def verify_email(tools: Tools, caller: Caller, token: str, password: str, request_id: UUID | None) -> str:
    # Counted before it is checked, and kept whatever comes of it: many at a time are no more guesses than one by one.
    async with tools.database.transaction(caller) as tx:
        password_hash = await store.try_verification(tx, hash_of(token), request_id)
    rules.demand_sign_up(await tools.passwords.verify(password, password_hash))
    async with tools.database.transaction(caller) as tx:
        return await store.verify_email(tx, hash_of(token), request_id)


async def login(tools: Tools, caller: Caller, email: str, password: str, request_id: UUID | None) -> SignedIn:
    # No connection is held while the password is checked.
    found = await store.find_credentials(tools.database.read(caller), email)
    is_right = await tools.passwords.verify(password, found.password_hash if found else None)
    if not is_right:
        async with tools.database.transaction(caller) as tx:
            store.record_failed_login(tx, email, found.user_id if found else None)
    person = rules.demand_login(found, is_right)
    session_id, token = request_id or new_id(), secrets.token_urlsafe(_TOKEN_BYTES)
    async with tools.database.transaction(caller) as tx:
        expires_at = await store.start(tx, session_id, person.user_id, hash_of(token), tools.lives)
    access = tools.access.of_person(UUID(person.user_id), session_id, is_platform_admin=person.is_platform_admin)
    return SignedIn(person.user_id, str(session_id), access, token, expires_at)


async def refresh(tools: Tools, caller: Caller, token: str) -> SignedIn:
    next_token = tools.derived.next_refresh(token)
    async with tools.database.transaction(caller) as tx:
        rotation = await store.rotate(tx, hash_of(token), hash_of(next_token), tools.lives)
    # After COMMIT: that a token was used twice has ended its session, whatever the caller is told.
    child = rules.demand_child(rotation)
    access = tools.access.of_person(
        UUID(child.user_id), UUID(child.session_id), is_platform_admin=child.is_platform_admin
    )
    return SignedIn(child.user_id, child.session_id, access, next_token, child.expires_at)


async def select_tenant(tools: Tools, caller: Caller, tenant_id: UUID) -> tuple[Issued, Role]:
    session_id, ends_by = own_session(caller), caller.token_expires_at
    if ends_by is None:
        raise LookupError("a person's token without an end")
    entry = await store.select_tenant(tools.database.read(caller), session_id, tenant_id)
    role = Role(entry.role)
    issued = tools.access.of_member(
        caller.user(),
        session_id,
        tenant_id,
        role,
        entry.version,
        is_platform_admin=entry.is_platform_admin,
        ends_by=ends_by,
    )
    return issued, role


async def logout(tx: Transaction) -> None:
    await store.end(tx, own_session(tx.caller), "logout")


async def revoke_session(tx: Transaction, session_id: UUID) -> None:
    rules.demand_session(await store.lasts(tx, own_session(tx.caller)))
    if not await store.is_own(tx, session_id):
        raise NotFound("session")
    await store.end(tx, session_id, "revoked")


async def revoke_other_sessions(tx: Transaction) -> int:
    """How many were ended."""
    own = own_session(tx.caller)
    rules.demand_session(await store.lasts(tx, own))
    return await store.end_others(tx, own, "revoked")


def own_session(caller: Caller) -> UUID:
    if caller.session_id is None:
        raise LookupError("a person's token without a session")
    return caller.session_id
