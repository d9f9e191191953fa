"""PlatformService."""

from __future__ import annotations

from typing import Any

from bulkhead.identity.v1 import platform_pb2 as platform_pb
from bulkhead.identity.v1 import platform_service_pb2 as pb
from bulkhead.identity.v1.platform_service_pb2_grpc import PlatformServiceServicer
from bulkhead_kit.caller import Caller, current_caller
from bulkhead_kit.db import Database
from bulkhead_kit.ids import parse_id, parse_optional_id
from bulkhead_kit.page_tokens import PageTokens
from bulkhead_kit.paging import cut, page_of
from grpc.aio import ServicerContext

from bulkhead_identity.calls import PERSONAL_REQUEST_IDS, as_person
from bulkhead_identity.platform import actions, store, wire
from bulkhead_identity.session.tokens import AccessTokens

Context = ServicerContext[Any, Any]


def _administrator() -> Caller:
    """Outside the tenant her token may name: the database's role for this knows none."""
    return as_person(current_caller())


class PlatformHandler(PlatformServiceServicer):
    def __init__(self, database: Database, page_tokens: PageTokens, tokens: AccessTokens) -> None:
        """`database` logs in as the platform's own role."""
        self._database = database
        self._page_tokens = page_tokens
        self._tokens = tokens

    async def ListTenants(self, request: pb.ListTenantsRequest, _context: Context) -> pb.ListTenantsResponse:
        caller = _administrator()
        asked = store.FILTERS.parse(request.filter)
        page = page_of(self._page_tokens, caller, request, str(caller.user()), request.filter, request.show_deleted)
        rows = await store.list_tenants(
            self._database.read(caller), asked, deleted=request.show_deleted, after=page.after, limit=page.size + 1
        )
        return wire.tenants(*cut(rows, page, lambda row: (row.tenant_id,)))

    async def SuspendTenant(self, request: pb.SuspendTenantRequest, _context: Context) -> platform_pb.PlatformTenant:
        tenant_id, reason = parse_id(request.tenant_id, "tenant_id"), wire.reason(request)
        return await PERSONAL_REQUEST_IDS.once(
            self._database,
            _administrator(),
            request,
            platform_pb.PlatformTenant,
            lambda tx: actions.suspend_tenant(tx, tenant_id, reason),
            wire.tenant,
        )

    async def ResumeTenant(self, request: pb.ResumeTenantRequest, _context: Context) -> platform_pb.PlatformTenant:
        tenant_id = parse_id(request.tenant_id, "tenant_id")
        return await PERSONAL_REQUEST_IDS.once(
            self._database,
            _administrator(),
            request,
            platform_pb.PlatformTenant,
            lambda tx: actions.resume_tenant(tx, tenant_id),
            wire.tenant,
        )

    async def ChangePlan(self, request: pb.ChangePlanRequest, _context: Context) -> platform_pb.PlatformTenant:
        tenant_id, change = parse_id(request.tenant_id, "tenant_id"), wire.plan_change(request)
        return await PERSONAL_REQUEST_IDS.once(
            self._database,
            _administrator(),
            request,
            platform_pb.PlatformTenant,
            lambda tx: actions.change_plan(tx, tenant_id, change),
            wire.tenant,
        )

    async def SetTenantLimit(self, request: pb.SetTenantLimitRequest, _context: Context) -> platform_pb.TenantLimit:
        user_id, most = parse_id(request.user_id, "user_id"), request.max_tenants
        return await PERSONAL_REQUEST_IDS.once(
            self._database,
            _administrator(),
            request,
            platform_pb.TenantLimit,
            lambda tx: store.set_tenant_limit(tx, user_id, most),
            lambda row: wire.tenant_limit(user_id, row),
        )

    async def ListPlans(self, _request: pb.ListPlansRequest, _context: Context) -> pb.ListPlansResponse:
        return wire.plans(await store.list_plans(self._database.read(_administrator())))

    async def EnterSupportAccess(
        self, request: pb.EnterSupportAccessRequest, _context: Context
    ) -> pb.EnterSupportAccessResponse:
        tenant_id = parse_id(request.tenant_id, "tenant_id")
        request_id = parse_optional_id(request.request_id, "request_id")
        issued, entry = await actions.enter_support(
            self._database, self._tokens, _administrator(), tenant_id, request_id
        )
        return wire.entered(issued.token, issued.expires_at, entry)
