"""The tables of teams and their members, and all SQL on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from bulkhead_kit.db import Id, Query, QueryCache, Reader, Time, Transaction
from bulkhead_kit.errors import AlreadyExists, InvalidArgument, NotFound
from bulkhead_kit.filters import ID, TEXT, TIMESTAMP, Filter, FilterField, FilterSchema, Test
from bulkhead_kit.page_tokens import KeyValue
from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    Column,
    ColumnElement,
    Integer,
    Table,
    Text,
    and_,
    bindparam,
    exists,
    false,
    func,
    insert,
    null,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql

from bulkhead_identity.store import MEMBERSHIPS, METADATA
from bulkhead_identity.team.rules import NewTeam, Place, TeamMemberRow, TeamRow

TEAMS = Table(
    "teams",
    METADATA,
    Column("tenant_id", Id),
    Column("team_id", Id),
    Column("name", Text, nullable=False),
    Column("name_key", Text),
    Column("description", Text),
    Column("archived_at", Time),
    Column("created_at", Time, nullable=False),
    Column("updated_at", Time),
    Column("version", Integer),
)
TEAM_MEMBERS = Table(
    "team_members",
    METADATA,
    Column("tenant_id", Id),
    Column("team_id", Id),
    Column("user_id", Id),
    Column("is_lead", Boolean),
    Column("added_at", Time),
    Column("removed_at", Time),
)


class _Touched(NamedTuple):
    team_id: str


def _has_member(_test: Test, value: BindParameter[Any] | None) -> ColumnElement[bool]:
    found = exists().where(
        TEAM_MEMBERS.c.tenant_id == TEAMS.c.tenant_id,
        TEAM_MEMBERS.c.team_id == TEAMS.c.team_id,
        TEAM_MEMBERS.c.removed_at.is_(None),
    )
    return found if value is None else found.where(TEAM_MEMBERS.c.user_id == value)


FILTERS = FilterSchema(
    {
        "user_id": FilterField(ID, build=_has_member, words=frozenset({"me"})),
        "name": FilterField(TEXT, TEAMS.c.name),
        "create_time": FilterField(TIMESTAMP, TEAMS.c.created_at),
    }
)
_ROW = tuple(TEAMS.c[name] for name in TeamRow._fields)
_THIS = and_(TEAMS.c.tenant_id == bindparam("tenant_id"), TEAMS.c.team_id == bindparam("team_id"))
_REFUSE = {"teams_name_key_key": lambda: AlreadyExists.field("team.name", "another team has this name")}
_INSERT = Query(
    insert(TEAMS)
    .values({name: bindparam(name) for name in ("tenant_id", "team_id", "name", "description")})
    .returning(*_ROW),
    row=TeamRow,
    refuse=_REFUSE,
)
_GET = Query(select(*_ROW).where(_THIS), row=TeamRow)
_ARCHIVE = Query(
    update(TEAMS).where(_THIS, TEAMS.c.archived_at.is_(None)).values(archived_at=func.now()).returning(*_ROW),
    row=TeamRow,
)
_UNARCHIVE = Query(
    update(TEAMS).where(_THIS, TEAMS.c.archived_at.is_not(None)).values(archived_at=null()).returning(*_ROW),
    row=TeamRow,
    refuse=_REFUSE,
)
_LISTS = QueryCache()
_UPDATES = QueryCache()


async def add(tx: Transaction, team_id: UUID, new: NewTeam) -> TeamRow:
    return await tx.one(_INSERT, team_id=team_id, name=new.name, description=new.description)


async def load(tx: Reader, team_id: UUID) -> TeamRow | None:
    return await tx.one_or_none(_GET, team_id=team_id)


async def update_fields(
    tx: Transaction, team_id: UUID, values: Mapping[str, str], version: int | None
) -> TeamRow | None:
    """None when there is no such team, or not of that version."""
    query = _UPDATES.get((*sorted(values), version is None), lambda: _update(sorted(values), version is not None))
    return await tx.one_or_none(query, team_id=team_id, version=version, **values)


def _update(columns: list[str], of_version: bool) -> Query[TeamRow]:
    statement = update(TEAMS).where(_THIS).values({name: bindparam(name) for name in columns})
    if of_version:
        statement = statement.where(TEAMS.c.version == bindparam("version"))
    return Query(statement.returning(*_ROW), row=TeamRow, refuse=_REFUSE)


async def archive(tx: Transaction, team_id: UUID) -> TeamRow | None:
    """None when there is nothing to do."""
    return await tx.one_or_none(_ARCHIVE, team_id=team_id)


async def unarchive(tx: Transaction, team_id: UUID) -> TeamRow | None:
    """None when there is nothing to do."""
    return await tx.one_or_none(_UNARCHIVE, team_id=team_id)


async def list_teams(
    tx: Reader, asked: Filter, *, show_archived: bool, after: tuple[KeyValue, ...] | None, rows: int
) -> list[TeamRow]:
    """By name; by id where an archived team has the name of another."""
    query = _LISTS.get((asked.shape, show_archived, after is None), lambda: _list(asked, show_archived, after is None))
    name_key, team_id = after or (None, None)
    return await tx.all(query, after_name=name_key, after_id=team_id, rows=rows, **asked.values)


def _list(asked: Filter, show_archived: bool, first: bool) -> Query[TeamRow]:
    found = select(*_ROW).where(TEAMS.c.tenant_id == bindparam("tenant_id"), *asked.conditions())
    if not show_archived:
        found = found.where(TEAMS.c.archived_at.is_(None))
    if not first:
        beyond = tuple_(bindparam("after_name", type_=Text), bindparam("after_id", type_=Id))
        found = found.where(tuple_(TEAMS.c.name_key, TEAMS.c.team_id) > beyond)
    found = found.order_by(TEAMS.c.name_key, TEAMS.c.team_id).limit(bindparam("rows", type_=BigInteger))
    return Query(found, row=TeamRow)


# Who is in them.


_IN_TEAM = and_(TEAM_MEMBERS.c.tenant_id == bindparam("tenant_id"), TEAM_MEMBERS.c.team_id == bindparam("team_id"))
_MEMBER = (
    select(
        *(TEAM_MEMBERS.c[name] for name in ("team_id", "user_id", "is_lead", "added_at", "removed_at")),
        *(MEMBERSHIPS.c[name] for name in ("display_name", "avatar_url", "status", "support_until")),
    )
    .join(
        MEMBERSHIPS,
        and_(MEMBERSHIPS.c.tenant_id == TEAM_MEMBERS.c.tenant_id, MEMBERSHIPS.c.user_id == TEAM_MEMBERS.c.user_id),
    )
    .where(_IN_TEAM)
)
_GET_MEMBER = Query(_MEMBER.where(TEAM_MEMBERS.c.user_id == bindparam("user_id")), row=TeamMemberRow)
_PUT = Query(
    postgresql.insert(TEAM_MEMBERS)
    .values({name: bindparam(name) for name in ("tenant_id", "team_id", "user_id", "is_lead")})
    .on_conflict_do_update(
        index_elements=["tenant_id", "team_id", "user_id"],
        set_={"is_lead": bindparam("is_lead"), "removed_at": null()},
        where=or_(
            TEAM_MEMBERS.c.removed_at.is_not(None),
            TEAM_MEMBERS.c.is_lead.is_distinct_from(bindparam("is_lead", type_=Boolean)),
        ),
    )
    .returning(TEAM_MEMBERS.c.team_id),
    row=_Touched,
    refuse={
        "team_members_team_id_fkey": lambda: NotFound("team"),
        "team_members_user_id_fkey": lambda: InvalidArgument.reference("user_id", "member"),
    },
)
_TAKE = Query(
    update(TEAM_MEMBERS)
    .where(_IN_TEAM, TEAM_MEMBERS.c.user_id == bindparam("user_id"), TEAM_MEMBERS.c.removed_at.is_(None))
    .values(removed_at=func.now(), is_lead=false())
    .returning(TEAM_MEMBERS.c.team_id),
    row=_Touched,
)


async def put(tx: Transaction, place: Place) -> TeamMemberRow:
    """She is in the team then, whether or not she was before."""
    _, (row,) = await tx.together(
        _PUT.bind(team_id=place.team_id, user_id=place.user_id, is_lead=place.is_lead),
        _GET_MEMBER.bind(team_id=place.team_id, user_id=place.user_id),
    )
    return row


async def take(tx: Transaction, place: Place) -> TeamMemberRow | None:
    """She is not in the team then; None when she never was."""
    _, rows = await tx.together(
        _TAKE.bind(team_id=place.team_id, user_id=place.user_id),
        _GET_MEMBER.bind(team_id=place.team_id, user_id=place.user_id),
    )
    return rows[0] if rows else None


async def list_members(
    tx: Reader, team_id: UUID, after: tuple[KeyValue, ...] | None, rows: int
) -> list[TeamMemberRow] | None:
    """In the order of their ids; None when there is no such team."""
    query = _LISTS.get(("members", after is None), lambda: _list_of_members(after is None))
    teams, members = await tx.together(
        _GET.bind(team_id=team_id), query.bind(team_id=team_id, after=after[0] if after else None, rows=rows)
    )
    return members if teams else None


def _list_of_members(first: bool) -> Query[TeamMemberRow]:
    found = _MEMBER.where(TEAM_MEMBERS.c.removed_at.is_(None))
    if not first:
        found = found.where(TEAM_MEMBERS.c.user_id > bindparam("after", type_=Id))
    return Query(found.order_by(TEAM_MEMBERS.c.user_id).limit(bindparam("rows", type_=BigInteger)), row=TeamMemberRow)
