"""Which refused calls get a line in the access log: a few of each address, and a number in place of the rest.

A call that is refused before its handler costs next to nothing, so there can be very many of them; a line for each
would fill the disk, and hide what else happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from bulkhead_kit import clock
from bulkhead_kit.interceptors.call import Call
from bulkhead_kit.rates.limiter import network_of

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.access")

SECONDS: Final = 10.0
LINES: Final = 20
"""Of an address in that time."""
MAX_ADDRESSES: Final = 1000
"""That are told apart in that time; the rest count as one."""
THE_REST: Final = "others"


class RefusedLines:
    def __init__(self) -> None:
        self._refused: dict[str, int] = {}
        """By address, in this time."""
        self.ends = 0.0
        """On the monotonic clock; 0 while nothing was refused."""

    def choose(self, calls: Sequence[Call]) -> Sequence[Call]:
        """Those that are written, in their order."""
        self.tell()
        if all(call.admitted for call in calls):
            return calls
        return [call for call in calls if call.admitted or self._is_written(call)]

    def tell(self, *, now: bool = False) -> None:
        """How many were not written, when the time is over or the process ends."""
        if not self.ends or (clock.monotonic() < self.ends and not now):
            return
        for address, refused in self._refused.items():
            if refused > LINES:
                log.warning("refused_calls_not_written", address=address, calls=refused - LINES)
        self._refused, self.ends = {}, 0.0

    def _is_written(self, call: Call) -> bool:
        address = network_of(call.ip)
        if address not in self._refused and len(self._refused) >= MAX_ADDRESSES:
            address = THE_REST
        self._refused[address] = refused = self._refused.get(address, 0) + 1
        self.ends = self.ends or clock.monotonic() + SECONDS
        return refused <= LINES
