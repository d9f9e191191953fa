"""Sends what is in the queue."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol
from uuid import UUID

import structlog
from bulkhead_kit import clock
from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database

from bulkhead_identity.derived import DerivedTokens
from bulkhead_identity.mail import rules, store
from bulkhead_identity.mail.rules import Letter, MailRow

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.mail")

BATCH: Final = 20
LEASE: Final = timedelta(minutes=2)


class Outlet(Protocol):
    def send(self, mail_id: str, letter: Letter) -> None:
        """Blocks until the mail is out. Raises OSError when it cannot be sent now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    database: Database
    derived: DerivedTokens
    outlet: Outlet
    web_address: str


async def send_due(post: Post, caller: Caller) -> int:
    """The number of mails that were tried. No connection is held while one is sent."""
    async with post.database.transaction(caller) as tx:
        mails = await store.claim(tx, BATCH, clock.now() + LEASE)
    for mail in mails:
        await _send(post, caller, mail)
    return len(mails)


async def _send(post: Post, caller: Caller, mail: MailRow) -> None:
    try:
        await asyncio.to_thread(post.outlet.send, mail.mail_id, _letter(post, mail))
    except (OSError, ValueError, LookupError) as error:
        # A mail that cannot be written is put off like one that cannot be sent: the others must not wait for it.
        reason = f"{type(error).__name__}: {error}"[:500]
        log.warning("mail_not_sent", mail_id=mail.mail_id, attempts=mail.attempts, reason=reason)
        async with post.database.transaction(caller) as tx:
            store.mark_failed(tx, mail.mail_id, reason, clock.now(), rules.pause_after(mail.attempts))
        return
    async with post.database.transaction(caller) as tx:
        store.mark_sent(tx, mail.mail_id)


def _letter(post: Post, mail: MailRow) -> Letter:
    subject = UUID(mail.subject_id)
    if mail.kind == "verify_email":
        return rules.verify_email(mail, post.web_address, post.derived.one_time(subject))
    if mail.kind == "invitation":
        return rules.invitation(mail, post.web_address, post.derived.invitation(subject))
    return rules.already_registered(mail, post.web_address)
