"""Filters and orders of List methods (AIP-160, AIP-132), turned into conditions with bind parameters."""

from bulkhead_kit.filters.fields import (
    BOOLEAN,
    ID,
    INTEGER,
    TEXT,
    TIMESTAMP,
    FilterField,
    Kind,
    Test,
    enum,
    keyword,
)
from bulkhead_kit.filters.ordering import End, Ends, Order, OrderField, OrderSchema
from bulkhead_kit.filters.query import Filter, FilterSchema

__all__ = [
    "BOOLEAN",
    "ID",
    "INTEGER",
    "TEXT",
    "TIMESTAMP",
    "End",
    "Ends",
    "Filter",
    "FilterField",
    "FilterSchema",
    "Kind",
    "Order",
    "OrderField",
    "OrderSchema",
    "Test",
    "enum",
    "keyword",
]
