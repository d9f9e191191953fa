"""The functions that are the only way to sign-ups and their tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from bulkhead_kit.db import Query, Transaction
from bulkhead_kit.ids import new_id
from sqlalchemy import column, text

from bulkhead_identity.registration.rules import Tried


class _UserId(NamedTuple):
    user_id: str


_SIGN_UP: Query[Any] = Query(
    text("""
    select identity.sign_up(
        :user_id, :email, :full_name, :password_hash,
        :token_id, :token_hash, make_interval(secs => :token_life), :mail_id, :digest
    )
    """)
)
_TRY_VERIFICATION = Query(
    text("select password_hash, used_by from identity.try_verification(:token_hash, :request_id)").columns(
        *map(column, Tried._fields)
    ),
    row=Tried,
)
_GIVE_BACK: Query[Any] = Query(text("select identity.give_back_verification(:token_hash)"))
_VERIFY_EMAIL = Query(
    text("select cast(identity.verify_email(:token_hash, :request_id) as text) as user_id").columns(column("user_id")),
    row=_UserId,
)


def sign_up(
    tx: Transaction,
    *,
    email: str,
    full_name: str,
    password_hash: str,
    token_id: UUID,
    token_hash: bytes,
    life: timedelta,
    mail_id: UUID,
    digest: bytes | None,
) -> None:
    """Goes out with COMMIT."""
    tx.send(
        _SIGN_UP,
        user_id=new_id(),
        email=email,
        full_name=full_name,
        password_hash=password_hash,
        token_id=token_id,
        token_hash=token_hash,
        token_life=int(life.total_seconds()),
        mail_id=mail_id,
        digest=digest,
    )


async def try_verification(tx: Transaction, token_hash: bytes, request_id: UUID | None) -> Tried:
    """Counts, five times at most, unless the token is worth nothing."""
    return await tx.one(_TRY_VERIFICATION, token_hash=token_hash, request_id=request_id)


def give_back(tx: Transaction, token_hash: bytes) -> None:
    """A try that was counted. Goes out with COMMIT."""
    tx.send(_GIVE_BACK, token_hash=token_hash)


async def verify_email(tx: Transaction, token_hash: bytes, request_id: UUID | None) -> str:
    return (await tx.one(_VERIFY_EMAIL, token_hash=token_hash, request_id=request_id)).user_id
