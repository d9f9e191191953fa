"""Due work: duties that are done again and again, whatever happened the last time.

A duty gets a Caller of its own for each turn and says how much it did. One that fails is logged and tried again soon;
the others go on. What a duty changes is committed by itself, so a kill loses nothing.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

import structlog

from bulkhead_kit import clock
from bulkhead_kit.caller import Caller
from bulkhead_kit.db import Database
from bulkhead_kit.errors import DeadlineExceeded, Unavailable
from bulkhead_kit.ids import new_id
from bulkhead_kit.roles import said

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.worker")

TURN_SECONDS: Final = 60.0
"""Time a duty gets for one turn."""
RETRY_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 3.0
"""Until a worker looks again whether the database is there and its roles are in order."""


@dataclass(frozen=True, slots=True)
class Duty:
    name: str
    every: float
    """Seconds from the end of a turn that left nothing to do to the next."""
    turn: Callable[[Caller], Awaitable[int]]
    """How much was done: where there was something, there may be more, and the next turn follows at once."""


async def keep_working(service: str, duties: Iterable[Duty]) -> None:
    """Until cancelled."""
    async with asyncio.TaskGroup() as group:
        for duty in duties:
            group.create_task(_repeat(service, duty), name=duty.name)


async def until_told(work: Awaitable[None]) -> None:
    """Ends the work at SIGTERM or SIGINT; raises what it raises when it ends by itself."""
    working = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, working.cancel)
    try:
        await working
    except asyncio.CancelledError:
        log.info("stopped")


async def wait_for_roles(service: str, database: Database) -> None:
    """Until the roles are those that `bulkhead migrate` made, and our login is the one that the walls bind."""
    while True:
        try:
            caller = _caller(service, "look_at_roles")
            faults = await database.login_faults(caller) or await database.role_faults(caller)
            if not faults:
                return
            log.error("roles_refused", detail=said(faults), mend="bulkhead doctor")
        except (Unavailable, DeadlineExceeded) as error:
            log.warning("no_database", detail=database.refused or str(error))
        await asyncio.sleep(LOOK_SECONDS)


async def _repeat(service: str, duty: Duty) -> None:
    while True:
        pause = duty.every
        try:
            if await duty.turn(_caller(service, duty.name)):
                pause = 0.0
        except Exception as error:  # a supervisor loop: whatever it was, the next turn may succeed
            log.error("duty_failed", duty=duty.name, exc_info=error)
            pause = min(duty.every, RETRY_SECONDS)
        await asyncio.sleep(pause)


def _caller(service: str, work: str) -> Caller:
    return Caller(
        actor_type="system",
        rpc=f"worker/{work}",
        request_id=str(new_id()),
        deadline=clock.monotonic() + TURN_SECONDS,
        service=service,
    )
