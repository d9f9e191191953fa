"""Counting in Redis, so that several processes together allow what one would.

A call that asks joins those that wait, and they go out together: one round trip for all limits of all of them, on one
connection. Redis is helpful, not needed: when it does not answer in time, this process counts alone, which it does
anyway, until Redis is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import sha1
from typing import Any, Final, NamedTuple

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from bulkhead_kit.rates.limiter import Check
from bulkhead_kit.telemetry import RateMetrics

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.rates")

PATIENCE: Final = 0.05
"""Seconds for an answer of Redis."""
FAILURES: Final = 3
"""In a row, until Redis counts as away: a single late answer is as often our own fault."""
FIRST_RETRY: Final = 0.25
LAST_RETRY: Final = 5.0
BATCH: Final = 200

# The same two numbers a subject as in counters.py, and the wait as in rate.py, on Redis's clock. A call is counted
# against all its limits or none.
_SCRIPT: Final = b"""
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local found = {}
for i, key in ipairs(KEYS) do
  local calls, seconds = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local number = math.floor(now / seconds)
  local kept = redis.call('HMGET', key, 'number', 'count', 'before')
  local turned = number - (tonumber(kept[1]) or 0)
  local count, before = tonumber(kept[2]) or 0, tonumber(kept[3]) or 0
  if turned == 1 then
    count, before = 0, count
  elseif turned ~= 0 then
    count, before = 0, 0
  end
  local weight = 1 - (now / seconds - number)
  local room = calls - 1
  if before * weight + count > room then
    local wait
    if count <= room then
      wait = (weight - (room - count) / before) * seconds
    else
      wait = (weight + 1 - room / count) * seconds
    end
    return {i, math.ceil(wait * 1000)}
  end
  found[i] = {number, count + 1, before, seconds}
end
for i, key in ipairs(KEYS) do
  local one = found[i]
  redis.call('HSET', key, 'number', one[1], 'count', one[2], 'before', one[3])
  redis.call('PEXPIRE', key, 2 * one[4] * 1000)
end
return {0, 0}
"""
_DIGEST: Final = sha1(_SCRIPT, usedforsecurity=False).hexdigest()

Verdict = tuple[Check, float] | None


class _Asking(NamedTuple):
    checks: list[Check]
    verdict: asyncio.Future[Verdict]


class RedisCounts:
    """Needs a running event loop from the first call on; `close` ends it."""

    def __init__(self, url: str, service: str, metrics: RateMetrics, *, patience: float = PATIENCE) -> None:
        self._service = service
        self._patience = patience
        self._shared = metrics.shared.labels(service)
        self._failed = metrics.redis_failures.labels(service)
        self._redis: Redis = Redis.from_url(
            url,
            socket_timeout=patience,
            socket_connect_timeout=patience,
            # A late answer is of no use, and trying again makes it later.
            retry=Retry(NoBackoff(), 0),
        )
        self._asking: list[_Asking] = []
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self.is_away = False
        self._shared.set(1)

    async def exceeded(self, checks: list[Check]) -> Verdict:
        """As Shared says. None too when Redis cannot be asked."""
        if self.is_away:
            return None
        verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._asking.append(_Asking(checks, verdict))
        if self._task is None:
            self._task = asyncio.create_task(self._ask())
        return await verdict

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._redis.aclose()

    async def _ask(self) -> None:
        try:
            while self._asking:
                batch, self._asking = self._asking[:BATCH], self._asking[BATCH:]
                await self._settle(batch)
            if self.is_away:
                await self._until_back()
        finally:
            self._task = None
            _answer(self._asking, [])
            self._asking = []

    async def _settle(self, batch: list[_Asking]) -> None:
        verdicts: list[Verdict] = []
        try:
            if not self.is_away:
                async with asyncio.timeout(self._patience):
                    verdicts = await self._exchange(batch)
                self._failures = 0
        except (RedisError, OSError, TimeoutError) as error:
            self._fail(error)
        finally:
            # Whatever happened: nobody waits for more than one answer.
            _answer(batch, verdicts)

    async def _exchange(self, batch: Sequence[_Asking]) -> list[Verdict]:
        replies = await self._send(batch)
        if any(isinstance(reply, NoScriptError) for reply in replies):
            # Redis has been started anew. As all of the batch is the same script, none of it has run.
            await self._redis.script_load(_SCRIPT)
            replies = await self._send(batch)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return [
            (asking.checks[number - 1], milliseconds / 1000) if number else None
            for asking, (number, milliseconds) in zip(batch, replies, strict=True)
        ]

    async def _send(self, batch: Sequence[_Asking]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for asking in batch:
                keys = [self._key(check) for check in asking.checks]
                rates = [number for check in asking.checks for number in _numbers(check)]
                pipeline.evalsha(_DIGEST, len(keys), *keys, *rates)
            return await pipeline.execute(raise_on_error=False)

    def _key(self, check: Check) -> str:
        counter, subject = check
        name = subject if isinstance(subject, str) else f"{subject:032x}"
        return f"bulkhead:rate:{self._service}:{counter.name}:{name}"

    def _fail(self, error: Exception) -> None:
        self._failed.inc()
        self._failures += 1
        if self._failures >= FAILURES and not self.is_away:
            self.is_away = True
            self._shared.set(0)
            # The kind alone: the text may hold the address with its password.
            log.warning("rate_limits_counted_alone", service=self._service, error=type(error).__name__)

    async def _until_back(self) -> None:
        pause = FIRST_RETRY
        while self.is_away:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LAST_RETRY)
            try:
                async with asyncio.timeout(self._patience):
                    await self._redis.script_load(_SCRIPT)
            except (RedisError, OSError, TimeoutError):
                self._failed.inc()
            else:
                self._failures, self.is_away = 0, False
                self._shared.set(1)
                log.info("rate_limits_shared_again", service=self._service)


def _numbers(check: Check) -> tuple[int, int]:
    return check.counter.rate.calls, check.counter.rate.seconds


def _answer(batch: Sequence[_Asking], verdicts: Sequence[Verdict]) -> None:
    """Those without a verdict may call."""
    for number, asking in enumerate(batch):
        if not asking.verdict.done():
            asking.verdict.set_result(verdicts[number] if number < len(verdicts) else None)
