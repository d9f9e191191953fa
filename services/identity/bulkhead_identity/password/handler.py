"""AuthService: passwords."""

from __future__ import annotations

from typing import Any

from bulkhead.identity.v1 import auth_service_pb2 as pb
from bulkhead.identity.v1.auth_service_pb2_grpc import AuthServiceServicer
from bulkhead_kit.caller import current_caller
from bulkhead_kit.errors import Unauthenticated
from bulkhead_kit.ids import parse_optional_id
from grpc.aio import ServicerContext

from bulkhead_identity import texts
from bulkhead_identity.calls import PERSONAL_REQUEST_IDS, Keyed, as_anybody, as_person
from bulkhead_identity.password import actions, wire
from bulkhead_identity.tools import Tools

Context = ServicerContext[Any, Any]


class PasswordHandler(AuthServiceServicer):
    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def RequestPasswordReset(
        self, request: pb.RequestPasswordResetRequest, _context: Context
    ) -> pb.RequestPasswordResetResponse:
        caller = as_anybody(current_caller())
        email = texts.address(request.email, "email")
        request_id = parse_optional_id(request.request_id, "request_id")
        digest = self._tools.digest(caller, request)
        await actions.request_reset(self._tools, caller, email, request_id, digest)
        return pb.RequestPasswordResetResponse()

    async def ResetPassword(self, request: pb.ResetPasswordRequest, _context: Context) -> pb.ResetPasswordResponse:
        await actions.reset_password(self._tools, as_anybody(current_caller()), wire.reset(request))
        return pb.ResetPasswordResponse()

    async def ChangePassword(self, request: pb.ChangePasswordRequest, _context: Context) -> pb.ChangePasswordResponse:
        caller = as_person(current_caller())
        digest = self._tools.digest(caller, request)
        checked = await actions.check_change(self._tools, caller, wire.change(request))
        try:
            return await PERSONAL_REQUEST_IDS.once(
                self._tools.database,
                caller,
                Keyed(request.request_id, digest),
                pb.ChangePasswordResponse,
                lambda tx: actions.change_password(tx, checked),
                lambda _: pb.ChangePasswordResponse(),
            )
        except Unauthenticated:
            await actions.record_failed_change(self._tools, caller, checked)
            raise
