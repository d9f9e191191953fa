"""The counters of tries, behind their functions."""

from __future__ import annotations

from typing import Any

from bulkhead_kit.db import Query, Time, Transaction
from sqlalchemy import Text, bindparam, column, text

from bulkhead_identity.throttle.rules import Claim

_CLAIM = Query(
    text("select wait, claimed_at from identity.claim_attempt(:bucket, :email)")
    .bindparams(bindparam("email", type_=Text))
    .columns(*map(column, Claim._fields)),
    row=Claim,
)
_GIVE_BACK: Query[Any] = Query(
    text("select identity.give_back_attempt(:bucket, :claimed_at)").bindparams(bindparam("claimed_at", type_=Time))
)
_FORGET: Query[Any] = Query(text("select identity.forget_failures(:bucket)"))
_FAILED: Query[Any] = Query(
    text("select identity.record_event(:action, 'user', :caller_id, 'failed', cast('{}' as jsonb))")
)


async def claim(tx: Transaction, bucket: bytes, email: str) -> Claim:
    return await tx.one(_CLAIM, bucket=bucket, email=email)


def give_back(tx: Transaction, bucket: bytes, claimed_at: int) -> None:
    """Goes out with COMMIT."""
    tx.send(_GIVE_BACK, bucket=bucket, claimed_at=claimed_at)


def forget(tx: Transaction, bucket: bytes) -> None:
    """Goes out with the next statement."""
    tx.send(_FORGET, bucket=bucket)


def record_failure(tx: Transaction, action: str) -> None:
    tx.send(_FAILED, action=action)
