from __future__ import annotations

import base64
import json
from uuid import UUID

import pytest
from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.page_tokens import KeyValue, PageTokens, query_digest, size_of
from hypothesis import given
from hypothesis import strategies as st

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
TENANT, OTHER_TENANT = UUID(int=1), UUID(int=2)
TOKENS = PageTokens(KEY)
QUERY = query_digest("svc/ListIssues", TENANT, ["project", "status = done", "update_time desc", False])
VALUES: tuple[KeyValue, ...] = (846684800123456, "0190163d-8694-739b-aea5-966c26f8ad91")

key_values = st.lists(st.none() | st.text(max_size=50) | st.integers(-(2**63), 2**63 - 1), max_size=5)


def refused(token: str, query: bytes = QUERY, tokens: PageTokens = TOKENS) -> bool:
    with pytest.raises(InvalidArgument) as caught:
        tokens.decode(query, token)
    assert caught.value.reason_name == "INVALID_PAGE_TOKEN"
    assert caught.value.violations[0].field == "page_token"
    # One text for every fault: it does not tell a forger how far she came.
    assert caught.value.message == "page_token: must be the next_page_token of the same query, unchanged"
    return True


@given(key_values)
def test_values_come_back(values: list[KeyValue]) -> None:
    assert TOKENS.decode(QUERY, TOKENS.encode(QUERY, values)) == tuple(values)


def test_a_token_is_safe_in_a_url_and_short() -> None:
    token = TOKENS.encode(QUERY, VALUES)
    assert token.isascii()
    assert not set(token) & set("+/=")
    assert len(token) < 120


@given(st.data())
def test_every_changed_character_is_noticed(data: st.DataObject) -> None:
    token = TOKENS.encode(QUERY, VALUES)
    at = data.draw(st.integers(0, len(token) - 1))
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=\n é"
    other = data.draw(st.sampled_from(alphabet).filter(lambda character: character != token[at]))
    assert refused(token[:at] + other + token[at + 1 :])


def test_every_cut_and_every_addition_is_noticed() -> None:
    token = TOKENS.encode(QUERY, VALUES)
    assert all(refused(token[:end]) for end in range(len(token)))
    assert all(refused(token + more) for more in ("A", "AA", "AAAA", "=", "==", " ", "\n", "\x00"))
    assert refused("A" * 1_000_000)
    assert refused("é")


@given(st.text(max_size=100))
def test_garbage_is_refused(text: str) -> None:
    assert refused(text)


@pytest.mark.parametrize(
    ("rpc", "tenant", "query"),
    [
        ("svc/ListOther", TENANT, ["project", "status = done", "update_time desc", False]),
        ("svc/ListIssues", OTHER_TENANT, ["project", "status = done", "update_time desc", False]),
        ("svc/ListIssues", None, ["project", "status = done", "update_time desc", False]),
        ("svc/ListIssues", TENANT, ["projects", "status = done", "update_time desc", False]),
        ("svc/ListIssues", TENANT, ["project", "status = todo", "update_time desc", False]),
        ("svc/ListIssues", TENANT, ["project", "status = done", "update_time", False]),
        ("svc/ListIssues", TENANT, ["project", "status = done", "update_time desc", True]),
        ("svc/ListIssues", TENANT, ["project", "status = done", "update_time desc"]),
        ("svc/ListIssues", TENANT, ["projectstatus = done", "", "update_time desc", False]),
        ("svc/ListIssues", TENANT, ['project","status = done', "update_time desc", False]),
    ],
)
def test_a_token_of_another_query_is_refused(rpc: str, tenant: UUID | None, query: list[KeyValue | bool]) -> None:
    assert refused(TOKENS.encode(QUERY, VALUES), query_digest(rpc, tenant, query))


def test_a_token_of_another_key_is_refused() -> None:
    assert refused(TOKENS.encode(QUERY, VALUES), tokens=PageTokens(OTHER_KEY))
    assert refused(PageTokens(OTHER_KEY).encode(QUERY, VALUES))


def test_an_unsigned_token_of_the_right_shape_is_refused() -> None:
    payload = json.dumps(VALUES).encode()
    forged = base64.urlsafe_b64encode(b"\x01" + bytes(16) + payload).rstrip(b"=").decode()
    assert refused(forged)


def test_another_format_version_is_refused() -> None:
    raw = base64.urlsafe_b64decode(TOKENS.encode(QUERY, VALUES) + "===")
    assert refused(base64.urlsafe_b64encode(b"\x02" + raw[1:]).rstrip(b"=").decode())


def test_a_weak_key_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        PageTokens(b"k" * 31)


def test_page_size_follows_the_contract() -> None:
    assert [size_of(size) for size in (0, 1, 50, 200, 201, 2**31 - 1)] == [50, 1, 50, 200, 200, 200]
    with pytest.raises(InvalidArgument) as caught:
        size_of(-1)
    assert caught.value.violations[0].field == "page_size"


def test_a_page_leads_to_the_next_one() -> None:
    first = TOKENS.page(rpc="svc/L", tenant=TENANT, page_size=2, page_token="", query=["f"])
    assert (first.size, first.after) == (2, None)
    token = first.next_token(VALUES)
    second = TOKENS.page(rpc="svc/L", tenant=TENANT, page_size=7, page_token=token, query=["f"])
    assert (second.size, second.after) == (7, VALUES)
    with pytest.raises(InvalidArgument):
        TOKENS.page(rpc="svc/L", tenant=TENANT, page_size=2, page_token=token, query=["g"])
