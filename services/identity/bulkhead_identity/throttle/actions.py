"""Counts the tries of passwords. In the database: what one process has counted, all others know."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database, Transaction
from bulkhead_kit.errors import ResourceExhausted

from bulkhead_identity import texts
from bulkhead_identity.calls import payer_of
from bulkhead_identity.derived import DerivedTokens
from bulkhead_identity.throttle import rules, store
from bulkhead_identity.tools import Tools


@asynccontextmanager
async def counted(database: Database, caller: Caller, bucket: bytes, email: str) -> AsyncIterator[None]:
    """Counts a try before any work is done for it. Raises ResourceExhausted RATE_LIMITED.

    Inside, the password is looked at, and nothing else that may find the queue of passwords full: a try that did is
    given back.
    """
    async with database.transaction(caller) as tx:
        claim = await store.claim(tx, bucket, email)
    # After COMMIT: that somebody was refused is kept as an event.
    claimed_at = rules.demand_turn(claim)
    try:
        yield
    except ResourceExhausted:
        async with database.transaction(caller) as tx:
            store.give_back(tx, bucket, claimed_at)
        raise


async def is_hers(tools: Tools, caller: Caller, email: str, password_hash: str, password: str) -> bool:
    """Whether who repeats a call has the account's password. Counted like a login: a used token is no way round it."""
    bucket = address_bucket(tools.derived, email)
    async with counted(tools.database, caller, bucket, email):
        is_right = await tools.passwords.verify(payer_of(caller), password, password_hash)
    if is_right:
        async with tools.database.transaction(caller) as tx:
            forget(tx, bucket)
    return is_right


def address_bucket(derived: DerivedTokens, email: str) -> bytes:
    return derived.bucket("address", texts.address_key(email))


def reset_bucket(derived: DerivedTokens, email: str) -> bytes:
    """Apart from logins: whoever guesses the password does not keep its owner from a new one."""
    return derived.bucket("reset", texts.address_key(email))


def forget(tx: Transaction, bucket: bytes) -> None:
    """The password was right: whoever knows it starts with a clean slate."""
    store.forget(tx, bucket)


async def record_failure(database: Database, caller: Caller, action: str) -> None:
    """An event: the caller's own password was wrong."""
    async with database.transaction(caller) as tx:
        store.record_failure(tx, action)
