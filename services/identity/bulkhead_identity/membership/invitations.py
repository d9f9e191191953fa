"""The table of invitations, and how one becomes a membership."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from bulkhead_kit.db import Id, Query, QueryCache, Reader, Time, Transaction
from bulkhead_kit.errors import AlreadyExists
from bulkhead_kit.filters import ID, TIMESTAMP, Filter, FilterField, FilterSchema, enum, keyword
from bulkhead_kit.ids import new_id
from bulkhead_kit.page_tokens import KeyValue
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    and_,
    bindparam,
    case,
    column,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.elements import ColumnElement

from bulkhead_identity.membership.rules import INVITATION_STATES, ROLES, InvitationRow, Joined, Letterhead
from bulkhead_identity.store import MEMBERSHIPS, METADATA, TENANTS
from bulkhead_identity.texts import address_key

INVITATIONS = Table(
    "invitations",
    METADATA,
    Column("tenant_id", Id),
    Column("invitation_id", Id),
    Column("email", Text),
    Column("email_key", Text),
    Column("role", SmallInteger),
    Column("token_hash", LargeBinary),
    Column("status", Text),
    Column("expires_at", Time),
    Column("created_at", Time),
    Column("created_by", Id),
    Column("accepted_at", Time),
    Column("accepted_by", Id),
    Column("revoked_at", Time),
    Column("revoked_by", Id),
)


class _Known(NamedTuple):
    is_known: bool


class _Wait(NamedTuple):
    wait: float | None


def _is(status: str) -> ColumnElement[bool]:
    """In the statement's text, where the planner sees which partial index there is for it."""
    return INVITATIONS.c.status == literal_column(f"'{status}'", Text)


# One whose time is over is expired, whether or not the worker has come by.
_IS_LATE: Final = INVITATIONS.c.expires_at <= func.now()
_STATUS: Final = case((and_(_is("open"), _IS_LATE), literal("expired", Text)), else_=INVITATIONS.c.status)
_STATES: Final = {
    # Not as a range of times: the index of those would be taken, which reads the open ones of all tenants.
    "open": and_(_is("open"), literal_column("'open'", Text) == _STATUS),
    "accepted": _is("accepted"),
    "revoked": _is("revoked"),
    "expired": or_(_is("expired"), and_(_is("open"), _IS_LATE)),
}
_INVITATION = tuple(
    _STATUS.label("status") if name == "status" else INVITATIONS.c[name] for name in InvitationRow._fields
)
_THIS = and_(
    INVITATIONS.c.tenant_id == bindparam("tenant_id"), INVITATIONS.c.invitation_id == bindparam("invitation_id")
)
_GET = Query(select(*_INVITATION).where(_THIS), row=InvitationRow)
_REVOKE = Query(
    update(INVITATIONS).where(_THIS).values(status=literal("revoked", Text)).returning(*_INVITATION), row=InvitationRow
)
FILTERS = FilterSchema(
    {
        "state": FilterField(enum(INVITATION_STATES), cases=_STATES),
        "email": FilterField(keyword(address_key), INVITATIONS.c.email_key),
        "role": FilterField(enum(ROLES, ordered=True), INVITATIONS.c.role),
        "invited_by": FilterField(ID, INVITATIONS.c.created_by, words=frozenset({"me"})),
        "create_time": FilterField(TIMESTAMP, INVITATIONS.c.created_at),
        "expire_time": FilterField(TIMESTAMP, INVITATIONS.c.expires_at),
    }
)
_LISTS = QueryCache()
_EXPIRE: Query[Any] = Query(select(func.identity.expire_invitations(bindparam("tenant_id", type_=Id))))
_HAS_MEMBER = Query(
    select(func.identity.has_member(bindparam("email", type_=Text), type_=Boolean).label("is_known")), row=_Known
)
_LETTERHEAD = Query(
    select(TENANTS.c.name.label("tenant_name"), MEMBERSHIPS.c.display_name.label("invited_by"))
    .join(MEMBERSHIPS, MEMBERSHIPS.c.tenant_id == TENANTS.c.tenant_id)
    .where(TENANTS.c.tenant_id == bindparam("tenant_id"), MEMBERSHIPS.c.user_id == bindparam("caller_id")),
    row=Letterhead,
)
_INVITE = Query(
    insert(INVITATIONS)
    .values(
        {name: bindparam(name) for name in ("tenant_id", "invitation_id", "email", "role", "token_hash", "expires_at")}
    )
    .returning(*_INVITATION),
    row=InvitationRow,
    refuse={
        "invitations_open_email_key": lambda: AlreadyExists.field("email", "the address has an open invitation already")
    },
)
_MAIL = Query(
    text("select identity.mail_invitation(:mail_id, :invitation_id, :details) as wait")
    .bindparams(bindparam("mail_id", type_=Id), bindparam("invitation_id", type_=Id), bindparam("details", type_=JSONB))
    .columns(column("wait")),
    row=_Wait,
)
_ACCEPT = Query(
    text("select cast(tenant_id as text) as tenant_id, role from identity.accept_invitation(:token_hash)").columns(
        *map(column, Joined._fields)
    ),
    row=Joined,
)


async def load(tx: Reader, invitation_id: UUID) -> InvitationRow | None:
    return await tx.one_or_none(_GET, invitation_id=invitation_id)


async def revoke(tx: Transaction, invitation_id: UUID) -> InvitationRow | None:
    """None when the database hides the invitation from the caller's hand."""
    return await tx.one_or_none(_REVOKE, invitation_id=invitation_id)


async def list_invitations(
    tx: Reader, asked: Filter, after: tuple[KeyValue, ...] | None, rows: int
) -> list[InvitationRow]:
    """In the order they were made in, which is that of their ids, beyond the one given."""
    query = _LISTS.get((asked.shape, after is not None), lambda: _list(asked, continued=after is not None))
    return await tx.all(query, rows=rows, after=after[0] if after else None, **asked.values)


def _list(asked: Filter, *, continued: bool) -> Query[InvitationRow]:
    found = select(*_INVITATION).where(INVITATIONS.c.tenant_id == bindparam("tenant_id"), *asked.conditions())
    if continued:
        found = found.where(INVITATIONS.c.invitation_id > bindparam("after", type_=Id))
    return Query(
        found.order_by(INVITATIONS.c.invitation_id).limit(bindparam("rows", type_=BigInteger)), row=InvitationRow
    )


async def look_up_for_invitation(tx: Transaction, email: str) -> tuple[bool, Letterhead]:
    """Whether the address is a member's. Seats of invitations that nobody took in time are given back on the way."""
    tx.send(_EXPIRE)
    (known,), (letterhead,) = await tx.together(_HAS_MEMBER.bind(email=email), _LETTERHEAD.bind())
    return known.is_known, letterhead


async def invite(
    tx: Transaction,
    invitation_id: UUID,
    letterhead: Letterhead,
    *,
    email: str,
    role: int,
    token_hash: bytes,
    expires_at: datetime,
) -> tuple[InvitationRow, float | None]:
    """With its mail, or the seconds until the address may have another one from this tenant."""
    made = _INVITE.bind(
        invitation_id=invitation_id, email=email, role=role, token_hash=token_hash, expires_at=expires_at
    )
    mail = _MAIL.bind(mail_id=new_id(), invitation_id=invitation_id, details=letterhead._asdict())
    (row,), (mailed,) = await tx.together(made, mail)
    return row, mailed.wait


async def accept(tx: Transaction, token_hash: bytes) -> Joined:
    return await tx.one(_ACCEPT, token_hash=token_hash)
