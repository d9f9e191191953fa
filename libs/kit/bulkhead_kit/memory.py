"""What a burst of calls took goes back to the machine. glibc returns what was freed at the end of its heaps only, and
grpc's threads have many of those: after an attack a service kept a gigabyte that nobody used."""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

LOOK_SECONDS: Final = 2.0
WORTH_IT: Final = 32 << 20
"""Bytes more than the least. One go with nothing to return costs a millisecond of a thread that is not the loop's."""
_STATM: Final = Path("/proc/self/statm")


async def keep_giving_back() -> None:
    """Until cancelled. Ends at once where there is no glibc."""
    trim = _trimmer()
    if trim is None:
        return
    least = resident()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if resident() > least + WORTH_IT:
            await asyncio.to_thread(trim)
        least = min(least, resident())


def resident() -> int:
    """Bytes of this process that the machine holds."""
    return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _trimmer() -> Callable[[], None] | None:
    if not _STATM.exists():
        return None
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return None if trim is None else lambda: trim(0)
