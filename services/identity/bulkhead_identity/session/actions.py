"""Login, refresh, and the end of sessions."""

from __future__ import annotations

import secrets
from typing import Final
from uuid import UUID

from bulkhead_kit import clock
from bulkhead_kit.caller import Caller, Role
from bulkhead_kit.db import Reader, Transaction
from bulkhead_kit.errors import NotFound
from bulkhead_kit.ids import new_id

from bulkhead_identity.calls import payer_of
from bulkhead_identity.derived import hash_of
from bulkhead_identity.passwords import Passwords
from bulkhead_identity.session import rules, store
from bulkhead_identity.session.rules import Issued, LogIn, OwnCredentials, SignedIn, Start
from bulkhead_identity.throttle import actions as throttle
from bulkhead_identity.tools import Tools

_TOKEN_BYTES: Final = 32


async def log_in(tools: Tools, caller: Caller, new: LogIn) -> SignedIn:
    device_id = tools.derived.device_id(new.device_token, new.address_key, clock.unix())
    known = () if device_id is None else (str(device_id),)
    bucket = tools.derived.bucket("device" if known else "address", new.address_key, *known)
    async with throttle.counted(tools.database, caller, bucket, new.email):
        # No connection is held while the password is checked.
        found = await store.find_credentials(tools.database.read(caller), new.email)
        is_right = await tools.passwords.verify(payer_of(caller), new.password, found.password_hash if found else None)
    if not is_right:
        async with tools.database.transaction(caller) as tx:
            store.record_failed_login(tx, new.email, found.user_id if found else None)
    person = rules.demand_login(found, is_right)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    begun = Start(
        session_id=new.request_id or new_id(),
        user_id=person.user_id,
        token_hash=hash_of(token),
        checked_hash=person.password_hash,
        rehashed=await _rehashed(tools.passwords, caller, new.password, person.password_hash),
        device_is_known=bool(known),
    )
    async with tools.database.transaction(caller) as tx:
        throttle.forget(tx, bucket)
        expires_at = await store.start(tx, begun, tools.lives)
    access = tools.access.of_person(UUID(person.user_id), begun.session_id, is_platform_admin=person.is_platform_admin)
    device = tools.derived.device(
        new.address_key, device_id or new_id(), int(clock.unix() + tools.lives.device.total_seconds())
    )
    return SignedIn(person.user_id, str(begun.session_id), access, token, expires_at, device)


async def _rehashed(passwords: Passwords, caller: Caller, password: str, stored: str) -> str | None:
    """Only now is the text of the password at hand."""
    return await passwords.hash(payer_of(caller), password) if passwords.is_outdated(stored) else None


async def refresh(tools: Tools, caller: Caller, token: str) -> SignedIn:
    next_token = tools.derived.next_refresh(token)
    async with tools.database.transaction(caller) as tx:
        rotation = await store.rotate(tx, hash_of(token), hash_of(next_token), tools.lives)
    # After COMMIT: that a token was used twice has ended its session, whatever the caller is told.
    child = rules.demand_child(rotation)
    access = tools.access.of_person(
        UUID(child.user_id), UUID(child.session_id), is_platform_admin=child.is_platform_admin
    )
    return SignedIn(child.user_id, child.session_id, access, next_token, child.expires_at, "")


async def select_tenant(tools: Tools, caller: Caller, tenant_id: UUID) -> tuple[Issued, Role]:
    session_id, ends_by = own_session(caller), own_end(caller)
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


async def own_credentials(tx: Reader, session_id: UUID) -> OwnCredentials:
    """Raises Unauthenticated SESSION_ENDED when the session, or the account, has ended."""
    return await store.find_own_credentials(tx, session_id)


def own_end(caller: Caller) -> float:
    """Of the caller's token, in seconds since 1970."""
    if caller.token_expires_at is None:
        raise LookupError("a person's token without an end")
    return caller.token_expires_at
