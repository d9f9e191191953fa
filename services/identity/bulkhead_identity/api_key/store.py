"""The table of API keys, and the function that makes their accounts."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from bulkhead_kit.db import Id, Query, QueryCache, Reader, Time, Transaction
from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.filters import ID, TEXT, TIMESTAMP, Filter, FilterField, FilterSchema, enum
from bulkhead_kit.page_tokens import KeyValue
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    LargeBinary,
    Select,
    SmallInteger,
    Table,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import CIDR

from bulkhead_identity.api_key.rules import ROLES, STATES, ApiKeyRow, NewKey, Secret
from bulkhead_identity.store import MEMBERSHIPS, METADATA

API_KEYS = Table(
    "api_keys",
    METADATA,
    Column("tenant_id", Id),
    Column("api_key_id", Id),
    Column("user_id", Id),
    Column("display_name", Text),
    Column("prefix", Text),
    Column("secret_hash", LargeBinary),
    Column("ip_ranges", ARRAY(CIDR)),
    Column("expires_at", Time),
    Column("last_used_at", Time),
    Column("created_at", Time),
    Column("created_by", Id),
    Column("revoked_at", Time),
    Column("revoked_by", Id),
)

_MAKERS = MEMBERSHIPS.alias("makers")
_STATE = case(
    (API_KEYS.c.revoked_at.is_not(None), literal("revoked", Text)),
    (API_KEYS.c.expires_at <= func.now(), literal("expired", Text)),
    (MEMBERSHIPS.c.status != literal("active", Text), literal("account_disabled", Text)),
    (_MAKERS.c.status.is_distinct_from(literal("active", Text)), literal("maker_disabled", Text)),
    else_=literal("active", Text),
)
_EFFECTIVE_ROLE = func.least(MEMBERSHIPS.c.role, _MAKERS.c.role, type_=SmallInteger)
_COLUMNS: dict[str, ColumnElement[Any]] = {
    **dict(API_KEYS.c.items()),
    "role": MEMBERSHIPS.c.role,
    "effective_role": _EFFECTIVE_ROLE.label("effective_role"),
    "state": _STATE.label("state"),
    "ip_ranges": cast(API_KEYS.c.ip_ranges, ARRAY(Text)).label("ip_ranges"),
}
FILTERS = FilterSchema(
    {
        "user_id": FilterField(ID, API_KEYS.c.user_id, words=frozenset({"me"})),
        "created_by": FilterField(ID, API_KEYS.c.created_by, words=frozenset({"me"})),
        "role": FilterField(enum(ROLES, ordered=True), MEMBERSHIPS.c.role),
        "effective_role": FilterField(enum(ROLES, ordered=True), _EFFECTIVE_ROLE, nullable=False),
        "state": FilterField(enum(STATES), _STATE, nullable=False),
        "display_name": FilterField(TEXT, API_KEYS.c.display_name),
        "prefix": FilterField(TEXT, API_KEYS.c.prefix),
        "create_time": FilterField(TIMESTAMP, API_KEYS.c.created_at),
        "expire_time": FilterField(TIMESTAMP, API_KEYS.c.expires_at),
        "last_use_time": FilterField(TIMESTAMP, API_KEYS.c.last_used_at),
        "revoke_time": FilterField(TIMESTAMP, API_KEYS.c.revoked_at),
    }
)


def _rows() -> Select[Any]:
    return (
        select(*(_COLUMNS[name] for name in ApiKeyRow._fields))
        .join(
            MEMBERSHIPS,
            and_(MEMBERSHIPS.c.tenant_id == API_KEYS.c.tenant_id, MEMBERSHIPS.c.user_id == API_KEYS.c.user_id),
        )
        .outerjoin(
            _MAKERS, and_(_MAKERS.c.tenant_id == API_KEYS.c.tenant_id, _MAKERS.c.user_id == API_KEYS.c.created_by)
        )
        .where(API_KEYS.c.tenant_id == bindparam("tenant_id"))
    )


_GET = Query(_rows().where(API_KEYS.c.api_key_id == bindparam("api_key_id")), row=ApiKeyRow)
_LISTS = QueryCache()
_CREATE_ACCOUNT: Query[Any] = Query(
    select(
        func.identity.create_service_account(
            bindparam("user_id", type_=Id), bindparam("display_name", type_=Text), bindparam("role", type_=SmallInteger)
        )
    )
)
_INSERT: Query[Any] = Query(
    insert(API_KEYS).values(
        {
            **{
                name: bindparam(name)
                for name in (
                    "tenant_id",
                    "api_key_id",
                    "user_id",
                    "display_name",
                    "prefix",
                    "secret_hash",
                    "expires_at",
                )
            },
            "ip_ranges": cast(bindparam("ip_ranges", type_=ARRAY(Text)), ARRAY(CIDR)),
        }
    ),
    refuse={
        "api_keys_expires_at_check": lambda: InvalidArgument.field("expire_time", "must be in the future"),
        # Nobody of that id in the tenant; the trigger says the same of somebody who is no service account.
        "api_keys_user_id_fkey": lambda: InvalidArgument.reference("user_id", "service account"),
    },
)
_REVOKE: Query[Any] = Query(
    update(API_KEYS)
    .where(API_KEYS.c.tenant_id == bindparam("tenant_id"), API_KEYS.c.api_key_id == bindparam("api_key_id"))
    .values(revoked_at=func.now())
)


async def load(tx: Reader, api_key_id: UUID) -> ApiKeyRow | None:
    return await tx.one_or_none(_GET, api_key_id=api_key_id)


def create_account(tx: Transaction, user_id: UUID, display_name: str, role: int) -> None:
    tx.send(_CREATE_ACCOUNT, user_id=user_id, display_name=display_name, role=role)


async def create(tx: Transaction, api_key_id: UUID, user_id: UUID, new: NewKey, secret: Secret) -> ApiKeyRow:
    tx.send(
        _INSERT,
        api_key_id=api_key_id,
        user_id=user_id,
        display_name=new.display_name,
        prefix=secret.prefix,
        secret_hash=secret.hash,
        expires_at=new.expires_at,
        ip_ranges=list(new.ip_ranges),
    )
    return await tx.one(_GET, api_key_id=api_key_id)


async def revoke(tx: Transaction, api_key_id: UUID) -> int:
    return await tx.execute(_REVOKE, api_key_id=api_key_id)


async def list_keys(tx: Reader, asked: Filter, after: tuple[KeyValue, ...] | None, rows: int) -> list[ApiKeyRow]:
    """In the order of their ids, beyond the one given."""
    query = _LISTS.get((asked.shape, after is not None), lambda: _list(asked, continued=after is not None))
    return await tx.all(query, rows=rows, after=after[0] if after else None, **asked.values)


def _list(asked: Filter, *, continued: bool) -> Query[ApiKeyRow]:
    found = _rows().where(*asked.conditions())
    if continued:
        found = found.where(API_KEYS.c.api_key_id > bindparam("after", type_=Id))
    return Query(found.order_by(API_KEYS.c.api_key_id).limit(bindparam("rows", type_=BigInteger)), row=ApiKeyRow)
