"""Password hashes: argon2id, in threads of their own, never more at once than the machine was given for it."""

from __future__ import annotations

import asyncio
import threading
import time
import unicodedata
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Final, TypeVar

import argon2
from argon2.exceptions import VerifyMismatchError
from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit.errors import ResourceExhausted
from prometheus_client import Counter

# 19 MiB, two passes, one lane: OWASP's and ASVS's parameters, 17 ms a hash.
MEMORY_KIB: Final = 19 * 1024
PASSES: Final = 2
RETRY_AFTER: Final = 1.0

Result = TypeVar("Result")


class Passwords:
    def __init__(
        self, *, threads: int = 2, queue: int = 50, memory_kib: int = MEMORY_KIB, passes: int = PASSES
    ) -> None:
        self._hasher = argon2.PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._room = threading.BoundedSemaphore(threads + queue)
        # What an unknown address is checked against: the same work as a known one, and never right.
        self._nobody = self._hasher.hash("")

    async def hash(self, password: str) -> str:
        text = normal(password)
        return await self.run(lambda: self._hasher.hash(text))

    async def verify(self, password: str, stored: str | None) -> bool:
        """False for None, after as much work as for any other."""
        text = normal(password)
        matches = await self.run(lambda: self._matches(stored or self._nobody, text))
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

    async def run(self, work: Callable[[], Result]) -> Result:
        """Any work about a password, in one of the threads."""
        if not self._room.acquire(blocking=False):
            raise ResourceExhausted(
                ErrorReason.OVERLOADED, "too many passwords are being checked, try again", retry_after=RETRY_AFTER
            )
        job = self._pool.submit(_counted, work)
        # When the work ends, not when the caller stops waiting: a thread cannot be stopped.
        job.add_done_callback(self._give_back)
        return await asyncio.wrap_future(job)

    def _give_back(self, _job: Future[Result]) -> None:
        self._room.release()


@cache
def _cpu_seconds() -> Counter:
    return Counter("bulkhead_password_cpu_seconds", "CPU spent on hashing and checking passwords.")


def _counted(work: Callable[[], Result]) -> Result:
    began = time.thread_time()
    try:
        return work()
    finally:
        _cpu_seconds().inc(time.thread_time() - began)


def normal(password: str) -> str:
    # One password typed on two keyboards can be two texts; NIST SP 800-63B asks for this form.
    return unicodedata.normalize("NFKC", password)
