"""AuthService: login, tokens, sessions."""

from __future__ import annotations

from typing import Any

from bulkhead.identity.v1 import auth_service_pb2 as pb
from bulkhead.identity.v1.auth_service_pb2_grpc import AuthServiceServicer
from bulkhead_kit.caller import current_caller
from bulkhead_kit.ids import parse_id
from bulkhead_kit.keysets import KeySet
from bulkhead_kit.page_tokens import PageTokens
from bulkhead_kit.paging import cut, page_of
from grpc.aio import ServicerContext

from bulkhead_identity.calls import PERSONAL_REQUEST_IDS, as_anybody, as_person
from bulkhead_identity.session import actions, rules, store, wire
from bulkhead_identity.tools import Tools

Context = ServicerContext[Any, Any]


class SessionHandler(AuthServiceServicer):
    def __init__(self, tools: Tools, page_tokens: PageTokens, public_keys: KeySet) -> None:
        self._tools = tools
        self._page_tokens = page_tokens
        self._public_keys = public_keys

    async def Login(self, request: pb.LoginRequest, _context: Context) -> pb.LoginResponse:
        caller = as_anybody(current_caller())
        return wire.signed_in(await actions.log_in(self._tools, caller, wire.log_in(request)))

    async def SelectTenant(self, request: pb.SelectTenantRequest, _context: Context) -> pb.SelectTenantResponse:
        tenant_id = parse_id(request.tenant_id, "tenant_id")
        return wire.selected(*await actions.select_tenant(self._tools, as_person(current_caller()), tenant_id))

    async def RefreshToken(self, request: pb.RefreshTokenRequest, _context: Context) -> pb.RefreshTokenResponse:
        caller = as_anybody(current_caller())
        return wire.refreshed(await actions.refresh(self._tools, caller, request.refresh_token))

    async def Logout(self, request: pb.LogoutRequest, _context: Context) -> pb.LogoutResponse:
        caller = as_person(current_caller())
        return await PERSONAL_REQUEST_IDS.once(
            self._tools.database, caller, request, pb.LogoutResponse, actions.logout, lambda _: pb.LogoutResponse()
        )

    async def ListSessions(self, request: pb.ListSessionsRequest, _context: Context) -> pb.ListSessionsResponse:
        caller = as_person(current_caller())
        own = actions.own_session(caller)
        page = page_of(self._page_tokens, caller, request, str(caller.user()))
        lasts, rows = await store.list_live(self._tools.database.read(caller), own, page.after, page.size + 1)
        rules.demand_session(lasts)
        return wire.sessions(*cut(rows, page, lambda row: (row.expires_at, row.session_id)), own)

    async def RevokeSession(self, request: pb.RevokeSessionRequest, _context: Context) -> pb.RevokeSessionResponse:
        session_id = parse_id(request.session_id, "session_id")
        return await PERSONAL_REQUEST_IDS.once(
            self._tools.database,
            as_person(current_caller()),
            request,
            pb.RevokeSessionResponse,
            lambda tx: actions.revoke_session(tx, session_id),
            lambda _: pb.RevokeSessionResponse(),
        )

    async def RevokeOtherSessions(
        self, request: pb.RevokeOtherSessionsRequest, _context: Context
    ) -> pb.RevokeOtherSessionsResponse:
        return await PERSONAL_REQUEST_IDS.once(
            self._tools.database,
            as_person(current_caller()),
            request,
            pb.RevokeOtherSessionsResponse,
            actions.revoke_other_sessions,
            lambda count: pb.RevokeOtherSessionsResponse(revoked_count=count),
        )

    async def GetJwks(self, _request: pb.GetJwksRequest, _context: Context) -> pb.GetJwksResponse:
        return wire.jwks(self._public_keys)
