"""The functions that are the only way to another password."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from bulkhead_kit.db import Query, Reader, Transaction
from bulkhead_kit.ids import new_id
from sqlalchemy import Text, bindparam, column, text

from bulkhead_identity.password.rules import Owner

_FIND_RESET = Query(
    text("select email, full_name, password_hash from identity.find_reset(:token_hash, :request_id)").columns(
        *map(column, Owner._fields)
    ),
    row=Owner,
)
_RESET: Query[Any] = Query(
    text("select identity.reset_password(:token_hash, :password_hash, :request_id, :mail_id)").bindparams(
        bindparam("password_hash", type_=Text)
    )
)
_CHANGE: Query[Any] = Query(
    text("select identity.change_password(:session_id, :checked_hash, :password_hash, :mail_id)").bindparams(
        bindparam("checked_hash", type_=Text), bindparam("password_hash", type_=Text)
    )
)


async def find_reset(tx: Reader, token_hash: bytes, request_id: UUID | None) -> Owner | None:
    """With a hash when this request_id has used the token already."""
    return await tx.one_or_none(_FIND_RESET, token_hash=token_hash, request_id=request_id)


def reset(tx: Transaction, token_hash: bytes, password_hash: str, request_id: UUID | None) -> None:
    """Goes out with COMMIT."""
    tx.send(_RESET, token_hash=token_hash, password_hash=password_hash, request_id=request_id, mail_id=new_id())


async def change(tx: Transaction, session_id: UUID, checked_hash: str, password_hash: str) -> None:
    await tx.execute(
        _CHANGE,
        session_id=session_id,
        checked_hash=checked_hash,
        password_hash=password_hash,
        mail_id=new_id(),
    )
