"""The tables of persons and their profiles, and the faces of members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from bulkhead_kit.db import Id, Query, QueryCache, Reader, Time, Transaction
from bulkhead_kit.ids import new_id
from bulkhead_kit.structs import too_deep, too_much
from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    Integer,
    Table,
    Text,
    and_,
    any_,
    bindparam,
    func,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert

from bulkhead_identity.store import MEMBERSHIPS, METADATA
from bulkhead_identity.user.rules import MAX_PREFERENCES, CardRow, UserRow

USERS = Table(
    "users",
    METADATA,
    Column("user_id", Id),
    Column("email", Text),
    Column("full_name", Text),
    Column("first_name", Text),
    Column("last_name", Text),
    Column("avatar_url", Text),
    Column("status", Text),
    Column("is_platform_admin", Boolean),
    Column("last_login_at", Time),
    Column("created_at", Time),
    Column("updated_at", Time),
    Column("version", Integer),
)
PROFILES = Table(
    "user_profiles",
    METADATA,
    Column("user_id", Id),
    Column("bio", Text),
    Column("phone", Text),
    Column("company", Text),
    Column("department", Text),
    Column("job_title", Text),
    Column("time_zone", Text),
    Column("locale", Text),
    Column("preferences", JSONB),
    Column("is_onboarded", Boolean),
    Column("updated_at", Time),
    Column("version", Integer),
)
_NO_PREFERENCES = literal_column("'{}'::jsonb", JSONB)
_ME = and_(USERS.c.user_id == bindparam("caller_id", type_=Id), USERS.c.status == "active")
_READ: dict[str, Any] = {
    "preferences": func.nullif(PROFILES.c.preferences, _NO_PREFERENCES, type_=JSONB),
    "is_onboarded": func.coalesce(PROFILES.c.is_onboarded, False, type_=Boolean),
    "updated_at": func.greatest(USERS.c.updated_at, PROFILES.c.updated_at, type_=Time),
    "version": USERS.c.version + func.coalesce(PROFILES.c.version, 0, type_=Integer),
}
_ROW = tuple(
    _READ[name].label(name) if name in _READ else (USERS if name in USERS.c else PROFILES).c[name]
    for name in UserRow._fields
)
_SELECT = select(*_ROW).outerjoin(PROFILES, PROFILES.c.user_id == USERS.c.user_id).where(_ME)
_GET = Query(_SELECT.select_from(USERS), row=UserRow)
_LOCK: Query[Any] = Query(select(USERS.c.user_id).where(_ME).with_for_update(key_share=True))
_CARDS = Query(
    select(*(MEMBERSHIPS.c[name] for name in CardRow._fields)).where(
        MEMBERSHIPS.c.tenant_id == bindparam("tenant_id"),
        MEMBERSHIPS.c.user_id == any_(bindparam("user_ids", type_=ARRAY(Id))),
    ),
    row=CardRow,
)
_CLOSE: Query[Any] = Query(
    text("select identity.close_account(:session_id, :checked_hash, :unknown_hash, :mail_id)").bindparams(
        bindparam("checked_hash", type_=Text), bindparam("unknown_hash", type_=Text)
    )
)
_UPDATES = QueryCache()


async def load(tx: Reader) -> UserRow | None:
    """The caller; None when her account is closed."""
    return await tx.one_or_none(_GET)


async def lock(tx: Transaction) -> UserRow | None:
    """The caller, whom nobody else changes until the transaction ends; None when her account is closed."""
    # Two statements: what one reads beside the row it waits for is as old as the statement, and here the profile is.
    tx.send(_LOCK)
    return await tx.one_or_none(_GET)


def set_account(tx: Transaction, values: Mapping[str, Any]) -> None:
    columns = sorted(values)
    query = _UPDATES.get(("account", *columns), lambda: _set_account(columns))
    tx.send(query, **values)


def _set_account(columns: list[str]) -> Query[Any]:
    return Query(update(USERS).where(_ME).values({name: bindparam(name) for name in columns}))


def set_profile(tx: Transaction, values: Mapping[str, Any]) -> None:
    columns = sorted(values)
    query = _UPDATES.get(("profile", *columns), lambda: _set_profile(columns))
    tx.send(query, **values)


def _set_profile(columns: list[str]) -> Query[Any]:
    new: dict[str, Any] = {name: bindparam(name) for name in columns}
    statement = insert(PROFILES).values({"user_id": bindparam("caller_id", type_=Id), **new})
    statement = statement.on_conflict_do_update(
        index_elements=["user_id"], set_={name: statement.excluded[name] for name in columns}
    )
    return Query(
        statement,
        refuse={
            "user_profiles_preferences_check": lambda: too_much("user.preferences", MAX_PREFERENCES),
            "user_profiles_preferences_depth_check": lambda: too_deep("user.preferences"),
        },
    )


async def cards(tx: Reader, user_ids: Sequence[UUID]) -> list[CardRow]:
    """Of those who are members, in no order."""
    return await tx.all(_CARDS, user_ids=list(user_ids))


async def close(tx: Transaction, session_id: UUID, checked_hash: str, unknown_hash: str) -> None:
    await tx.execute(
        _CLOSE, session_id=session_id, checked_hash=checked_hash, unknown_hash=unknown_hash, mail_id=new_id()
    )
