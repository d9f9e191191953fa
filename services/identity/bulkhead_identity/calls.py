"""What every handler of this service does alike: who asks, and repeats of a call."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Final

from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Id
from bulkhead_kit.idempotency import RequestIds
from bulkhead_kit.rates.limiter import network_of
from sqlalchemy import bindparam

REQUEST_IDS: Final = RequestIds("identity")
PERSONAL_REQUEST_IDS: Final = RequestIds("identity", "user_request_ids", {"user_id": bindparam("caller_id", type_=Id)})
"""For calls of a person outside any tenant."""


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


def payer_of(caller: Caller) -> Hashable:
    """Whose share of a queue the work of a call takes: the person's, of whoever is not signed in the address's."""
    return caller.user_id.int if caller.user_id is not None else network_of(caller.ip)
