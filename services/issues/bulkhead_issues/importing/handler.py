"""ImportService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from bulkhead.identity.v1.membership_service_pb2_grpc import MembershipServiceStub
from bulkhead.issues.v1 import import_pb2
from bulkhead.issues.v1 import import_service_pb2 as pb
from bulkhead.issues.v1.import_service_pb2_grpc import ImportServiceServicer
from bulkhead_kit.caller import Caller, current_caller
from bulkhead_kit.client import Channel
from bulkhead_kit.db import Database
from bulkhead_kit.errors import DeadlineExceeded, DomainError, InvalidArgument
from grpc.aio import ServicerContext

from bulkhead_issues.importing import wire
from bulkhead_issues.importing.actions import Import
from bulkhead_issues.importing.room import Hold, Room

Context = ServicerContext[Any, Any]
Requests = AsyncIterator[pb.ImportItemsRequest]


class ImportHandler(ImportServiceServicer):
    def __init__(self, database: Database, identity: Channel, patience: float) -> None:
        """`patience`: seconds to wait for the next message of a stream."""
        self._database = database
        self._patience = patience
        self._identity = identity
        self._members = MembershipServiceStub(identity)
        self._room = Room()

    async def ImportItems(self, requests: Requests, _context: Context) -> pb.ImportItemsResponse:
        caller = current_caller()
        requests = _within(requests, self._patience)
        first = await anext(requests, None)
        if first is None or not first.HasField("options"):
            raise InvalidArgument.field("options", "must be in the first message")

        async def make_people(source: str, names: Sequence[str]) -> Mapping[str, str]:
            return await self._make_people(caller, source, names)

        running = Import(self._database, caller, wire.options(first.options), make_people)
        await running.begin()
        position = 0
        payers = {caller.tenant(), caller.user_id or caller.tenant()}
        with self._room.part(*payers) as remember:
            async for request in requests:
                position += 1
                with self._room.part(*payers) as hold:
                    await _take(running, position, request, requests, hold)
                remember(running.remembered)
        return wire.report(running.report)

    async def _make_people(self, caller: Caller, source: str, names: Sequence[str]) -> Mapping[str, str]:
        request = wire.people_request(source, names)
        return wire.people(await self._identity.call(self._members.ImportMembers, request, caller=caller))


async def _take(running: Import, position: int, request: pb.ImportItemsRequest, requests: Requests, hold: Hold) -> None:
    part = request.WhichOneof("part")
    if part == "label":
        await _take_label(running, position, request.label)
    elif part == "issue":
        # All of an item is received before any of it is judged, or the rest would be out of place.
        comments = await _comments(request.issue, requests, hold)
        await _take_issue(running, position, request.issue, comments)
    else:
        raise InvalidArgument.field(part or "part", "is out of place here")


async def _take_label(running: Import, position: int, message: import_pb2.ImportLabel) -> None:
    try:
        label = wire.label(message)
    except DomainError as error:
        running.fail(position, message.name, error)
    else:
        await running.take_label(position, label)


async def _take_issue(running: Import, position: int, message: import_pb2.ImportIssue, comments: wire.Comments) -> None:
    try:
        issue = wire.issue(message, comments)
    except DomainError as error:
        running.fail(position, message.external_id, error)
    else:
        await running.take_issue(position, issue)


async def _comments(message: import_pb2.ImportIssue, requests: Requests, hold: Hold) -> wire.Comments:
    """Its own and those of the messages that follow, as long as each says that there are more."""
    found = wire.Comments()
    found.add(message.comments, message.ByteSize())
    hold(found.held)
    follow = message.more_comments_follow
    while follow:
        request = await anext(requests, None)
        if request is None or not request.HasField("more_comments"):
            raise InvalidArgument.field("more_comments", "must follow, as the message before says")
        found.add(request.more_comments.comments, request.ByteSize())
        hold(found.held)
        follow = request.more_comments.more_comments_follow
    return found


async def _within(requests: Requests, seconds: float) -> Requests:
    """The same messages; a client that sends none for so long does not keep her stream."""
    while True:
        try:
            async with asyncio.timeout(seconds):
                request = await anext(requests, None)
        except TimeoutError:
            raise DeadlineExceeded(f"no message came for {seconds:g} seconds: send the items again") from None
        if request is None:
            return
        yield request
