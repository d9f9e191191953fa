"""The log's tables, and the views of them that those read who may not see the whole log."""

from __future__ import annotations

from bulkhead_kit.db import Id, Time
from sqlalchemy import ARRAY, BigInteger, Column, LargeBinary, MetaData, SmallInteger, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

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

_HIDDEN = {"seq", "recorded_at", "encoding", "values_digest", "leaf_hash"}
"""What would tell how much others do, or what was hidden: numbers of the whole log, and digests of whole events."""
OWN_EVENTS = Table("own_events", METADATA, *(Column(one.name, one.type) for one in EVENTS.c if one.name not in _HIDDEN))
OWN_VALUES = Table(
    "own_event_values",
    METADATA,
    Column("tenant_id", Id),
    Column("event_id", Id),
    Column("occurred_at", Time),
    Column("changes", JSONB),
)
