"""Answered calls of persons outside any tenant."""

from __future__ import annotations

from typing import Any

from bulkhead_kit.db import Id, Query
from bulkhead_kit.idempotency import Answered, RequestIds
from sqlalchemy import Column, LargeBinary, MetaData, Table, Text, bindparam, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert

CALLS = Table(
    "user_request_ids",
    MetaData(schema="identity"),
    Column("user_id", Id),
    Column("request_id", Id),
    Column("rpc", Text),
    Column("request_digest", LargeBinary),
    Column("reply", LargeBinary),
)
_MINE = (CALLS.c.user_id == bindparam("caller_id"), CALLS.c.request_id == bindparam("request_id"))


class PersonalRequestIds(RequestIds):
    """As RequestIds, by person instead of by tenant and principal."""

    def __init__(self) -> None:
        self._claim: Query[Any] = Query(
            insert(CALLS)
            .values(
                user_id=bindparam("caller_id"),
                request_id=bindparam("request_id"),
                rpc=bindparam("rpc"),
                request_digest=bindparam("request_digest"),
            )
            .on_conflict_do_nothing()
            .returning(literal_column("1"))
        )
        self._answered = Query(select(CALLS.c.request_digest, CALLS.c.reply).where(*_MINE), row=Answered)
        self._answer: Query[Any] = Query(update(CALLS).where(*_MINE).values(reply=bindparam("answer")))
