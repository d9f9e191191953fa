"""Mails that were asked for, as the caller and as the worker see them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from bulkhead_kit.db import Id, Query, Reader, Time, Transaction
from bulkhead_kit.ids import new_id
from sqlalchemy import BigInteger, Column, MetaData, Table, Text, bindparam, select, text

MAIL_ASKS = Table(
    "mail_asks",
    MetaData(schema="identity"),
    Column("ask_id", Id),
    Column("purpose", Text),
    Column("answered_at", Time),
    Column("created_at", Time),
)


class OpenAsk(NamedTuple):
    ask_id: str
    purpose: str


_ASK: Query[Any] = Query(text("select identity.ask_for_mail(:ask_id, :purpose, :email, :digest)"))
_OPEN = Query(
    select(MAIL_ASKS.c.ask_id, MAIL_ASKS.c.purpose)
    .where(MAIL_ASKS.c.answered_at.is_(None))
    .order_by(MAIL_ASKS.c.created_at)
    .limit(bindparam("rows", type_=BigInteger)),
    row=OpenAsk,
)
_ANSWER: Query[Any] = Query(
    text("""
    select identity.answer_mail_ask(
        cast(:ask_id as uuid), :token_id, :token_hash, make_interval(secs => :token_life), :mail_id
    )
    """)
)


def ask(tx: Transaction, ask_id: UUID, purpose: str, email: str, digest: bytes | None) -> None:
    """Goes out with COMMIT."""
    tx.send(_ASK, ask_id=ask_id, purpose=purpose, email=email, digest=digest)


async def list_open(tx: Reader, rows: int) -> list[OpenAsk]:
    return await tx.all(_OPEN, rows=rows)


def answer(tx: Transaction, ask_id: str, token_id: UUID, token_hash: bytes, life: timedelta) -> None:
    """Goes out with COMMIT. One that somebody else has answered meanwhile is left as it is."""
    tx.send(
        _ANSWER,
        ask_id=ask_id,
        token_id=token_id,
        token_hash=token_hash,
        token_life=int(life.total_seconds()),
        mail_id=new_id(),
    )
