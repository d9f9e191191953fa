"""The worker's loop: mails every second, expiry every minute."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from bulkhead_kit import clock
from bulkhead_kit.caller import Caller
from bulkhead_kit.errors import DomainError
from bulkhead_kit.ids import new_id

from bulkhead_identity.expiry.actions import expire
from bulkhead_identity.mail.actions import Post, send_due

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.worker")

DEADLINE: Final = 60.0


async def work(post: Post, *, mails_every: float, expiry_every: float) -> None:
    """Until cancelled."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_repeat("worker/mail", lambda caller: send_due(post, caller), mails_every))
        group.create_task(_repeat("worker/expire", lambda caller: expire(post.database, caller), expiry_every))


async def _repeat(name: str, step: Callable[[Caller], Awaitable[int]], every: float) -> None:
    while True:
        try:
            if await step(_caller(name)):
                # Where there was something, there may be more.
                continue
        except DomainError as error:
            log.warning("step_failed", step=name, reason=error.reason_name, detail=error.message)
        await asyncio.sleep(every)


def _caller(name: str) -> Caller:
    return Caller(
        actor_type="system",
        rpc=name,
        request_id=str(new_id()),
        deadline=clock.monotonic() + DEADLINE,
        service="identity",
    )
