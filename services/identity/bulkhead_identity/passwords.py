"""Password hashes: argon2id, in threads of their own, never more at once than the machine was given for it."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final, TypeVar

import argon2
from argon2.exceptions import VerifyMismatchError
from bulkhead_kit.threads import Threads
from prometheus_client import Counter

# 19 MiB, two passes, one lane: OWASP's and ASVS's parameters, 17 ms a hash.
MEMORY_KIB: Final = 19 * 1024
PASSES: Final = 2
FULL: Final = "too many passwords are being checked, try again"

Result = TypeVar("Result")


class Passwords:
    """`payer` is for whom a hash is made: nobody's waiting ones keep another's from their turn."""

    def __init__(
        self, *, threads: int = 2, queue: int = 50, memory_kib: int = MEMORY_KIB, passes: int = PASSES
    ) -> None:
        self._hasher = argon2.PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._threads = Threads(self._pool, at_once=threads, queue=queue, full=FULL)
        # What an unknown address is checked against: the same work as a known one, and never right.
        self._nobody = self._hasher.hash("")

    async def hash(self, payer: Hashable, password: str) -> str:
        text = normal(password)
        return await self._threads.run(payer, lambda: timed(lambda: self._hasher.hash(text)))

    async def verify(self, payer: Hashable, password: str, stored: str | None) -> bool:
        """False for None, after as much work as for any other."""
        text = normal(password)
        matches = await self._threads.run(payer, lambda: timed(lambda: self._matches(stored or self._nobody, text)))
        return matches and stored is not None

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _matches(self, stored: str, text: str) -> bool:
        try:
            return self._hasher.verify(stored, text)
        except VerifyMismatchError:
            return False

    def is_outdated(self, stored: str) -> bool:
        """Whether it was made with other parameters than hashes are made with now."""
        return self._hasher.check_needs_rehash(stored)


@cache
def _cpu_seconds() -> Counter:
    return Counter("bulkhead_password_cpu_seconds", "CPU spent on hashing and checking passwords.")


def timed(work: Callable[[], Result]) -> Result:
    began = time.thread_time()
    try:
        return work()
    finally:
        _cpu_seconds().inc(time.thread_time() - began)


def normal(password: str) -> str:
    # One password typed on two keyboards can be two texts; NIST SP 800-63B asks for this form.
    return unicodedata.normalize("NFKC", password)
