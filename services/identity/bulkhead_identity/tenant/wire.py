"""Messages of TenantService."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal

from bulkhead.identity.v1 import platform_pb2 as platform_pb
from bulkhead.identity.v1 import tenant_pb2 as tenant_pb
from bulkhead.identity.v1 import tenant_service_pb2 as pb
from bulkhead.rpc.v1 import options_pb2
from bulkhead_kit import texts as kit_texts
from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.etags import etag
from bulkhead_kit.masks import MutableFields
from bulkhead_kit.structs import struct, values_of
from bulkhead_kit.wire import timestamp

from bulkhead_identity import texts
from bulkhead_identity.tenant import rules
from bulkhead_identity.tenant.rules import (
    CardRow,
    GrantRow,
    LimitUse,
    MyTenantRow,
    NewGrant,
    NewTenant,
    TenantRow,
    UsageRow,
)
from bulkhead_identity.wire import TENANT_STATES

MAX_JSON: Final = 8_192
"""Bytes."""
_AT_FIRST: Final = ("slug", "name")
"""What a tenant is made with."""
_SIZES = {
    "1-10": tenant_pb.Tenant.SIZE_1_TO_10,
    "11-50": tenant_pb.Tenant.SIZE_11_TO_50,
    "51-200": tenant_pb.Tenant.SIZE_51_TO_200,
    "201-1000": tenant_pb.Tenant.SIZE_201_TO_1000,
    "1001+": tenant_pb.Tenant.SIZE_OVER_1000,
}
_STORED_SIZES = {number: stored for stored, number in _SIZES.items()}


def new_tenant(message: tenant_pb.Tenant) -> NewTenant:
    for field, _ in message.ListFields():
        if field.name in _READ and field.name not in _AT_FIRST:
            raise InvalidArgument.field(f"tenant.{field.name}", "is for UpdateTenant, once the tenant is made")
    return NewTenant(slug=_slug(message), name=_name(message))


def confirmed_slug(request: pb.DeleteTenantRequest) -> str:
    return kit_texts.line(request.slug, "slug")


def changes(request: pb.UpdateTenantRequest) -> dict[str, object]:
    """Column values to write."""
    paths = _MUTABLE.to_write(request.tenant, request.update_mask)
    return {path: _READ[path](request.tenant) for path in paths}


def tenant(row: TenantRow) -> tenant_pb.Tenant:
    return tenant_pb.Tenant(
        tenant_id=row.tenant_id,
        slug=row.slug,
        name=row.name,
        state=TENANT_STATES[row.status],
        plan_code=row.plan_code,
        create_time=timestamp(row.created_at),
        update_time=timestamp(row.updated_at),
        etag=etag(row.version),
        domain=row.domain or "",
        branding=struct(row.branding),
        settings=struct(row.settings),
        description=row.description,
        logo_url=row.logo_url or "",
        website_url=row.website_url or "",
        industry=row.industry or "",
        size=_SIZES[row.size] if row.size else tenant_pb.Tenant.SIZE_UNSPECIFIED,
        state_reason=row.status_reason or "",
        state_change_time=timestamp(row.status_changed_at),
        delete_time=timestamp(row.deleted_at),
        purge_time=timestamp(row.purge_after),
    )


def card(slug: str, row: CardRow) -> tenant_pb.TenantCard:
    return tenant_pb.TenantCard(slug=slug, name=row.name, logo_url=row.logo_url or "", branding=struct(row.branding))


def usage(row: UsageRow) -> tenant_pb.TenantUsage:
    return tenant_pb.TenantUsage(
        plan_code=row.plan_code,
        plan_name=row.plan_name,
        limits=map(_limit, rules.limits(row)),
        active_members=row.active_members,
        open_invitations=row.open_invitations,
    )


def _limit(use: LimitUse) -> tenant_pb.LimitUsage:
    return tenant_pb.LimitUsage(
        limit=use.limit,
        used=use.used,
        value=use.value,
        source=tenant_pb.LimitUsage.SOURCE_OVERRIDE if use.is_override else tenant_pb.LimitUsage.SOURCE_PLAN,
    )


def my_tenants(rows: Iterable[MyTenantRow], next_page_token: str) -> pb.ListMyTenantsResponse:
    return pb.ListMyTenantsResponse(tenants=map(_my_tenant, rows), next_page_token=next_page_token)


def _my_tenant(row: MyTenantRow) -> tenant_pb.MyTenant:
    return tenant_pb.MyTenant(
        tenant_id=row.tenant_id,
        slug=row.slug,
        name=row.name,
        state=TENANT_STATES[row.status],
        role=options_pb2.Role.ValueType(row.role),
        join_time=timestamp(row.joined_at),
        purge_time=timestamp(row.purge_after),
    )


def new_grant(request: pb.GrantSupportAccessRequest) -> NewGrant:
    return NewGrant(request.role, kit_texts.name(request.reason, "reason"), request.duration.ToTimedelta())


def grant(row: GrantRow) -> platform_pb.SupportGrant:
    return platform_pb.SupportGrant(
        grant_id=row.grant_id,
        role=options_pb2.Role.ValueType(row.role),
        reason=row.reason,
        expire_time=timestamp(row.expires_at),
        granted_by=row.created_by,
        create_time=timestamp(row.created_at),
        revoke_time=timestamp(row.revoked_at),
        revoked_by=row.revoked_by or "",
    )


def _slug(message: tenant_pb.Tenant) -> str:
    if not message.slug:
        raise InvalidArgument.field("tenant.slug", "must have 3 to 63 lower-case letters, digits and hyphens")
    return message.slug


def _name(message: tenant_pb.Tenant) -> str:
    return texts.name(message.name, "tenant.name")


def _line(field: str) -> Callable[[tenant_pb.Tenant], str | None]:
    return lambda message: kit_texts.optional_line(getattr(message, field), f"tenant.{field}") or None


def _object(field: Literal["branding", "settings"]) -> Callable[[tenant_pb.Tenant], object]:
    def read(message: tenant_pb.Tenant) -> object:
        path = f"tenant.{field}"
        return values_of(getattr(message, field), path, MAX_JSON) if message.HasField(field) else {}

    return read


_READ: Mapping[str, Callable[[tenant_pb.Tenant], object]] = {
    "slug": _slug,
    "name": _name,
    "domain": lambda m: m.domain.lower() or None,
    "branding": _object("branding"),
    "settings": _object("settings"),
    "description": lambda m: kit_texts.optional_prose(m.description, "tenant.description"),
    "logo_url": lambda m: texts.web_address(m.logo_url, "tenant.logo_url", schemes=("https",)) or None,
    "website_url": lambda m: texts.web_address(m.website_url, "tenant.website_url") or None,
    "industry": _line("industry"),
    "size": lambda m: _STORED_SIZES.get(m.size),
}
_MUTABLE = MutableFields(tenant_pb.Tenant, _READ)
