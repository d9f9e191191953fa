"""UserService."""

from __future__ import annotations

from typing import Any

from bulkhead.identity.v1 import user_pb2 as user_pb
from bulkhead.identity.v1 import user_service_pb2 as pb
from bulkhead.identity.v1.user_service_pb2_grpc import UserServiceServicer
from bulkhead_kit.caller import current_caller
from bulkhead_kit.etags import expected_version
from grpc.aio import ServicerContext

from bulkhead_identity.calls import PERSONAL_REQUEST_IDS, Keyed, as_person
from bulkhead_identity.tools import Tools
from bulkhead_identity.user import actions, rules, store, wire

Context = ServicerContext[Any, Any]


class UserHandler(UserServiceServicer):
    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._database = tools.database

    async def GetMe(self, _request: pb.GetMeRequest, _context: Context) -> user_pb.User:
        return wire.user(rules.demand_open(await store.load(self._database.read(as_person(current_caller())))))

    async def UpdateMe(self, request: pb.UpdateMeRequest, _context: Context) -> user_pb.User:
        values = wire.changes(request)
        version = expected_version(request.user.etag, "user.etag")
        return await PERSONAL_REQUEST_IDS.once(
            self._database,
            as_person(current_caller()),
            request,
            user_pb.User,
            lambda tx: actions.update_me(tx, values, version),
            wire.user,
        )

    async def CloseAccount(self, request: pb.CloseAccountRequest, _context: Context) -> pb.CloseAccountResponse:
        caller = as_person(current_caller())
        digest = self._tools.digest(caller, request)
        closing = await actions.check_closing(self._tools, caller, request.password)
        return await PERSONAL_REQUEST_IDS.once(
            self._database,
            caller,
            Keyed(request.request_id, digest),
            pb.CloseAccountResponse,
            lambda tx: actions.close_account(tx, closing),
            lambda _: pb.CloseAccountResponse(),
        )

    async def BatchGetMembers(
        self, request: pb.BatchGetMembersRequest, _context: Context
    ) -> pb.BatchGetMembersResponse:
        user_ids = wire.user_ids(request)
        return wire.cards(user_ids, await store.cards(self._database.read(current_caller()), user_ids))
