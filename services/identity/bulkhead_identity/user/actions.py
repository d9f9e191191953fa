"""What a person changes about herself."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from bulkhead_kit import etags
from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Transaction
from bulkhead_kit.errors import Unauthenticated

from bulkhead_identity.calls import payer_of
from bulkhead_identity.session.actions import own_credentials, own_session
from bulkhead_identity.throttle import actions as throttle
from bulkhead_identity.tools import Tools
from bulkhead_identity.user import rules, store
from bulkhead_identity.user.rules import NAMES, Closing, UserRow


async def update_me(tx: Transaction, values: Mapping[str, object], version: int | None) -> UserRow:
    before = rules.demand_open(await store.lock(tx))
    etags.demand(version, before.version)
    account = {name: value for name, value in values.items() if name in NAMES and value != getattr(before, name)}
    profile = {name: value for name, value in values.items() if name not in NAMES}
    if account:
        store.set_account(tx, account)
    if profile:
        store.set_profile(tx, profile)
    return rules.demand_open(await store.load(tx)) if account or profile else before


async def check_closing(tools: Tools, caller: Caller, password: str) -> Closing:
    """All that takes long, before a connection is held. A refusal is kept: a repeat gets its answer all the same."""
    session_id, bucket = own_session(caller), tools.derived.bucket("user", str(caller.user()))
    try:
        owner = await own_credentials(tools.database.read(caller), session_id)
    except Unauthenticated as ended:
        return Closing(session_id, bucket, refusal=ended)
    async with throttle.counted(tools.database, caller, bucket, owner.email):
        is_right = await tools.passwords.verify(payer_of(caller), password, owner.password_hash)
    if not is_right:
        await throttle.record_failure(tools.database, caller, "user.close_failed")
        return Closing(session_id, bucket, refusal=rules.wrong_password())
    unknown_hash = await tools.passwords.hash(payer_of(caller), secrets.token_urlsafe(32))
    return Closing(session_id, bucket, owner.password_hash, unknown_hash)


async def close_account(tx: Transaction, closing: Closing) -> None:
    # First a statement, with which the request_id goes out: a repeat is told the answer, closed or not.
    await store.load(tx)
    if closing.refusal is not None:
        raise closing.refusal
    throttle.forget(tx, closing.bucket)
    await store.close(tx, closing.session_id, closing.checked_hash, closing.unknown_hash)
