"""Where a page ends, and whose its token is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

import pytest
from bulkhead_kit.caller import Caller
from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.page_tokens import PageTokens
from bulkhead_kit.paging import MAX_PAGE_BYTES, cut, page_of

TOKENS = PageTokens(b"k" * 32)
CALLER = Caller(actor_type="person", rpc="svc/ListThings", request_id="r", deadline=0.0, tenant_id=UUID(int=1))


@dataclass
class Request:
    page_size: int = 2
    page_token: str = ""


def key(row: tuple[int]) -> tuple[int]:
    return row


ONE, TWO, THREE = (1,), (2,), (3,)


def test_a_row_too_many_says_that_there_is_more() -> None:
    page = page_of(TOKENS, CALLER, Request(), "state = OPEN")
    assert cut([ONE, TWO], page, key) == ([ONE, TWO], "")
    rows, token = cut([ONE, TWO, THREE], page, key)
    assert rows == [ONE, TWO]
    assert page_of(TOKENS, CALLER, Request(page_token=token), "state = OPEN").after == (2,)


@pytest.mark.parametrize(("weight", "fits"), [(MAX_PAGE_BYTES // 2, 2), (MAX_PAGE_BYTES // 2 + 1, 1)])
def test_long_rows_end_a_page_early(weight: int, fits: int) -> None:
    rows, token = cut([ONE, TWO], page_of(TOKENS, CALLER, Request()), key, lambda _: weight)
    assert (len(rows), bool(token)) == (fits, fits < 2)


def test_without_a_weight_the_texts_of_a_row_count() -> None:
    long = "🛟" * (MAX_PAGE_BYTES // 8)
    rows, token = cut([("a", long), ("b", long)], page_of(TOKENS, CALLER, Request()), lambda row: row[:1])
    assert ([row[0] for row in rows], bool(token)) == (["a"], True)
    short: list[tuple[object, ...]] = [("a", None, long), (2, "b", [long])]
    assert cut(short, page_of(TOKENS, CALLER, Request()), lambda row: ()) == (short, "")


def test_a_row_longer_than_a_page_is_a_page() -> None:
    rows, token = cut([ONE, TWO], page_of(TOKENS, CALLER, Request()), key, lambda _: MAX_PAGE_BYTES + 1)
    assert rows == [ONE]
    assert token


def test_a_token_is_of_its_query_and_tenant_only() -> None:
    _, token = cut([ONE, TWO, THREE], page_of(TOKENS, CALLER, Request(), "state = OPEN"), key)
    again = Request(page_token=token)
    for caller, query in (
        (CALLER, "state = CLOSED"),
        (replace(CALLER, tenant_id=UUID(int=2)), "state = OPEN"),
        (replace(CALLER, tenant_id=None), "state = OPEN"),
        (replace(CALLER, rpc="svc/ListOthers"), "state = OPEN"),
    ):
        with pytest.raises(InvalidArgument):
            page_of(TOKENS, caller, again, query)
