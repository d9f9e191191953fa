"""AuthService: sign-up."""

from __future__ import annotations

from typing import Any

from bulkhead.identity.v1 import auth_service_pb2 as pb
from bulkhead.identity.v1.auth_service_pb2_grpc import AuthServiceServicer
from bulkhead_kit.caller import current_caller
from bulkhead_kit.ids import parse_optional_id
from grpc.aio import ServicerContext

from bulkhead_identity import texts
from bulkhead_identity.calls import as_anybody
from bulkhead_identity.registration import actions, wire
from bulkhead_identity.tools import Tools

Context = ServicerContext[Any, Any]


class RegistrationHandler(AuthServiceServicer):
    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def SignUp(self, request: pb.SignUpRequest, _context: Context) -> pb.SignUpResponse:
        caller = as_anybody(current_caller())
        digest = self._tools.digest(caller, request)
        await actions.sign_up(self._tools, caller, wire.sign_up(request, digest))
        return pb.SignUpResponse()

    async def VerifyEmail(self, request: pb.VerifyEmailRequest, _context: Context) -> pb.VerifyEmailResponse:
        caller = as_anybody(current_caller())
        request_id = parse_optional_id(request.request_id, "request_id")
        user_id = await actions.verify_email(self._tools, caller, request.token, request.password, request_id)
        return pb.VerifyEmailResponse(user_id=user_id)

    async def ResendVerification(
        self, request: pb.ResendVerificationRequest, _context: Context
    ) -> pb.ResendVerificationResponse:
        caller = as_anybody(current_caller())
        email = texts.address(request.email, "email")
        request_id = parse_optional_id(request.request_id, "request_id")
        digest = self._tools.digest(caller, request)
        await actions.resend_verification(self._tools, caller, email, request_id, digest)
        return pb.ResendVerificationResponse()
