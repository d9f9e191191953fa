"""Tenants: their facts and decisions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NamedTuple

from bulkhead_kit.errors import InvalidArgument

RESERVED_SLUGS: Final = frozenset(
    [
        "about",
        "account",
        "accounts",
        "admin",
        "administrator",
        "api",
        "app",
        "apps",
        "assets",
        "auth",
        "billing",
        "blog",
        "bulkhead",
        "cdn",
        "contact",
        "dashboard",
        "dev",
        "docs",
        "download",
        "email",
        "events",
        "example",
        "ftp",
        "graphql",
        "grpc",
        "help",
        "home",
        "imap",
        "internal",
        "invite",
        "issues",
        "jobs",
        "legal",
        "login",
        "logout",
        "localhost",
        "mail",
        "me",
        "metrics",
        "news",
        "null",
        "oauth",
        "password",
        "platform",
        "pop",
        "privacy",
        "public",
        "register",
        "root",
        "search",
        "security",
        "settings",
        "signup",
        "smtp",
        "sso",
        "staging",
        "static",
        "status",
        "support",
        "system",
        "team",
        "teams",
        "tenant",
        "tenants",
        "terms",
        "test",
        "tracker",
        "undefined",
        "user",
        "users",
        "webhook",
        "webhooks",
        "well-known",
        "wiki",
        "www",
    ]
)
"""Names that belong to the platform, or that would make people take a tenant for it."""


@dataclass(frozen=True, slots=True)
class NewTenant:
    slug: str
    name: str


class TenantRow(NamedTuple):
    tenant_id: str
    slug: str
    name: str
    domain: str | None
    status: str
    status_reason: str | None
    status_changed_at: int | None
    plan_code: str
    branding: dict[str, Any]
    settings: dict[str, Any]
    description: str
    logo_url: str | None
    website_url: str | None
    industry: str | None
    size: str | None
    deleted_at: int | None
    purge_after: int | None
    created_at: int
    updated_at: int
    version: int


class CardRow(NamedTuple):
    """What a tenant shows to everybody."""

    name: str
    logo_url: str | None
    branding: dict[str, Any] | None


class UsageRow(NamedTuple):
    plan_code: str
    plan_name: str
    active_members: int
    open_invitations: int
    projects: int
    storage_bytes: int
    max_users: int | None
    max_projects: int | None
    max_storage_bytes: int | None
    max_users_override: int | None
    max_projects_override: int | None
    max_storage_bytes_override: int | None


class GrantRow(NamedTuple):
    """Support access that an owner has granted."""

    grant_id: str
    role: int
    reason: str
    expires_at: int
    created_by: str
    created_at: int
    revoked_at: int | None
    revoked_by: str | None


@dataclass(frozen=True, slots=True)
class NewGrant:
    role: int
    reason: str
    life: timedelta


@dataclass(frozen=True, slots=True)
class LimitUse:
    limit: str
    used: int
    value: int | None
    """None: no limit."""
    is_override: bool


class MyTenantRow(NamedTuple):
    tenant_id: str
    slug: str
    name: str
    status: str
    role: int
    joined_at: int
    purge_after: int | None


def demand_free_slug(slug: str) -> None:
    if slug in RESERVED_SLUGS:
        raise InvalidArgument.field("tenant.slug", "is a reserved word")
    if slug.startswith("xn--"):
        raise InvalidArgument.field("tenant.slug", "must not begin with xn--, which is for encoded names")


def limits(usage: UsageRow) -> list[LimitUse]:
    """As identity.limit_of has it: the tenant's own before its plan's."""
    return [
        _limit("users", usage.active_members + usage.open_invitations, usage.max_users, usage.max_users_override),
        _limit("projects", usage.projects, usage.max_projects, usage.max_projects_override),
        _limit("storage_bytes", usage.storage_bytes, usage.max_storage_bytes, usage.max_storage_bytes_override),
    ]


def _limit(name: str, used: int, by_plan: int | None, override: int | None) -> LimitUse:
    return LimitUse(name, used, by_plan if override is None else override, override is not None)
