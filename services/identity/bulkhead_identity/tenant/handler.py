"""TenantService."""

from __future__ import annotations

from typing import Any

from bulkhead.identity.v1 import platform_pb2 as platform_pb
from bulkhead.identity.v1 import tenant_pb2 as tenant_pb
from bulkhead.identity.v1 import tenant_service_pb2 as pb
from bulkhead.identity.v1.tenant_service_pb2_grpc import TenantServiceServicer
from bulkhead_kit.caller import current_caller
from bulkhead_kit.db import Database
from bulkhead_kit.errors import NotFound
from bulkhead_kit.etags import expected_version
from bulkhead_kit.ids import parse_id, parse_optional_id
from bulkhead_kit.page_tokens import PageTokens
from bulkhead_kit.paging import cut, page_of
from grpc.aio import ServicerContext

from bulkhead_identity.calls import PERSONAL_REQUEST_IDS, REQUEST_IDS, as_anybody, as_person
from bulkhead_identity.tenant import actions, store, wire

Context = ServicerContext[Any, Any]


class TenantHandler(TenantServiceServicer):
    def __init__(self, database: Database, page_tokens: PageTokens) -> None:
        self._database = database
        self._page_tokens = page_tokens

    async def LookupTenant(self, request: pb.LookupTenantRequest, _context: Context) -> tenant_pb.TenantCard:
        reader = self._database.read(as_anybody(current_caller()))
        return wire.card(request.slug, await store.look_up(reader, request.slug))

    async def CreateTenant(self, request: pb.CreateTenantRequest, _context: Context) -> tenant_pb.Tenant:
        caller = as_person(current_caller())
        new = wire.new_tenant(request.tenant)
        return await PERSONAL_REQUEST_IDS.once(
            self._database, caller, request, tenant_pb.Tenant, lambda tx: actions.create_tenant(tx, new), wire.tenant
        )

    async def GetTenant(self, request: pb.GetTenantRequest, _context: Context) -> tenant_pb.Tenant:
        tenant_id = parse_id(request.tenant_id, "tenant_id")
        row = await store.load(self._database.read(current_caller()), tenant_id)
        if row is None:
            raise NotFound("tenant")
        return wire.tenant(row)

    async def ListMyTenants(self, request: pb.ListMyTenantsRequest, _context: Context) -> pb.ListMyTenantsResponse:
        caller = as_person(current_caller())
        page = page_of(self._page_tokens, caller, request, str(caller.user()), request.show_deleted)
        after = str(page.after[0]) if page.after else None
        reader = self._database.read(caller)
        rows = await store.list_mine(reader, after, page.size + 1, deleted=request.show_deleted)
        return wire.my_tenants(*cut(rows, page, lambda row: (row.tenant_id,)))

    async def UpdateTenant(self, request: pb.UpdateTenantRequest, _context: Context) -> tenant_pb.Tenant:
        tenant_id = parse_id(request.tenant.tenant_id, "tenant.tenant_id")
        version = expected_version(request.tenant.etag, "tenant.etag")
        values = wire.changes(request)
        return await REQUEST_IDS.once(
            self._database,
            current_caller(),
            request,
            tenant_pb.Tenant,
            lambda tx: actions.update_tenant(tx, tenant_id, values, version),
            wire.tenant,
        )

    async def DeleteTenant(self, request: pb.DeleteTenantRequest, _context: Context) -> tenant_pb.Tenant:
        caller = current_caller()
        tenant_id, slug = parse_id(request.tenant_id, "tenant_id"), wire.confirmed_slug(request)
        # Of another tenant there is no row; and who is no member of her own any more is told that first.
        if tenant_id != caller.tenant() and await store.load(self._database.read(caller), tenant_id) is None:
            raise NotFound("tenant")
        return await PERSONAL_REQUEST_IDS.once(
            self._database,
            as_person(caller),
            request,
            tenant_pb.Tenant,
            lambda tx: actions.delete_tenant(tx, caller, slug),
            wire.tenant,
        )

    async def UndeleteTenant(self, request: pb.UndeleteTenantRequest, _context: Context) -> tenant_pb.Tenant:
        tenant_id = parse_id(request.tenant_id, "tenant_id")
        return await PERSONAL_REQUEST_IDS.once(
            self._database,
            as_person(current_caller()),
            request,
            tenant_pb.Tenant,
            lambda tx: actions.undelete_tenant(tx, tenant_id),
            wire.tenant,
        )

    async def GetUsage(self, _request: pb.GetUsageRequest, _context: Context) -> tenant_pb.TenantUsage:
        return wire.usage(await store.usage(self._database.read(current_caller())))

    async def GrantSupportAccess(
        self, request: pb.GrantSupportAccessRequest, _context: Context
    ) -> platform_pb.SupportGrant:
        new = wire.new_grant(request)
        return await REQUEST_IDS.once(
            self._database,
            current_caller(),
            request,
            platform_pb.SupportGrant,
            lambda tx: actions.grant_support(tx, new),
            wire.grant,
            locks_limits=True,
        )

    async def RevokeSupportAccess(
        self, request: pb.RevokeSupportAccessRequest, _context: Context
    ) -> platform_pb.SupportGrant:
        grant_id = parse_optional_id(request.grant_id, "grant_id")
        return await REQUEST_IDS.once(
            self._database,
            current_caller(),
            request,
            platform_pb.SupportGrant,
            lambda tx: actions.revoke_support(tx, grant_id),
            wire.grant,
            locks_limits=True,
        )
