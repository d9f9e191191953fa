"""Sends what is in the queue."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog
from bulkhead_kit import clock
from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database
from bulkhead_kit.telemetry import MailMetrics

from bulkhead_identity.derived import DerivedTokens
from bulkhead_identity.mail import rules, store
from bulkhead_identity.mail.letters import letter
from bulkhead_identity.mail.rules import MailError, MailRefusedError, MailRow, Outlet, Turns

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.mail")

BATCH: Final = 10
AT_ONCE: Final = 5
LEASE: Final = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    database: Database
    derived: DerivedTokens
    outlet: Outlet
    web_address: str
    metrics: MailMetrics
    turns: Turns = field(default_factory=Turns)


async def send_due(post: Post, caller: Caller) -> int:
    """The number of mails that were tried. No connection is held while one is sent."""
    async with post.database.transaction(caller) as tx:
        mails = await store.claim(tx, BATCH, clock.now() + LEASE, post.turns)
    places = asyncio.Semaphore(AT_ONCE)

    async def in_place(mail: MailRow) -> None:
        async with places:
            await _send(post, caller, mail)

    # All of them come to their end before a fault is told: one that is sent is to be marked so.
    results = await asyncio.gather(*(in_place(mail) for mail in mails), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return len(mails)


async def _send(post: Post, caller: Caller, mail: MailRow) -> None:
    try:
        await post.outlet.send(mail.mail_id, letter(mail, post.web_address, post.derived))
    except (MailError, OSError, ValueError, LookupError) as error:
        # A mail that cannot be written is put off like one that cannot be sent: the others must not wait for it.
        await _settle_failure(post, caller, mail, error)
        return
    async with post.database.transaction(caller) as tx:
        store.mark_sent(tx, mail.mail_id)
    post.metrics.settled.labels("sent").inc()


async def _settle_failure(post: Post, caller: Caller, mail: MailRow, error: Exception) -> None:
    reason = str(error) if isinstance(error, MailError) else f"{type(error).__name__}: {error}"
    pause = None if isinstance(error, MailRefusedError) else rules.pause_after(mail.attempts)
    log.warning(
        "mail_not_sent" if pause else "mail_given_up",
        mail_id=mail.mail_id,
        kind=mail.kind,
        attempts=mail.attempts,
        reason=error.what if isinstance(error, MailError) else reason[:500],
    )
    async with post.database.transaction(caller) as tx:
        store.mark_failed(tx, mail.mail_id, reason[:500], clock.now(), pause)
    post.metrics.settled.labels("put_off" if pause else "given_up").inc()
