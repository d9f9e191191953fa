"""SQL for a Caller: the only engine, the only tenant context, the only COMMIT."""

from bulkhead_kit.db.arrays import unnested
from bulkhead_kit.db.database import Database, PoolSettings, ServerState
from bulkhead_kit.db.fitting import fitting
from bulkhead_kit.db.query import Bound, Query, QueryCache
from bulkhead_kit.db.transaction import Reader, StaleContext, Transaction
from bulkhead_kit.db.types import Id, Time
from bulkhead_kit.ids import PLATFORM_LOG

__all__ = [
    "PLATFORM_LOG",
    "Bound",
    "Database",
    "Id",
    "PoolSettings",
    "Query",
    "QueryCache",
    "Reader",
    "ServerState",
    "StaleContext",
    "Time",
    "Transaction",
    "fitting",
    "unnested",
]
