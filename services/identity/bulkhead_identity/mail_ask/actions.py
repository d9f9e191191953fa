"""Mails that anybody may ask for: the call only notes it, the worker finds out what there is to send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database
from bulkhead_kit.ids import new_id

from bulkhead_identity.derived import DerivedTokens, hash_of
from bulkhead_identity.mail_ask import store

BATCH: Final = 100
VERIFY_EMAIL: Final = "verify_email"
RESET_PASSWORD: Final = "reset_password"  # noqa: S105  # the name of a purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    database: Database
    derived: DerivedTokens
    lives: Mapping[str, timedelta]
    """Of the tokens, by purpose."""


async def ask(
    database: Database, caller: Caller, purpose: str, email: str, request_id: UUID | None, digest: bytes
) -> None:
    """The same work for every address. `digest`: of the request, kept where it has a request_id."""
    async with database.transaction(caller) as tx:
        store.ask(tx, request_id or new_id(), purpose, email, digest if request_id is not None else None)


async def answer_asks(tools: Answering, caller: Caller) -> int:
    """The number of calls that were settled."""
    asks = await store.list_open(tools.database.read(caller), BATCH)
    for ask_id, purpose in asks:
        token_id = new_id()
        async with tools.database.transaction(caller) as tx:
            store.answer(tx, ask_id, token_id, hash_of(tools.derived.one_time(token_id)), tools.lives[purpose])
    return len(asks)
