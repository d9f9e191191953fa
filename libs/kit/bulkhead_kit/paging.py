"""Pages of a list, as every handler makes them: which one is asked for, and where it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol, TypeVar

from bulkhead_kit.caller import Caller
from bulkhead_kit.page_tokens import KeyValue, Page, PageTokens

MAX_PAGE_BYTES: Final = 800_000
"""A page of long texts ends before its message would be too long; the rest of a message is for what is short."""

Row = TypeVar("Row", bound=Iterable[Any])


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

    `weight` is about a row's bytes in its message, where those are more than its texts.
    """
    end = _fitting(rows, page.size, weight or text_bytes)
    if len(rows) <= end:
        return rows, ""
    rows = rows[:end]
    return rows, page.next_token(key(rows[-1]))


def text_bytes(row: Iterable[Any]) -> int:
    """Without encoding the many that are ASCII."""
    return sum(len(one) if one.isascii() else len(one.encode()) for one in row if isinstance(one, str))


def _fitting(rows: list[Row], most: int, weight: Callable[[Row], int]) -> int:
    total = 0
    for position, row in enumerate(rows[:most]):
        total += weight(row)
        if total > MAX_PAGE_BYTES and position > 0:
            return position
    return most
