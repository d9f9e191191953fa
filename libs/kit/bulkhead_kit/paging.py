"""Pages of a list, as every handler makes them: which one is asked for, and where it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

from bulkhead_kit.caller import Caller
from bulkhead_kit.page_tokens import KeyValue, Page, PageTokens

MAX_PAGE_BYTES: Final = 800_000
"""A page of long texts ends before its message would be too long."""

Row = TypeVar("Row")


class ListRequest(Protocol):
    page_size: int
    page_token: str


def page_of(tokens: PageTokens, caller: Caller, request: ListRequest, *query: KeyValue | bool) -> Page:
    """`query` is every other field of the request; outside a tenant also who asks, as nothing else says it."""
    return tokens.page(
        rpc=caller.rpc,
        tenant=caller.tenant_id,
        page_size=request.page_size,
        page_token=request.page_token,
        query=query,
    )


def cut(
    rows: list[Row],
    page: Page,
    key: Callable[[Row], Sequence[KeyValue]],
    weight: Callable[[Row], int] | None = None,
) -> tuple[list[Row], str]:
    """The rows of the page and the token of the next; one row more than the page holds says that there is one.

    `weight` is about a row's bytes, where rows can be so long that a page of them would be no message.
    """
    end = page.size if weight is None else _fitting(rows, page.size, weight)
    if len(rows) <= end:
        return rows, ""
    rows = rows[:end]
    return rows, page.next_token(key(rows[-1]))


def _fitting(rows: list[Row], most: int, weight: Callable[[Row], int]) -> int:
    total = 0
    for position, row in enumerate(rows[:most]):
        total += weight(row)
        if total > MAX_PAGE_BYTES and position > 0:
            return position
    return most
