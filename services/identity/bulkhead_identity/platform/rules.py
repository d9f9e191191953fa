"""What the platform's administrators see of tenants, and what they may make of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit.errors import FailedPrecondition

STATES: Final = {"ACTIVE": "active", "SUSPENDED": "suspended", "DELETED": "deleted"}
"""By the contract's names: what is stored."""


class PlatformTenantRow(NamedTuple):
    tenant_id: str
    slug: str
    name: str
    domain: str | None
    status: str
    status_reason: str | None
    status_changed_at: int | None
    plan_code: str
    max_users_override: int | None
    max_projects_override: int | None
    max_storage_bytes_override: int | None
    active_members: int
    open_invitations: int
    projects: int
    storage_bytes: int
    created_at: int
    deleted_at: int | None
    purge_after: int | None
    version: int


class PlanRow(NamedTuple):
    code: str
    name: str
    max_users: int | None
    max_projects: int | None
    max_storage_bytes: int | None


class EntryRow(NamedTuple):
    """The standing of somebody whom a tenant has let in."""

    role: int
    version: int
    support_until: int


class TenantLimitRow(NamedTuple):
    """How many tenants a person may have made, and has."""

    max_tenants: int
    tenants: int


@dataclass(frozen=True, slots=True)
class PlanChange:
    plan_code: str
    max_users: int | None
    max_projects: int | None
    max_storage_bytes: int | None
    version: int | None
    """The version of the tenant the change is meant for; None: any."""


def demand_not_deleted(tenant: PlatformTenantRow) -> None:
    if tenant.status == "deleted":
        raise FailedPrecondition(
            ErrorReason.STATE_NOT_ALLOWED,
            "the tenant is deleted; its owners can bring it back",
            metadata={"state": "deleted"},
        )
