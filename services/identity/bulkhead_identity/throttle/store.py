"""The counters of tries, behind their two functions."""

from __future__ import annotations

from typing import Any, NamedTuple

from bulkhead_kit.db import Query, Transaction
from sqlalchemy import Text, bindparam, column, text


class _Wait(NamedTuple):
    wait: float | None


_CLAIM = Query(
    text("select identity.claim_attempt(:bucket, :email) as wait")
    .bindparams(bindparam("email", type_=Text))
    .columns(column("wait")),
    row=_Wait,
)
_FORGET: Query[Any] = Query(text("select identity.forget_failures(:bucket)"))
_FAILED: Query[Any] = Query(
    text("select identity.record_event(:action, 'user', :caller_id, 'failed', cast('{}' as jsonb))")
)


async def claim(tx: Transaction, bucket: bytes, email: str) -> float | None:
    """Seconds to wait; None: it is counted, and the password may be looked at."""
    return (await tx.one(_CLAIM, bucket=bucket, email=email)).wait


def forget(tx: Transaction, bucket: bytes) -> None:
    """Goes out with the next statement."""
    tx.send(_FORGET, bucket=bucket)


def record_failure(tx: Transaction, action: str) -> None:
    tx.send(_FAILED, action=action)
