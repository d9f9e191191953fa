"""What a person changes about herself."""

from __future__ import annotations

from collections.abc import Mapping

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit import etags
from bulkhead_kit.db import Transaction
from bulkhead_kit.errors import Unauthenticated

from bulkhead_identity.user import store
from bulkhead_identity.user.rules import NAMES, UserRow


async def update_me(tx: Transaction, values: Mapping[str, object], version: int | None) -> UserRow:
    before = existing(await store.lock(tx))
    etags.demand(version, before.version)
    account = {name: value for name, value in values.items() if name in NAMES and value != getattr(before, name)}
    profile = {name: value for name, value in values.items() if name not in NAMES}
    if account:
        store.set_account(tx, account)
    if profile:
        store.set_profile(tx, profile)
    return existing(await store.load(tx)) if account or profile else before


def existing(row: UserRow | None) -> UserRow:
    if row is None:
        raise Unauthenticated(ErrorReason.SESSION_ENDED, "the account is closed, log in again")
    return row
