"""What every handler of this service does alike: who asks, repeats of a call, pages of a list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Id
from bulkhead_kit.idempotency import RequestIds
from bulkhead_kit.page_tokens import KeyValue, Page
from sqlalchemy import bindparam

REQUEST_IDS: Final = RequestIds("identity")
PERSONAL_REQUEST_IDS: Final = RequestIds("identity", "user_request_ids", {"user_id": bindparam("caller_id", type_=Id)})
"""For calls of a person outside any tenant."""

Row = TypeVar("Row")


@dataclass(slots=True)
class Keyed:
    """A request with a password in it, for RequestIds: a plain digest would give the password to a guesser."""

    request_id: str
    digest: bytes

    def SerializeToString(self, *, deterministic: bool = True) -> bytes:  # noqa: N802  # protobuf's name
        return self.digest


def as_person(caller: Caller) -> Caller:
    """The person without the tenant her token may name: what she does here does not depend on any membership."""
    return replace(caller, tenant_id=None, role=None, membership_version=None)


def as_anybody(caller: Caller) -> Caller:
    """Nobody in particular: what she does here depends on what she sends, not on a token she has besides."""
    return replace(as_person(caller), actor_type="anonymous", user_id=None, session_id=None, service=None)


def cut(rows: list[Row], page: Page, key: Callable[[Row], Sequence[KeyValue]]) -> tuple[list[Row], str]:
    """The rows of the page and the token of the next; one row more than the page holds says that there is one."""
    if len(rows) <= page.size:
        return rows, ""
    rows = rows[: page.size]
    return rows, page.next_token(key(rows[-1]))
