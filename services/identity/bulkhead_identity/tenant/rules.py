"""Tenants: their facts and decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

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
    status: str
    plan_code: str
    created_at: int
    updated_at: int
    version: int


class MyTenantRow(NamedTuple):
    tenant_id: str
    slug: str
    name: str
    status: str
    role: int
    joined_at: int


def demand_free_slug(slug: str) -> None:
    if slug in RESERVED_SLUGS:
        raise InvalidArgument.field("tenant.slug", "is a reserved word")
    if slug.startswith("xn--"):
        raise InvalidArgument.field("tenant.slug", "must not begin with xn--, which is for encoded names")
