"""What has had its time, as the worker sees it. The policies let it remove nothing else."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from bulkhead_kit.db import Query, Reader, Transaction
from sqlalchemy import bindparam, column, text

BATCH: Final = 1000


class _Tenant(NamedTuple):
    tenant: str


class _Count(NamedTuple):
    settled: int


# Tokens before sessions: a session with tokens stays.
_REMOVALS: tuple[Query[Any], ...] = (
    Query(
        text("""
        delete from identity.refresh_tokens where refresh_token_id in (
            select refresh_token_id from identity.refresh_tokens
            where expires_at < now() - interval '1 day' order by expires_at limit :batch
        )
        """)
    ),
    Query(
        text("""
        delete from identity.sessions where session_id in (
            select session_id from identity.sessions
            where expires_at < now() - interval '30 days' order by expires_at limit :batch
        )
        """)
    ),
    Query(
        text("""
        delete from identity.one_time_tokens where token_id in (
            select token_id from identity.one_time_tokens
            where expires_at < now() - interval '1 day' order by expires_at limit :batch
        )
        """)
    ),
    Query(
        text("""
        delete from identity.request_ids where (tenant_id, principal, request_id) in (
            select tenant_id, principal, request_id from identity.request_ids
            where created_at < now() - interval '24 hours' order by created_at limit :batch
        )
        """)
    ),
    Query(
        text("""
        delete from identity.user_request_ids where (user_id, request_id) in (
            select user_id, request_id from identity.user_request_ids
            where created_at < now() - interval '24 hours' order by created_at limit :batch
        )
        """)
    ),
    Query(
        text("""
        delete from identity.mails where mail_id in (
            select mail_id from identity.mails
            where created_at < now() - interval '7 days' and (sent_at is not null or failed_at is not null)
            order by created_at limit :batch
        )
        """)
    ),
    Query(
        text("""
        delete from identity.mail_asks where ask_id in (
            select ask_id from identity.mail_asks
            where answered_at is not null and created_at < now() - interval '24 hours'
            order by created_at limit :batch
        )
        """)
    ),
    Query(
        text("""
        delete from identity.login_throttles where bucket in (
            select bucket from identity.login_throttles
            where last_at < now() - interval '1 day' order by last_at limit :batch
        )
        """)
    ),
    Query(
        text("""
        delete from identity.mail_limits where bucket in (
            select bucket from identity.mail_limits where free_at < now() order by free_at limit :batch
        )
        """)
    ),
)
_TENANTS_WITH_EXPIRED_INVITATIONS = Query(
    text("""
    select distinct cast(tenant_id as text) as tenant from identity.invitations
    where status = 'open' and expires_at <= now() limit :batch
    """).columns(column("tenant")),
    row=_Tenant,
)
_EXPIRE_INVITATIONS = Query(
    text("select identity.expire_invitations(cast(:tenant as uuid)) as settled")
    .bindparams(bindparam("tenant"))
    .columns(column("settled")),
    row=_Count,
)


def kinds() -> range:
    return range(len(_REMOVALS))


async def remove_some(tx: Transaction, kind: int) -> int:
    """At most BATCH rows of one kind."""
    return await tx.execute(_REMOVALS[kind], batch=BATCH)


async def tenants_with_expired_invitations(tx: Reader) -> list[str]:
    return [row.tenant for row in await tx.all(_TENANTS_WITH_EXPIRED_INVITATIONS, batch=BATCH)]


async def expire_invitations(tx: Transaction, tenant: str) -> int:
    return (await tx.one(_EXPIRE_INVITATIONS, tenant=tenant)).settled
