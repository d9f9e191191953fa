"""Same request_id, same request: the same answer and one effect, for 24 hours.

The claim and the answer are rows of the transaction that does the work, so that a lost reply, two callers at once
and a kill in the middle all come to the same: either both the effect and the answer are there, or neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from google.protobuf.message import Message
from sqlalchemy import Column, LargeBinary, MetaData, Table, Text, bindparam, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert

from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database, Id, Query, Transaction
from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.ids import parse_id

Reply = TypeVar("Reply", bound=Message)
Result = TypeVar("Result")


class Request(Protocol):
    """A request that may carry a request_id."""

    request_id: str

    def SerializeToString(self, *, deterministic: bool = ...) -> bytes: ...  # noqa: N802  # protobuf's name


class Answered(NamedTuple):
    request_digest: bytes
    reply: bytes | None


class RequestIds:
    """The store of one service's schema; the table comes from app.request_ids_in()."""

    def __init__(self, schema: str) -> None:
        calls = Table(
            "request_ids",
            MetaData(schema=schema),
            Column("tenant_id", Id),
            Column("principal", Text),
            Column("request_id", Id),
            Column("rpc", Text),
            Column("request_digest", LargeBinary),
            Column("reply", LargeBinary),
        )
        # The principal is read from the context, like everything else that says who a call counts for.
        principal = func.app.principal()
        mine = (
            calls.c.tenant_id == bindparam("tenant_id"),
            calls.c.principal == principal,
            calls.c.request_id == bindparam("request_id"),
        )
        self._claim: Query[Any] = Query(
            insert(calls)
            .values(
                tenant_id=bindparam("tenant_id"),
                principal=principal,
                request_id=bindparam("request_id"),
                rpc=bindparam("rpc"),
                request_digest=bindparam("request_digest"),
            )
            .on_conflict_do_nothing()
            .returning(literal_column("1"))
        )
        self._answered: Query[Answered] = Query(
            select(calls.c.request_digest, calls.c.reply).where(*mine), row=Answered
        )
        self._answer: Query[Any] = Query(update(calls).where(*mine).values(reply=bindparam("answer")))

    async def once(
        self,
        database: Database,
        caller: Caller,
        request: Request,
        reply_type: type[Reply],
        act: Callable[[Transaction], Awaitable[Result]],
        reply: Callable[[Result], Reply],
        *,
        locks_limits: bool = False,
    ) -> Reply:
        """Runs `act` in a transaction and answers with `reply` of its result, or with the answer given before.

        Raises InvalidArgument REQUEST_ID_REUSED when the id was used with another request or method.
        """
        request_id = parse_id(request.request_id, "request_id") if request.request_id else None
        async with database.transaction(caller, locks_limits=locks_limits) as tx:
            if request_id is None:
                return reply(await act(tx))
            digest = _digest(caller, request)
            before = await self._before(tx, request_id, digest)
            if before is not None:
                return reply_type.FromString(before)
            answer = reply(await act(tx))
            tx.send(self._answer, request_id=request_id, answer=answer.SerializeToString())
            return answer

    async def _before(self, tx: Transaction, request_id: UUID, digest: bytes) -> bytes | None:
        # A second caller with the same id waits here until the first has committed or rolled back.
        if await tx.all(self._claim, request_id=request_id, rpc=tx.caller.rpc, request_digest=digest):
            return None
        answered = await tx.one(self._answered, request_id=request_id)
        if answered.request_digest != digest or answered.reply is None:
            raise InvalidArgument(
                ErrorReason.REQUEST_ID_REUSED, "request_id: used before with another request; make a new one"
            )
        return answered.reply


def _digest(caller: Caller, request: Request) -> bytes:
    return hashlib.sha256(caller.rpc.encode() + b"\0" + request.SerializeToString(deterministic=True)).digest()
