"""Messages of TenantService."""

from __future__ import annotations

from collections.abc import Iterable

from bulkhead.identity.v1 import tenant_pb2 as tenant_pb
from bulkhead.identity.v1 import tenant_service_pb2 as pb
from bulkhead.rpc.v1 import options_pb2
from bulkhead_kit.etags import etag
from bulkhead_kit.wire import timestamp

from bulkhead_identity import texts
from bulkhead_identity.tenant.rules import MyTenantRow, NewTenant, TenantRow

_STATES = {
    "active": tenant_pb.Tenant.STATE_ACTIVE,
    "suspended": tenant_pb.Tenant.STATE_SUSPENDED,
    "deleted": tenant_pb.Tenant.STATE_DELETED,
}


def new_tenant(message: tenant_pb.Tenant) -> NewTenant:
    return NewTenant(slug=message.slug, name=texts.name(message.name, "tenant.name"))


def tenant(row: TenantRow) -> tenant_pb.Tenant:
    return tenant_pb.Tenant(
        tenant_id=row.tenant_id,
        slug=row.slug,
        name=row.name,
        state=_STATES[row.status],
        plan_code=row.plan_code,
        create_time=timestamp(row.created_at),
        update_time=timestamp(row.updated_at),
        etag=etag(row.version),
    )


def my_tenants(rows: Iterable[MyTenantRow], next_page_token: str) -> pb.ListMyTenantsResponse:
    return pb.ListMyTenantsResponse(tenants=map(_my_tenant, rows), next_page_token=next_page_token)


def _my_tenant(row: MyTenantRow) -> tenant_pb.MyTenant:
    return tenant_pb.MyTenant(
        tenant_id=row.tenant_id,
        slug=row.slug,
        name=row.name,
        state=_STATES[row.status],
        role=options_pb2.Role.ValueType(row.role),
        join_time=timestamp(row.joined_at),
    )
