"""An etag is the row's version in quotes, `"v7"`: cheap to make, and a store can say `where version = 7`."""

from __future__ import annotations

import re
from typing import Final

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason

from bulkhead_kit.errors import Aborted, InvalidArgument

_LARGEST: Final = 2**31 - 1
"""That a column of versions holds."""
_form = re.compile(r'"v(0|[1-9][0-9]{0,9})"', re.ASCII).fullmatch


def etag(version: int) -> str:
    return f'"v{version}"'


def expected_version(text: str, field: str = "etag") -> int | None:
    """The version the caller has read, or None if she does not care; for a `where` of the store."""
    if not text:
        return None
    found = _form(text)
    if found is None or int(found[1]) > _LARGEST:
        raise InvalidArgument.field(field, "must be an etag as received, quotes included, or empty")
    return int(found[1])


def mismatch(current: int | None = None) -> Aborted:
    """Somebody else was faster. The current etag goes along where the store knows it."""
    metadata = {} if current is None else {"etag": etag(current)}
    return Aborted(
        ErrorReason.ETAG_MISMATCH,
        "the resource has changed since it was read: read it again",
        metadata=metadata,
    )


def demand(wanted: int | None, current: int) -> None:
    """For a row that is at hand: raises Aborted when the caller has read another version of it."""
    if wanted not in (None, current):
        raise mismatch(current)
