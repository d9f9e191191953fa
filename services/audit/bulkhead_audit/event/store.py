"""All SQL on the log. Nothing here changes or removes a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Id, Query, QueryCache, Reader, Time, Transaction, fitting, unnested
from bulkhead_kit.errors import Aborted, DomainError
from bulkhead_kit.filters import ID, TEXT, TIMESTAMP, Filter, FilterField, FilterSchema, enum
from bulkhead_kit.page_tokens import KeyValue
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    LargeBinary,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal_column,
    null,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.types import TypeEngine

from bulkhead_audit.event.columns import EVENT_VALUES, EVENTS, LOGS, OWN_EVENTS, OWN_VALUES
from bulkhead_audit.event.rules import ACTOR_TYPES, OUTCOMES, VISIBILITIES, EventRow, Leaf, NewEvent, sees_whole_log

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


_SHOWS_ORIGIN: ColumnElement[bool] = func.app.role_level() >= 4
"""Where somebody was is shown to admins and owners only; the database knows the caller's role."""


@dataclass(frozen=True, slots=True)
class Log:
    """What a caller reads: all of the tenant's log, or what she did herself. The database shows no more either way."""

    events: Table
    values: Table
    tie: str
    """What orders events of one microsecond."""
    filters: FilterSchema
    lists: QueryCache = field(default_factory=QueryCache)

    @property
    def is_own(self) -> bool:
        return self.events is OWN_EVENTS

    def key(self, row: EventRow) -> tuple[KeyValue, ...]:
        return row.occurred_at, getattr(row, self.tie)


def _filters(of: ReadOnlyColumnCollection[str, Any]) -> FilterSchema:
    return FilterSchema(
        {
            "actor_id": FilterField(ID, of.actor_id, words=frozenset({"me"})),
            "on_behalf_of": FilterField(ID, of.on_behalf_of, words=frozenset({"me"})),
            "actor_type": FilterField(enum({f"ACTOR_TYPE_{one.upper()}": one for one in ACTOR_TYPES}), of.actor_type),
            "entity_type": FilterField(TEXT, of.entity_type),
            "entity_id": FilterField(ID, of.entity_id),
            "sub_id": FilterField(ID, of.sub_id),
            "project_id": FilterField(ID, of.project_id),
            "action": FilterField(TEXT, of.action),
            "occur_time": FilterField(TIMESTAMP, of.occurred_at),
            "request_id": FilterField(TEXT, of.request_id),
            "service": FilterField(TEXT, of.service),
            "rpc": FilterField(TEXT, of.rpc),
            "outcome": FilterField(
                enum({f"OUTCOME_{one.upper()}": one for one in OUTCOMES}),
                # In the statement's text, where the planner sees that the index of what did not go well will do.
                cases={one: of.outcome == literal_column(f"'{one}'", Text) for one in OUTCOMES},
            ),
            "visibility": FilterField(
                enum({f"VISIBILITY_{name}": number for name, number in VISIBILITIES.items()}), of.visibility
            ),
        }
    )


WHOLE = Log(EVENTS, EVENT_VALUES, "seq", _filters(EVENTS.c))
OWN = Log(OWN_EVENTS, OWN_VALUES, "event_id", _filters(OWN_EVENTS.c))


def log_of(caller: Caller) -> Log:
    return WHOLE if sees_whole_log(caller.role) else OWN


def _with_values(log: Log, events: Any) -> Select[Any]:
    """Events with their values. Joined after LIMIT: an erased event stays in its list."""
    values = log.values
    stored = [
        # Of a column that is not shown nothing is read.
        events.c[name] if name in events.c else cast(null(), EVENTS.c[name].type).label(name)
        for name in EventRow._fields
        if name in EVENTS.c
    ]
    origin = [
        case((_SHOWS_ORIGIN, values.c[name])).label(name) if name in values.c else cast(null(), Text).label(name)
        for name in ("ip", "user_agent")
    ]
    return select(*stored, cast(values.c.changes, Text).label("changes"), *origin).select_from(
        events.outerjoin(
            values,
            and_(
                values.c.tenant_id == TENANT,
                values.c.occurred_at == events.c.occurred_at,
                values.c.event_id == events.c.event_id,
            ),
        )
    )


def _list(log: Log, asked: Filter, *, continued: bool) -> Query[EventRow]:
    events = log.events.c
    shown = [events[name] for name in EventRow._fields if name in events]
    found = select(*shown).where(events.tenant_id == TENANT, *asked.conditions())
    if continued:
        after = bindparam("after_time", type_=Time), bindparam("after_tie", type_=events[log.tie].type)
        found = found.where(tuple_(events.occurred_at, events[log.tie]) < tuple_(*after))
    newest_first = found.order_by(events.occurred_at.desc(), events[log.tie].desc())
    page = newest_first.limit(bindparam("rows", type_=BigInteger)).subquery("found")
    return Query(
        fitting(
            _with_values(log, page),
            lambda columns: [columns["occurred_at"].desc(), columns[log.tie].desc()],
            ("changes",),
        ),
        row=EventRow,
    )


async def list_events(
    tx: Reader, log: Log, asked: Filter, after: tuple[KeyValue, ...] | None, rows: int
) -> list[EventRow]:
    """Newest first, beyond the event with the keys that `log.key` gives."""
    continued = after is not None
    query = log.lists.get((asked.shape, continued), lambda: _list(log, asked, continued=continued))
    time, tie = after or (None, None)
    return await tx.all(query, rows=rows, after_time=time, after_tie=tie, **asked.values)


# With the salt, the digest and the rest of the values whoever is not shown the address could try all there are.
_SALT: ColumnElement[Any] = case((_SHOWS_ORIGIN, EVENT_VALUES.c.salt)).label("salt")


def _get(log: Log) -> Query[Any]:
    event = _with_values(log, log.events).where(
        log.events.c.tenant_id == TENANT, log.events.c.event_id == bindparam("event_id", type_=Id)
    )
    return Query(event.add_columns(cast(null(), LargeBinary).label("salt") if log.is_own else _SALT))


_GET = {log.is_own: _get(log) for log in (WHOLE, OWN)}


async def get(tx: Reader, log: Log, event_id: UUID) -> tuple[EventRow, bytes | None] | None:
    """With the salt of its values, unless those were erased or are not shown whole."""
    # The key has the time too: an id sent again with another time is another event, and the first is meant.
    rows = await tx.all(_GET[log.is_own], event_id=event_id)
    if not rows:
        return None
    *fields, salt = min(rows, key=lambda row: row[1] or row[2])
    return EventRow._make(fields), salt
