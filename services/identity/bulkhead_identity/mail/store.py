"""The queue of mails, as the worker sees it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from bulkhead_kit.db import Id, Query, Time, Transaction
from sqlalchemy import (
    Boolean,
    Column,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    and_,
    bindparam,
    column,
    func,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from bulkhead_identity.mail.rules import MailRow, Turns
from bulkhead_identity.store import METADATA

MAILS = Table(
    "mails",
    METADATA,
    Column("mail_id", Id, nullable=False),
    Column("kind", Text, nullable=False),
    Column("to_address", Text, nullable=False),
    Column("subject_id", Id, nullable=False),
    Column("details", JSONB, nullable=False),
    Column("due_at", Time, nullable=False),
    Column("attempts", SmallInteger, nullable=False),
    Column("sent_at", Time),
    Column("failed_at", Time),
    Column("last_error", Text),
    Column("created_at", Time, nullable=False),
)
_open = and_(MAILS.c.sent_at.is_(None), MAILS.c.failed_at.is_(None))
_CLAIM = Query(
    text("""
    select cast(mail_id as text) as mail_id, kind, to_address, cast(subject_id as text) as subject_id, details,
        created_at, attempts, is_urgent, cause
    from identity.claim_mails(:rows, :lease_until, :urgent_after, :others_after)
    """)
    .bindparams(
        bindparam("rows", type_=Integer),
        bindparam("lease_until", type_=Time),
        bindparam("urgent_after", type_=LargeBinary),
        bindparam("others_after", type_=LargeBinary),
    )
    .columns(
        column("mail_id", Text),
        column("kind", Text),
        column("to_address", Text),
        column("subject_id", Text),
        column("details", JSONB),
        column("created_at", Time),
        column("attempts", SmallInteger),
        column("is_urgent", Boolean),
        column("cause", LargeBinary),
    ),
    row=MailRow,
)
_this = and_(MAILS.c.mail_id == bindparam("mail_id"), _open)
_SENT: Query[Any] = Query(update(MAILS).where(_this).values(sent_at=func.now(), last_error=None))
_RETRY: Query[Any] = Query(
    update(MAILS).where(_this).values(due_at=bindparam("next_at"), last_error=bindparam("reason"))
)
_GIVE_UP: Query[Any] = Query(update(MAILS).where(_this).values(failed_at=func.now(), last_error=bindparam("reason")))


async def claim(tx: Transaction, rows: int, lease_until: datetime, turns: Turns) -> list[MailRow]:
    """Due mails, nobody else's until the lease ends; one that is not settled by then is due again."""
    mails = await tx.all(
        _CLAIM, rows=rows, lease_until=lease_until, urgent_after=turns.urgent, others_after=turns.others
    )
    turns.go_on(mails)
    return mails


def mark_sent(tx: Transaction, mail_id: str) -> None:
    """One that somebody else settled after the lease had ended is left as it is."""
    tx.send(_SENT, mail_id=mail_id)


def mark_failed(tx: Transaction, mail_id: str, reason: str, now: datetime, pause: timedelta | None) -> None:
    if pause is None:
        tx.send(_GIVE_UP, mail_id=mail_id, reason=reason)
    else:
        tx.send(_RETRY, mail_id=mail_id, reason=reason, next_at=now + pause)
