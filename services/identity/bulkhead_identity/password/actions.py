"""Another password, by a mail or by knowing the one before."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Transaction
from bulkhead_kit.errors import FailedPrecondition

from bulkhead_identity.calls import payer_of
from bulkhead_identity.derived import hash_of
from bulkhead_identity.mail_ask import actions as mail_ask
from bulkhead_identity.password import rules, store
from bulkhead_identity.password.rules import Change, Checked, Reset
from bulkhead_identity.session.actions import own_credentials, own_session
from bulkhead_identity.throttle import actions as throttle
from bulkhead_identity.tools import Tools

FIELD: Final = "new_password"


async def request_reset(tools: Tools, caller: Caller, email: str, request_id: UUID | None, digest: bytes) -> None:
    await mail_ask.ask(tools.database, caller, mail_ask.RESET_PASSWORD, email, request_id, digest)


async def reset_password(tools: Tools, caller: Caller, new: Reset) -> None:
    owner = await store.find_reset(tools.database.read(caller), hash_of(new.token), new.request_id)
    if owner is not None and owner.password_hash is not None:
        rules.demand_repeat(await throttle.is_hers(tools, caller, owner.email, owner.password_hash, new.password))
        return
    owner = rules.demand_reset(owner)
    tries = throttle.reset_bucket(tools.derived, owner.email)
    async with throttle.counted(tools.database, caller, tries, owner.email):
        await tools.strength.demand(payer_of(caller), new.password, FIELD, [owner.email, owner.full_name])
        password_hash = await tools.passwords.hash(payer_of(caller), new.password)
    try:
        async with tools.database.transaction(caller) as tx:
            # Whoever guesses without end keeps the owner out on a new device; by the mail she has proved who she is.
            throttle.forget(tx, throttle.address_bucket(tools.derived, owner.email))
            throttle.forget(tx, tries)
            store.reset(tx, hash_of(new.token), password_hash, new.request_id)
    except FailedPrecondition:
        # Another call was first. If it was this very one, sent twice, both get its answer.
        owner = await store.find_reset(tools.database.read(caller), hash_of(new.token), new.request_id)
        if owner is None or owner.password_hash is None:
            raise
        if not await throttle.is_hers(tools, caller, owner.email, owner.password_hash, new.password):
            raise


async def check_change(tools: Tools, caller: Caller, change: Change) -> Checked:
    """All that takes long, before a connection is held; and of that the new password only when the current one is
    right. A try counts until a change succeeds, whichever of the two was amiss: each makes the processor work."""
    session_id, bucket = own_session(caller), tools.derived.bucket("user", str(caller.user()))
    owner = await own_credentials(tools.database.read(caller), session_id)
    payer = payer_of(caller)
    async with throttle.counted(tools.database, caller, bucket, owner.email):
        is_right = await tools.passwords.verify(payer, change.current, owner.password_hash)
    if not is_right:
        return Checked(session_id, bucket, owner.password_hash, None)
    await tools.strength.demand(payer, change.password, FIELD, [owner.email, owner.full_name])
    new_hash = await tools.passwords.hash(payer, change.password)
    return Checked(session_id, bucket, owner.password_hash, new_hash)


async def change_password(tx: Transaction, checked: Checked) -> None:
    if checked.new_hash is None:
        # First a statement, with which the request_id goes out: a repeat knows the password before the change only.
        await own_credentials(tx, checked.session_id)
    new_hash = rules.demand_current(checked.new_hash)
    throttle.forget(tx, checked.bucket)
    await store.change(tx, checked.session_id, checked.checked_hash, new_hash)


async def record_failed_change(tools: Tools, caller: Caller, checked: Checked) -> None:
    if checked.new_hash is None:
        await throttle.record_failure(tools.database, caller, "password.change_failed")
