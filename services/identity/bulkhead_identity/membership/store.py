"""The tables of memberships and invitations, and the functions that reach across tenants."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from bulkhead_kit.db import Id, Query, QueryCache, Reader, Time, Transaction
from bulkhead_kit.errors import AlreadyExists
from bulkhead_kit.filters import ID, TEXT, TIMESTAMP, Filter, FilterField, FilterSchema, enum
from bulkhead_kit.ids import new_id
from bulkhead_kit.page_tokens import KeyValue
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    and_,
    bindparam,
    column,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from bulkhead_identity.membership.rules import (
    KINDS,
    ROLES,
    STATES,
    Author,
    Imported,
    InvitationRow,
    Joined,
    Letterhead,
    MemberRow,
)

METADATA = MetaData(schema="identity")
MEMBERSHIPS = Table(
    "memberships",
    METADATA,
    Column("tenant_id", Id),
    Column("user_id", Id),
    Column("kind", Text),
    Column("role", SmallInteger),
    Column("status", Text),
    Column("display_name", Text),
    Column("avatar_url", Text),
    Column("joined_at", Time),
    Column("disabled_at", Time),
    Column("disabled_by", Id),
    Column("external_source", Text),
    Column("external_id", Text),
    Column("version", Integer),
)
INVITATIONS = Table(
    "invitations",
    METADATA,
    Column("tenant_id", Id),
    Column("invitation_id", Id),
    Column("email", Text),
    Column("role", SmallInteger),
    Column("token_hash", LargeBinary),
    Column("status", Text),
    Column("expires_at", Time),
    Column("created_at", Time),
    Column("created_by", Id),
)
MAILS = Table(
    "mails",
    METADATA,
    Column("mail_id", Id),
    Column("kind", Text),
    Column("to_address", Text),
    Column("subject_id", Id),
    Column("details", JSONB),
)
TENANTS = Table("tenants", METADATA, Column("tenant_id", Id), Column("name", Text))


class _Known(NamedTuple):
    is_known: bool


_MEMBER = tuple(MEMBERSHIPS.c[name] for name in MemberRow._fields)
_THIS = and_(MEMBERSHIPS.c.tenant_id == bindparam("tenant_id"), MEMBERSHIPS.c.user_id == bindparam("user_id"))
_GET = Query(select(*_MEMBER).where(_THIS), row=MemberRow)
_SET_ROLE = Query(update(MEMBERSHIPS).where(_THIS).values(role=bindparam("role")).returning(*_MEMBER), row=MemberRow)
_SET_STATUS = Query(
    update(MEMBERSHIPS).where(_THIS).values(status=bindparam("status")).returning(*_MEMBER), row=MemberRow
)
FILTERS = FilterSchema(
    {
        "user_id": FilterField(ID, MEMBERSHIPS.c.user_id, words=frozenset({"me"})),
        "role": FilterField(enum(ROLES, ordered=True), MEMBERSHIPS.c.role),
        "state": FilterField(enum(STATES), MEMBERSHIPS.c.status),
        "kind": FilterField(enum(KINDS), MEMBERSHIPS.c.kind),
        "display_name": FilterField(TEXT, MEMBERSHIPS.c.display_name),
        "external_source": FilterField(TEXT, MEMBERSHIPS.c.external_source),
        "external_id": FilterField(TEXT, MEMBERSHIPS.c.external_id),
        "join_time": FilterField(TIMESTAMP, MEMBERSHIPS.c.joined_at),
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
    .returning(*(INVITATIONS.c[name] for name in InvitationRow._fields)),
    row=InvitationRow,
    refuse={
        "invitations_open_email_key": lambda: AlreadyExists.field("email", "the address has an open invitation already")
    },
)
_QUEUE_MAIL: Query[Any] = Query(
    insert(MAILS).values(
        mail_id=bindparam("mail_id"),
        kind=literal("invitation", Text),
        to_address=bindparam("email"),
        subject_id=bindparam("invitation_id"),
        details=bindparam("details"),
    )
)
_ACCEPT = Query(
    text("select cast(tenant_id as text) as tenant_id, role from identity.accept_invitation(:token_hash)").columns(
        *map(column, Joined._fields)
    ),
    row=Joined,
)
_IMPORT = Query(
    text("""
    select external_id, cast(user_id as text) as user_id, is_new
    from identity.import_members(:source, :user_ids, :external_ids, :names, :avatar_urls)
    """)
    .bindparams(
        bindparam("user_ids", type_=ARRAY(Id)),
        bindparam("external_ids", type_=ARRAY(Text)),
        bindparam("names", type_=ARRAY(Text)),
        bindparam("avatar_urls", type_=ARRAY(Text)),
    )
    .columns(*map(column, Imported._fields)),
    row=Imported,
)


async def load(tx: Reader, user_id: UUID) -> MemberRow | None:
    return await tx.one_or_none(_GET, user_id=user_id)


async def set_role(tx: Transaction, user_id: UUID, role: int) -> MemberRow | None:
    """None when the database hides the member from the caller's hand."""
    return await tx.one_or_none(_SET_ROLE, user_id=user_id, role=role)


async def set_status(tx: Transaction, user_id: UUID, status: str) -> MemberRow | None:
    """None when the database hides the member from the caller's hand."""
    return await tx.one_or_none(_SET_STATUS, user_id=user_id, status=status)


async def list_members(tx: Reader, asked: Filter, after: tuple[KeyValue, ...] | None, rows: int) -> list[MemberRow]:
    """In the order of their ids, beyond the one given."""
    query = _LISTS.get((asked.shape, after is not None), lambda: _list(asked, continued=after is not None))
    return await tx.all(query, rows=rows, after=after[0] if after else None, **asked.values)


def _list(asked: Filter, *, continued: bool) -> Query[MemberRow]:
    found = select(*_MEMBER).where(MEMBERSHIPS.c.tenant_id == bindparam("tenant_id"), *asked.conditions())
    if continued:
        found = found.where(MEMBERSHIPS.c.user_id > bindparam("after", type_=Id))
    return Query(found.order_by(MEMBERSHIPS.c.user_id).limit(bindparam("rows", type_=BigInteger)), row=MemberRow)


async def look_up_for_invitation(tx: Transaction, email: str) -> tuple[bool, Letterhead]:
    """Whether the address is a member's. Seats of invitations that nobody took in time are given back on the way."""
    tx.send(_EXPIRE)
    (known,), (letterhead,) = await tx.together(_HAS_MEMBER.bind(email=email), _LETTERHEAD.bind())
    return known.is_known, letterhead


async def invite(
    tx: Transaction, invitation_id: UUID, *, email: str, role: int, token_hash: bytes, expires_at: datetime
) -> InvitationRow:
    return await tx.one(
        _INVITE, invitation_id=invitation_id, email=email, role=role, token_hash=token_hash, expires_at=expires_at
    )


def queue_mail(tx: Transaction, invitation_id: UUID, email: str, letterhead: Letterhead) -> None:
    tx.send(_QUEUE_MAIL, mail_id=new_id(), email=email, invitation_id=invitation_id, details=letterhead._asdict())


async def accept(tx: Transaction, token_hash: bytes) -> Joined:
    return await tx.one(_ACCEPT, token_hash=token_hash)


async def import_members(tx: Transaction, source: str, authors: Sequence[Author]) -> list[Imported]:
    return await tx.all(
        _IMPORT,
        source=source,
        user_ids=[new_id() for _ in authors],
        external_ids=[author.external_id for author in authors],
        names=[author.display_name for author in authors],
        avatar_urls=[author.avatar_url for author in authors],
    )
