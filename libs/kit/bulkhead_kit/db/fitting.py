"""Pages of rows with long texts: what would not fit into one message stays in the database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, Text, cast, func, literal_column, select
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from bulkhead_kit.paging import MAX_PAGE_BYTES

Columns = ReadOnlyColumnCollection[str, Any]
Ordering = Callable[[Columns], Sequence[ColumnElement[Any]]]


def fitting(page: Select[Any], order: Ordering, texts: Sequence[str]) -> Select[Any]:
    """The rows of a page up to the first that goes beyond the message, which says that there are more.

    `texts` are the long columns. The length of a text is known without reading it, so that a row that is left out
    costs next to nothing; and no row is so long that none would follow it.
    """
    rows = page.subquery("page")
    before = func.sum(_length(rows.c, texts)).over(order_by=order(rows.c), rows=(None, -1))
    measured = select(*rows.c, before.label("bytes_before")).subquery("measured")
    return (
        select(*(measured.c[name] for name in rows.c.keys()))  # noqa: SIM118  # iterates over columns otherwise
        .where(func.coalesce(measured.c.bytes_before, literal_column("0")) <= MAX_PAGE_BYTES)
        .order_by(*order(measured.c))
    )


def _length(columns: Columns, texts: Sequence[str]) -> ColumnElement[int]:
    total: ColumnElement[int] = literal_column("0", BigInteger)
    for name in texts:
        total = total + func.coalesce(
            func.octet_length(cast(columns[name], Text)), literal_column("0"), type_=BigInteger
        )
    return total
