"""One line for each call in the access log. Bodies are never in it, so no sensitive field can be.

JSON lines are put together by hand: through every processor of the log one cost as much as the steps together. Every
value in them is our own or was checked when it was read, but for the request id, which may hold a quotation mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from typing import Final
from uuid import UUID

import structlog

from bulkhead_kit import clock, logs
from bulkhead_kit.interceptors.call import Call

LOGGER: Final = "bulkhead.access"

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(LOGGER)


def write(calls: Sequence[Call]) -> None:
    by_hand = logs.by_hand()
    if by_hand is None:
        for call in calls:
            log.info(
                "rpc",
                rpc=call.policy.method,
                request_id=call.request_id,
                code=call.code.name,
                reason=call.reason,
                ms=round((call.ended - call.started) * 1000, 2),
            )
        return
    stream, service = by_hand
    # What the clock says now, for an end told on the clock that never jumps.
    offset = clock.unix() - clock.monotonic()
    stream.write("".join([line(call, service, offset) for call in calls]).encode())


def line(call: Call, service: str, offset: float) -> str:
    traced = f',"trace_id":"{call.trace.get().trace_id}"' if call.trace is not None else ""
    reason = f',"reason":"{call.reason}"' if call.reason else ""
    return (
        f'{{"time":"{_time(call.ended + offset)}","level":"info","event":"rpc","service":{service},'
        f'"logger":"{LOGGER}","rpc":"{call.policy.method}","request_id":{quoted(call.request_id)}{_who(call)}{traced},'
        f'"code":"{call.code.name}"{reason},"ms":{(call.ended - call.started) * 1000:.2f}}}\n'
    )


def _who(call: Call) -> str:
    caller = call.caller
    if caller is None:
        return ""
    tenant = f',"tenant_id":"{_text(caller.tenant_id)}"' if caller.tenant_id is not None else ""
    user = f',"user_id":"{_text(caller.user_id)}"' if caller.user_id is not None else ""
    service = f',"caller_service":{quoted(caller.service)}' if caller.service is not None else ""
    return f',"actor_type":"{caller.actor_type}"{tenant}{user}{service}'


_text = lru_cache(maxsize=4096)(UUID.__str__)


def _time(unix: float) -> str:
    whole = int(unix)
    return f"{_second(whole)}.{int((unix - whole) * 1000):03d}Z"


@lru_cache(maxsize=4)
def _second(unix: int) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%S")
