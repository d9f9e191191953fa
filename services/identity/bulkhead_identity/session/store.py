"""Sessions, and the functions that are the only way to credentials and tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from bulkhead_kit.db import Id, Query, Reader, Time, Transaction
from bulkhead_kit.ids import new_id
from bulkhead_kit.page_tokens import KeyValue
from sqlalchemy import (
    BigInteger,
    Column,
    MetaData,
    Table,
    Text,
    and_,
    bindparam,
    cast,
    column,
    exists,
    func,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import INET

from bulkhead_identity.session.rules import (
    NOBODY,
    Credentials,
    Entry,
    Lives,
    OwnCredentials,
    Rotation,
    SessionRow,
    Start,
)

SESSIONS = Table(
    "sessions",
    MetaData(schema="identity"),
    Column("session_id", Id),
    Column("user_id", Id),
    Column("created_at", Time),
    Column("last_seen_at", Time),
    Column("expires_at", Time),
    Column("ip", INET),
    Column("user_agent", Text),
    Column("revoked_at", Time),
    Column("revoked_reason", Text),
)


class _Truth(NamedTuple):
    is_true: bool


class _ExpiresAt(NamedTuple):
    expires_at: int


_FIND_CREDENTIALS = Query(
    text("""
    select cast(user_id as text) as user_id, password_hash, is_active, is_platform_admin
    from identity.find_credentials(:email)
    """).columns(*map(column, Credentials._fields)),
    row=Credentials,
)
_FIND_OWN = Query(
    text("select email, full_name, password_hash from identity.find_own_credentials(:session_id)").columns(
        *map(column, OwnCredentials._fields)
    ),
    row=OwnCredentials,
)
_LOGIN_FAILED: Query[Any] = Query(
    text("""
    select identity.record_event(
        'session.login_failed', 'user', :user_id, 'failed', jsonb_build_object('email', jsonb_build_array(null, :email))
    )
    """).bindparams(bindparam("email", type_=Text))
)
_START = Query(
    text("""
    select identity.start_session(
        :session_id, :user_id, make_interval(secs => :life), :token_id, :token_hash,
        make_interval(secs => :token_life), :ip, :user_agent, :checked_hash, :rehashed, :device_is_known, :mail_id
    ) as expires_at
    """).columns(column("expires_at")),
    row=_ExpiresAt,
)
_ROTATE = Query(
    text("""
    select
        outcome, cast(user_id as text) as user_id, cast(session_id as text) as session_id, is_platform_admin,
        expires_at
    from identity.rotate_refresh_token(
        :token_hash, :child_id, :child_hash, make_interval(secs => :token_life), make_interval(secs => :grace),
        :ip, :user_agent
    )
    """).columns(*map(column, Rotation._fields)),
    row=Rotation,
)
_SELECT_TENANT = Query(
    text("select role, version, is_platform_admin from identity.select_tenant(:session_id, :chosen_tenant)").columns(
        *map(column, Entry._fields)
    ),
    row=Entry,
)
_own = SESSIONS.c.user_id == bindparam("caller_id")
_this = SESSIONS.c.session_id == bindparam("session_id")
_live = and_(_own, SESSIONS.c.revoked_at.is_(None), SESSIONS.c.expires_at > func.now())
_LASTS = Query(select(exists().where(_live, _this).label("is_true")), row=_Truth)
_IS_OWN = Query(select(exists().where(_own, _this).label("is_true")), row=_Truth)
_ROW = tuple(cast(SESSIONS.c.ip, Text).label("ip") if name == "ip" else SESSIONS.c[name] for name in SessionRow._fields)
_FIRST = (
    select(*_ROW)
    .where(_live)
    .order_by(SESSIONS.c.expires_at.desc(), SESSIONS.c.session_id.desc())
    .limit(bindparam("rows", type_=BigInteger))
)
_LIST = Query(_FIRST, row=SessionRow)
_LIST_ON = Query(
    _FIRST.where(
        tuple_(SESSIONS.c.expires_at, SESSIONS.c.session_id)
        < tuple_(bindparam("expires_at", type_=Time), bindparam("session_id", type_=Id))
    ),
    row=SessionRow,
)
_ended = {"revoked_at": func.now(), "revoked_reason": bindparam("reason", type_=Text)}
_END: Query[Any] = Query(update(SESSIONS).where(_own, _this, SESSIONS.c.revoked_at.is_(None)).values(_ended))
_END_OTHERS: Query[Any] = Query(
    update(SESSIONS).where(_live, SESSIONS.c.session_id != bindparam("session_id")).values(_ended)
)


async def find_credentials(tx: Reader, email: str) -> Credentials | None:
    return await tx.one_or_none(_FIND_CREDENTIALS, email=email)


async def find_own_credentials(tx: Reader, session_id: UUID) -> OwnCredentials:
    return await tx.one(_FIND_OWN, session_id=session_id)


def record_failed_login(tx: Transaction, email: str, user_id: str | None) -> None:
    tx.send(_LOGIN_FAILED, email=email, user_id=user_id or NOBODY)


async def start(tx: Transaction, begun: Start, lives: Lives) -> int:
    """Tells when the refresh token ends, in microseconds since 2000."""
    row = await tx.one(
        _START,
        session_id=begun.session_id,
        user_id=begun.user_id,
        life=_seconds(lives.session),
        token_id=new_id(),
        token_hash=begun.token_hash,
        token_life=_seconds(lives.refresh_token),
        ip=tx.caller.ip,
        user_agent=tx.caller.user_agent,
        checked_hash=begun.checked_hash,
        rehashed=begun.rehashed,
        device_is_known=begun.device_is_known,
        mail_id=new_id(),
    )
    return row.expires_at


async def rotate(tx: Transaction, token_hash: bytes, child_hash: bytes, lives: Lives) -> Rotation:
    return await tx.one(
        _ROTATE,
        token_hash=token_hash,
        child_id=new_id(),
        child_hash=child_hash,
        token_life=_seconds(lives.refresh_token),
        grace=_seconds(lives.refresh_grace),
        ip=tx.caller.ip,
        user_agent=tx.caller.user_agent,
    )


async def select_tenant(tx: Reader, session_id: UUID, tenant_id: UUID) -> Entry:
    return await tx.one(_SELECT_TENANT, session_id=session_id, chosen_tenant=tenant_id)


async def lasts(tx: Reader, session_id: UUID) -> bool:
    """Whether it is a session of the caller's that has not ended."""
    return (await tx.one(_LASTS, session_id=session_id)).is_true


async def is_own(tx: Reader, session_id: UUID) -> bool:
    """Whether it is or was a session of the caller's."""
    return (await tx.one(_IS_OWN, session_id=session_id)).is_true


async def list_live(
    tx: Reader, own: UUID, after: tuple[KeyValue, ...] | None, rows: int
) -> tuple[bool, list[SessionRow]]:
    """Whether `own` lasts, and the sessions that do, the one that ends last first."""
    if after is None:
        page = _LIST.bind(rows=rows)
    else:
        page = _LIST_ON.bind(rows=rows, expires_at=after[0], session_id=after[1])
    (lasts,), found = await tx.together(_LASTS.bind(session_id=own), page)
    return lasts.is_true, found


async def end(tx: Transaction, session_id: UUID, reason: str) -> None:
    """A session that has ended already is left as it is."""
    await tx.execute(_END, session_id=session_id, reason=reason)


async def end_others(tx: Transaction, session_id: UUID, reason: str) -> int:
    return await tx.execute(_END_OTHERS, session_id=session_id, reason=reason)


def _seconds(life: timedelta) -> int:
    return int(life.total_seconds())
