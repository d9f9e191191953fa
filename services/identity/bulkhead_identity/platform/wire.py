"""Messages of PlatformService."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from bulkhead.identity.v1 import auth_pb2 as auth_pb
from bulkhead.identity.v1 import platform_pb2 as platform_pb
from bulkhead.identity.v1 import platform_service_pb2 as pb
from bulkhead.rpc.v1 import options_pb2
from bulkhead_kit import texts as kit_texts
from bulkhead_kit.etags import etag, expected_version
from bulkhead_kit.wire import timestamp
from google.protobuf.timestamp_pb2 import Timestamp

from bulkhead_identity.platform.rules import EntryRow, PlanChange, PlanRow, PlatformTenantRow, TenantLimitRow
from bulkhead_identity.wire import TENANT_STATES


def reason(request: pb.SuspendTenantRequest) -> str:
    return kit_texts.name(request.reason, "reason")


def plan_change(request: pb.ChangePlanRequest) -> PlanChange:
    limits = request.overrides
    return PlanChange(
        plan_code=kit_texts.line(request.plan_code, "plan_code"),
        max_users=limits.max_users if limits.HasField("max_users") else None,
        max_projects=limits.max_projects if limits.HasField("max_projects") else None,
        max_storage_bytes=limits.max_storage_bytes if limits.HasField("max_storage_bytes") else None,
        version=expected_version(request.etag),
    )


def tenant(row: PlatformTenantRow) -> platform_pb.PlatformTenant:
    return platform_pb.PlatformTenant(
        tenant_id=row.tenant_id,
        slug=row.slug,
        name=row.name,
        domain=row.domain or "",
        state=TENANT_STATES[row.status],
        state_reason=row.status_reason or "",
        state_change_time=timestamp(row.status_changed_at),
        plan_code=row.plan_code,
        overrides=platform_pb.LimitOverrides(
            max_users=row.max_users_override,
            max_projects=row.max_projects_override,
            max_storage_bytes=row.max_storage_bytes_override,
        ),
        active_members=row.active_members,
        open_invitations=row.open_invitations,
        projects=row.projects,
        storage_bytes=row.storage_bytes,
        create_time=timestamp(row.created_at),
        delete_time=timestamp(row.deleted_at),
        purge_time=timestamp(row.purge_after),
        etag=etag(row.version),
    )


def tenants(rows: Iterable[PlatformTenantRow], next_page_token: str) -> pb.ListTenantsResponse:
    return pb.ListTenantsResponse(tenants=map(tenant, rows), next_page_token=next_page_token)


def plans(rows: Iterable[PlanRow]) -> pb.ListPlansResponse:
    return pb.ListPlansResponse(plans=[platform_pb.Plan(**row._asdict()) for row in rows])


def entered(token: str, expires_at: int, row: EntryRow) -> pb.EnterSupportAccessResponse:
    return pb.EnterSupportAccessResponse(
        access_token=auth_pb.AccessToken(token=token, expire_time=Timestamp(seconds=expires_at)),
        role=options_pb2.Role.ValueType(row.role),
        support_expire_time=timestamp(row.support_until),
    )


def tenant_limit(user_id: UUID, row: TenantLimitRow) -> platform_pb.TenantLimit:
    return platform_pb.TenantLimit(user_id=str(user_id), max_tenants=row.max_tenants, tenants=row.tenants)
