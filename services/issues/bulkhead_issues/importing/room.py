"""The memory that all imports of a process share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol
from uuid import UUID

from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit.errors import ResourceExhausted

BYTES: Final = 256 * 1024 * 1024
"""Of messages, for all items that are being received or written, and of what streams remember to their end. Texts can
take four times that in memory."""
RETRY_AFTER: Final = 5.0


class Hold(Protocol):
    def __call__(self, length: int) -> None:
        """From now on this many bytes are held."""


class Room:
    """One tenant has no more than half of it, whatever the number of its streams."""

    def __init__(self, size: int = BYTES) -> None:
        self._size = size
        self._held: dict[UUID, int] = {}

    @contextmanager
    def part(self, tenant: UUID) -> Iterator[Hold]:
        """Of an item or of a stream, for as long as it is in memory. Holding more than there is raises OVERLOADED."""
        own = 0

        def hold(length: int) -> None:
            nonlocal own
            self._change(tenant, length - own)
            own = length

        try:
            yield hold
        finally:
            hold(0)

    def _change(self, tenant: UUID, by: int) -> None:
        held = self._held.get(tenant, 0) + by
        if by > 0 and (held > self._size // 2 or sum(self._held.values()) + by > self._size):
            raise ResourceExhausted(
                ErrorReason.OVERLOADED,
                "too much is being imported at once: send the items again later",
                retry_after=RETRY_AFTER,
            )
        self._held[tenant] = held
        if held == 0:
            del self._held[tenant]
