"""The log's tables and all SQL on them. Nothing here changes or removes a row but a log's size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit.db import Id, Query, QueryCache, Reader, Time, Transaction, fitting, unnested
from bulkhead_kit.errors import Aborted, DomainError
from bulkhead_kit.filters import ID, TEXT, TIMESTAMP, Filter, FilterField, FilterSchema, enum
from bulkhead_kit.page_tokens import KeyValue
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    LargeBinary,
    MetaData,
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
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from bulkhead_audit.event.rules import ACTOR_TYPES, OUTCOMES, VISIBILITIES, EventRow, Leaf, NewEvent

METADATA = MetaData(schema="audit")
EVENTS = Table(
    "events",
    METADATA,
    Column("tenant_id", Id, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("event_id", Id, nullable=False),
    Column("occurred_at", Time, nullable=False),
    Column("recorded_at", Time, nullable=False),
    Column("actor_type", Text, nullable=False),
    Column("actor_id", Id),
    Column("on_behalf_of", Id),
    Column("request_id", Text),
    Column("service", Text),
    Column("rpc", Text),
    Column("action", Text, nullable=False),
    Column("entity_type", Text, nullable=False),
    Column("entity_id", Id, nullable=False),
    Column("sub_id", Id),
    Column("project_id", Id),
    Column("visibility", SmallInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("fields", ARRAY(Text), nullable=False),
    Column("encoding", SmallInteger, nullable=False),
    Column("values_digest", LargeBinary, nullable=False),
    Column("leaf_hash", LargeBinary, nullable=False),
)
EVENT_VALUES = Table(
    "event_values",
    METADATA,
    Column("tenant_id", Id),
    Column("event_id", Id),
    Column("occurred_at", Time),
    Column("salt", LargeBinary),
    Column("changes", JSONB),
    Column("ip", Text),
    Column("user_agent", Text),
)
LOGS = Table("logs", METADATA, Column("tenant_id", Id), Column("size", BigInteger))
TENANT: ColumnElement[Any] = bindparam("tenant_id", type_=Id)


# Appending. Arrays cross in binary form and become rows on the server: a fifth of the cost of one row at a time.

_ENVELOPE: dict[str, TypeEngine[Any]] = {
    # Names are one text an event: arrays of different lengths fit into no array.
    column.name: Text() if column.name == "fields" else column.type
    for column in EVENTS.c
    if column.name != "tenant_id"
}
_VALUES: dict[str, TypeEngine[Any]] = {
    "event_id": Id(),
    "occurred_at": Time(),
    "salt": LargeBinary(),
    "changes": Text(),
    "ip": Text(),
    "user_agent": Text(),
}


_LOST = {"events_seq_follows": lambda: Aborted(ErrorReason.CONFLICT, "another batch was appended first; try again")}


def _append(
    table: Table, columns: dict[str, TypeEngine[Any]], refuse: Mapping[str, Callable[[], DomainError]] | None = None
) -> Query[Any]:
    rows = unnested(columns)
    # Only what is not text in the array is cast; ids must not become text on their way.
    picked = [
        cast(rows.c[name], table.c[name].type) if name in {"fields", "changes"} else rows.c[name].label(name)
        for name in columns
    ]
    return Query(insert(table).from_select(["tenant_id", *columns], select(TENANT, *picked)), refuse=refuse)


_LEAF = {"seq", "recorded_at", "encoding", "values_digest", "leaf_hash"}


class _Size(NamedTuple):
    size: int


class _Key(NamedTuple):
    occurred_at: int
    event_id: str


_HEAD = Query(select(LOGS.c.size).where(LOGS.c.tenant_id == TENANT).with_for_update(key_share=True), row=_Size)
_START: Query[Any] = Query(postgresql.insert(LOGS).values(tenant_id=TENANT).on_conflict_do_nothing())
_keys = unnested({"occurred_at": Time(), "event_id": Id()})
_KNOWN = Query(
    select(EVENTS.c.occurred_at, EVENTS.c.event_id).where(
        EVENTS.c.tenant_id == TENANT,
        # The bounds spare the months between which no event of the batch lies.
        EVENTS.c.occurred_at.between(bindparam("first", type_=Time), bindparam("last", type_=Time)),
        tuple_(EVENTS.c.occurred_at, EVENTS.c.event_id).in_(select(_keys.c.occurred_at, _keys.c.event_id)),
    ),
    row=_Key,
)
_APPEND = _append(EVENTS, _ENVELOPE, _LOST)
_APPEND_VALUES = _append(EVENT_VALUES, _VALUES)


async def lock_log(tx: Transaction, events: Sequence[NewEvent]) -> tuple[int, set[tuple[int, str]]]:
    """Takes the tenant's log until the end of the transaction: its size, and which of the events are in it already."""
    times = [event.occurred_at for event in events]
    known = _KNOWN.bind(
        first=min(times), last=max(times), occurred_at=times, event_id=[event.event_id for event in events]
    )
    # One after the other: what an earlier batch committed while we waited for the head is seen by the second.
    heads, keys = await tx.together(_HEAD.bind(), known)
    if not heads:
        tx.send(_START)
        heads, keys = await tx.together(_HEAD.bind(), known)
    return heads[0].size, {(key.occurred_at, key.event_id) for key in keys}


def append(tx: Transaction, leaves: Sequence[Leaf]) -> None:
    """Goes out with COMMIT. The head moves with the rows: that is a trigger's."""
    events = [leaf.event for leaf in leaves]
    arrays: dict[str, Any] = {
        name: [getattr(leaf if name in _LEAF else leaf.event, name) for leaf in leaves] for name in _ENVELOPE
    }
    arrays["fields"] = [_array_text(names) for names in arrays["fields"]]
    tx.send(_APPEND, **arrays)
    tx.send(
        _APPEND_VALUES,
        event_id=arrays["event_id"],
        occurred_at=arrays["occurred_at"],
        salt=[leaf.salt for leaf in leaves],
        changes=[leaf.changes_text for leaf in leaves],
        ip=[event.ip for event in events],
        user_agent=[event.user_agent for event in events],
    )


def _array_text(names: Sequence[str]) -> str:
    """PostgreSQL's literal of a text[]."""
    return "{" + ",".join('"' + name.replace("\\", r"\\").replace('"', r"\"") + '"' for name in names) + "}"


# Reading.


_STORED = [name for name in EventRow._fields if name in EVENTS.c]
_SHOWS_ORIGIN: ColumnElement[bool] = func.app.role_level() >= 4
"""Where somebody was is shown to admins and owners only; the database knows the caller's role."""


def _with_values(events: Any, *more: ColumnElement[Any]) -> Select[Any]:
    """Events with their values. Joined after LIMIT: an erased event stays in its list."""
    values = EVENT_VALUES
    return select(
        *(events.c[name] for name in _STORED),
        cast(values.c.changes, Text).label("changes"),
        case((_SHOWS_ORIGIN, values.c.ip)).label("ip"),
        case((_SHOWS_ORIGIN, values.c.user_agent)).label("user_agent"),
        *more,
    ).select_from(
        events.outerjoin(
            values,
            and_(
                values.c.tenant_id == TENANT,
                values.c.occurred_at == events.c.occurred_at,
                values.c.event_id == events.c.event_id,
            ),
        )
    )


FILTERS = FilterSchema(
    {
        "actor_id": FilterField(ID, EVENTS.c.actor_id, words=frozenset({"me"})),
        "on_behalf_of": FilterField(ID, EVENTS.c.on_behalf_of, words=frozenset({"me"})),
        "actor_type": FilterField(enum({f"ACTOR_TYPE_{one.upper()}": one for one in ACTOR_TYPES}), EVENTS.c.actor_type),
        "entity_type": FilterField(TEXT, EVENTS.c.entity_type),
        "entity_id": FilterField(ID, EVENTS.c.entity_id),
        "sub_id": FilterField(ID, EVENTS.c.sub_id),
        "project_id": FilterField(ID, EVENTS.c.project_id),
        "action": FilterField(TEXT, EVENTS.c.action),
        "occur_time": FilterField(TIMESTAMP, EVENTS.c.occurred_at),
        "request_id": FilterField(TEXT, EVENTS.c.request_id),
        "service": FilterField(TEXT, EVENTS.c.service),
        "rpc": FilterField(TEXT, EVENTS.c.rpc),
        "outcome": FilterField(
            enum({f"OUTCOME_{one.upper()}": one for one in OUTCOMES}),
            # In the statement's text, where the planner sees that the index of what did not go well will do.
            cases={one: EVENTS.c.outcome == literal_column(f"'{one}'", Text) for one in OUTCOMES},
        ),
        "visibility": FilterField(
            enum({f"VISIBILITY_{name}": number for name, number in VISIBILITIES.items()}), EVENTS.c.visibility
        ),
    }
)
_LISTS = QueryCache()


def _list(asked: Filter, *, continued: bool) -> Query[EventRow]:
    found = select(*(EVENTS.c[name] for name in _STORED)).where(EVENTS.c.tenant_id == TENANT, *asked.conditions())
    if continued:
        after = bindparam("after_time", type_=Time), bindparam("after_seq", type_=BigInteger)
        found = found.where(tuple_(EVENTS.c.occurred_at, EVENTS.c.seq) < tuple_(*after))
    newest_first = found.order_by(EVENTS.c.occurred_at.desc(), EVENTS.c.seq.desc())
    events = newest_first.limit(bindparam("rows", type_=BigInteger)).subquery("found")
    page = fitting(
        _with_values(events), lambda columns: [columns["occurred_at"].desc(), columns["seq"].desc()], ("changes",)
    )
    return Query(page, row=EventRow)


async def list_events(tx: Reader, asked: Filter, after: tuple[KeyValue, ...] | None, rows: int) -> list[EventRow]:
    """Newest first, beyond the event with the keys (occurred_at, seq)."""
    continued = after is not None
    query = _LISTS.get((asked.shape, continued), lambda: _list(asked, continued=continued))
    time, seq = after or (None, None)
    return await tx.all(query, rows=rows, after_time=time, after_seq=seq, **asked.values)


# With the salt, the digest and the rest of the values whoever is not shown the address could try all there are.
_SALT: ColumnElement[Any] = case((_SHOWS_ORIGIN, EVENT_VALUES.c.salt)).label("salt")
_GET: Query[Any] = Query(
    _with_values(EVENTS, _SALT).where(
        EVENTS.c.tenant_id == TENANT, EVENTS.c.event_id == bindparam("event_id", type_=Id)
    )
)


async def get(tx: Reader, event_id: UUID) -> tuple[EventRow, bytes | None] | None:
    """With the salt of its values, unless those were erased or are not shown whole."""
    # The key has the time too: an id sent again with another time is another event, and the first is meant.
    rows = await tx.all(_GET, event_id=event_id)
    if not rows:
        return None
    *fields, salt = min(rows, key=lambda row: row[1])
    return EventRow._make(fields), salt
