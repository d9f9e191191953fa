"""Sign-up and the proof of its address."""

from __future__ import annotations

from uuid import UUID

from bulkhead_kit.caller import Caller
from bulkhead_kit.errors import ResourceExhausted
from bulkhead_kit.ids import new_id

from bulkhead_identity.calls import payer_of
from bulkhead_identity.derived import hash_of
from bulkhead_identity.mail_ask import actions as mail_ask
from bulkhead_identity.registration import rules, store
from bulkhead_identity.registration.rules import SignUp, Tried
from bulkhead_identity.throttle import actions as throttle
from bulkhead_identity.tools import Tools


async def sign_up(tools: Tools, caller: Caller, new: SignUp) -> None:
    await tools.strength.demand(payer_of(caller), new.password, "password", [new.email, new.full_name])
    # Before the database is asked: known and unknown addresses cost the same.
    password_hash = await tools.passwords.hash(payer_of(caller), new.password)
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
        tried = await store.try_verification(tx, hash_of(token), request_id)
    rules.demand_sign_up(await _is_right(tools, caller, token, tried, password))
    async with tools.database.transaction(caller) as tx:
        return await store.verify_email(tx, hash_of(token), request_id)


async def _is_right(tools: Tools, caller: Caller, token: str, tried: Tried, password: str) -> bool:
    if tried.used_by is not None and tried.password_hash is not None:
        return await throttle.is_hers(tools, caller, tried.used_by, tried.password_hash, password)
    try:
        return await tools.passwords.verify(payer_of(caller), password, tried.password_hash)
    except ResourceExhausted:
        # Not looked at. A token that is worth nothing was not counted either.
        if tried.password_hash is not None:
            async with tools.database.transaction(caller) as tx:
                store.give_back(tx, hash_of(token))
        raise


async def resend_verification(tools: Tools, caller: Caller, email: str, request_id: UUID | None, digest: bytes) -> None:
    await mail_ask.ask(tools.database, caller, mail_ask.VERIFY_EMAIL, email, request_id, digest)
