"""Same request_id, same request: the same answer and one effect, for 24 hours.

The claim and the answer are rows of the transaction that does the work, so that a lost reply, two callers at once
and a kill in the middle all come to the same: either both the effect and the answer are there, or neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from google.protobuf.message import Message
from sqlalchemy import (
    Column,
    ColumnElement,
    LargeBinary,
    MetaData,
    Table,
    Text,
    bindparam,
    func,
    insert,
    select,
    update,
)

from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database, Id, Query, Transaction
from bulkhead_kit.errors import Aborted, InvalidArgument
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
    """The answered calls of one service. `whose` are the columns that say whose a call is, with what they hold."""

    def __init__(
        self, schema: str, table: str = "request_ids", whose: Mapping[str, ColumnElement[Any]] | None = None
    ) -> None:
        # The principal is read from the context, like everything else that says who a call counts for.
        whose = whose or {"tenant_id": bindparam("tenant_id", type_=Id), "principal": func.app.principal()}
        calls = Table(
            table,
            MetaData(schema=schema),
            *(Column(name, Id if name.endswith("_id") else Text) for name in whose),
            Column("request_id", Id),
            Column("rpc", Text),
            Column("request_digest", LargeBinary),
            Column("reply", LargeBinary),
        )
        mine = (
            *(calls.c[name] == value for name, value in whose.items()),
            calls.c.request_id == bindparam("request_id"),
        )
        own: dict[str, Any] = {name: bindparam(name) for name in ("request_id", "rpc", "request_digest")}
        self._claim: Query[Any] = Query(insert(calls).values({**whose, **own}), refuse={f"{table}_pkey": _Repeated})
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
        if not request.request_id:
            async with database.transaction(caller, locks_limits=locks_limits) as tx:
                return reply(await act(tx))
        request_id = parse_id(request.request_id, "request_id")
        digest = _digest(caller, request)
        try:
            async with database.transaction(caller, locks_limits=locks_limits) as tx:
                # Goes out with the first statement of `act`. A second caller with the same id waits there until the
                # first has committed or rolled back, and is refused with everything she sent along.
                tx.send(self._claim, request_id=request_id, rpc=caller.rpc, request_digest=digest)
                answer = reply(await act(tx))
                tx.send(self._answer, request_id=request_id, answer=answer.SerializeToString())
                return answer
        except _Repeated:
            return reply_type.FromString(await self._before(database, caller, request_id, digest))

    async def _before(self, database: Database, caller: Caller, request_id: UUID, digest: bytes) -> bytes:
        """In a transaction of its own, so with the rights the caller has now."""
        async with database.transaction(caller) as tx:
            answered = await tx.one_or_none(self._answered, request_id=request_id)
        if answered is None:
            # Removed in this very moment, a day after it was given.
            raise Aborted(ErrorReason.CONFLICT, "request_id: its answer has just expired; make a new one")
        if answered.request_digest != digest or answered.reply is None:
            raise InvalidArgument(
                ErrorReason.REQUEST_ID_REUSED, "request_id: used before with another request; make a new one"
            )
        return answered.reply


class _Repeated(Aborted):
    """The id is taken. Never leaves this file."""

    def __init__(self) -> None:
        super().__init__(ErrorReason.CONFLICT, "request_id: used before")


def _digest(caller: Caller, request: Request) -> bytes:
    return hashlib.sha256(caller.rpc.encode() + b"\0" + request.SerializeToString(deterministic=True)).digest()
