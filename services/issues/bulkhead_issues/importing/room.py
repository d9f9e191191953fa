"""The memory that all imports of a process share."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

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
    """Nobody takes more than is left free then: one alone has a half, two have a third each, and whoever comes next
    finds room, whatever the number of their streams. Counted by tenant and by person, or a person with many tenants
    would have as many parts."""

    def __init__(self, size: int = BYTES) -> None:
        self._size = size
        self._free = size
        self._held: dict[Hashable, int] = {}

    @contextmanager
    def part(self, *payers: Hashable) -> Iterator[Hold]:
        """Of an item or of a stream, for as long as it is in memory. Holding more than there is raises OVERLOADED."""
        own = 0

        def hold(length: int) -> None:
            nonlocal own
            self._change(payers, length - own)
            own = length

        try:
            yield hold
        finally:
            hold(0)

    def _change(self, payers: Sequence[Hashable], by: int) -> None:
        free = self._free - by
        held = {payer: self._held.get(payer, 0) + by for payer in payers}
        if by > 0 and max(held.values()) > free:
            raise ResourceExhausted(
                ErrorReason.OVERLOADED,
                "too much is being imported at once: send the items again later",
                retry_after=RETRY_AFTER,
            )
        self._free = free
        self._held.update(held)
        for payer in payers:
            if self._held[payer] == 0:
                del self._held[payer]
