"""Page tokens: where the next page starts, signed, and good only for the query that gave them.

A token is base64url(version | mac | keyset values as JSON). The mac covers a digest of everything that shapes
the list (method, tenant, filter, order, parent ...), so a token of another query or tenant is as wrong as a
forged one. It is not a permission: a page is read with the rights its caller has now.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from uuid import UUID

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason

from bulkhead_kit import base64url
from bulkhead_kit.errors import FieldViolation, InvalidArgument

KeyValue = str | int | None
"""Texts, UUIDs as text, times as microseconds since 2000."""

DEFAULT_SIZE = 50
MAX_SIZE = 200
_VERSION = b"\x01"
_MAC_BYTES = 16
_MAX_TOKEN = 8192
_MIN_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Page:
    """The page a List call asks for. Read `size + 1` rows beyond `after`: the extra one says more follow."""

    size: int
    after: tuple[KeyValue, ...] | None
    """Keyset values of the last row the caller has, or None for the first page."""
    _query: bytes
    _tokens: PageTokens

    def next_token(self, last: Sequence[KeyValue]) -> str:
        """The token of the page that follows the row with these keyset values."""
        return self._tokens.encode(self._query, last)


class PageTokens:
    def __init__(self, key: bytes) -> None:
        self._key = key
        if len(key) < _MIN_KEY_BYTES:
            raise ValueError(f"a page token key needs at least {_MIN_KEY_BYTES} bytes")

    def page(
        self,
        *,
        rpc: str,
        tenant: UUID | None,
        page_size: int,
        page_token: str,
        query: Sequence[KeyValue | bool],
    ) -> Page:
        """`query`: every field of the request that decides which rows are listed and in which order."""
        digest = query_digest(rpc, tenant, query)
        after = self.decode(digest, page_token) if page_token else None
        return Page(size_of(page_size), after, digest, self)

    def encode(self, query: bytes, values: Sequence[KeyValue]) -> str:
        payload = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
        token = _VERSION + _mac(self._key, query, payload) + payload
        return base64url.encode(token)

    def decode(self, query: bytes, token: str) -> tuple[KeyValue, ...]:
        raw = _unpacked(token)
        mac, payload = raw[1 : 1 + _MAC_BYTES], raw[1 + _MAC_BYTES :]
        if raw[:1] != _VERSION or not hmac.compare_digest(mac, _mac(self._key, query, payload)):
            raise _refused()
        return tuple(json.loads(payload))


def size_of(page_size: int) -> int:
    """0 is the default, more than the maximum is the maximum (AIP-158), less than 0 is refused."""
    if page_size < 0:
        raise InvalidArgument.field("page_size", "must not be negative")
    return min(page_size or DEFAULT_SIZE, MAX_SIZE)


def query_digest(rpc: str, tenant: UUID | None, query: Sequence[KeyValue | bool]) -> bytes:
    """JSON keeps the parts apart: no two different queries are the same text."""
    text = json.dumps([rpc, tenant.hex if tenant else None, *query], separators=(",", ":"))
    return blake2b(text.encode(), digest_size=16).digest()


def _mac(key: bytes, query: bytes, payload: bytes) -> bytes:
    return hmac.digest(key, _VERSION + query + payload, sha256)[:_MAC_BYTES]


def _unpacked(token: str) -> bytes:
    if len(token) > _MAX_TOKEN:
        raise _refused()
    try:
        return base64url.decode(token)
    except ValueError:
        raise _refused() from None


def _refused() -> InvalidArgument:
    text = "must be the next_page_token of the same query, unchanged"
    return InvalidArgument(
        ErrorReason.INVALID_PAGE_TOKEN, f"page_token: {text}", violations=[FieldViolation("page_token", text)]
    )
