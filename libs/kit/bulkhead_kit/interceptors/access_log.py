"""One line for each call in the access log.

JSON lines are put together by hand and written out a few times a second: through every processor of the log a line
cost half as much as all the steps together. Every value in them is our own or was checked when it was read, but for
the request id, which may hold a quotation mark.
"""

from __future__ import annotations

import asyncio
from json.encoder import encode_basestring_ascii as quoted
from typing import BinaryIO, Final
from uuid import UUID

import structlog

from bulkhead_kit import clock, logs
from bulkhead_kit.interceptors.call import Call
from bulkhead_kit.telemetry import current_trace

FLUSH_AFTER: Final = 0.2
_KEPT: Final = 4096

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.access")


def write(call: Call, seconds: float) -> None:
    by_hand = logs.by_hand()
    if by_hand is None:
        log.info(
            "rpc",
            rpc=call.policy.method,
            request_id=call.request_id,
            code=call.code.name,
            reason=call.reason,
            ms=round(seconds * 1000, 2),
        )
        return
    stream, service = by_hand
    stream.write(line(call, seconds, service).encode())
    _flush_soon(stream)


def line(call: Call, seconds: float, service: str) -> str:
    trace = current_trace()
    traced = f',"trace_id":"{trace.trace_id}"' if trace is not None else ""
    reason = f',"reason":"{call.reason}"' if call.reason else ""
    return (
        f'{{"time":"{_time()}","level":"info","event":"rpc","service":{service},"logger":"bulkhead.access",'
        f'"rpc":"{call.policy.method}","request_id":{quoted(call.request_id)}{_who(call)}{traced},'
        f'"code":"{call.code.name}"{reason},"ms":{seconds * 1000:.2f}}}\n'
    )


def _who(call: Call) -> str:
    caller = call.caller
    if caller is None:
        return ""
    tenant = f',"tenant_id":"{_text(caller.tenant_id)}"' if caller.tenant_id is not None else ""
    user = f',"user_id":"{_text(caller.user_id)}"' if caller.user_id is not None else ""
    service = f',"caller_service":{quoted(caller.service)}' if caller.service is not None else ""
    return tenant + user + service


_texts: dict[int, str] = {}


def _text(value: UUID) -> str:
    """Kept by number: both the text and the hash of a UUID are computed in Python, every time."""
    found = _texts.get(value.int)
    if found is None:
        if len(_texts) >= _KEPT:
            _texts.clear()
        found = _texts[value.int] = str(value)
    return found


_second = (0, "")


def _time() -> str:
    global _second  # noqa: PLW0603 - the text of the current second, alike for all lines within it
    now = clock.unix()
    whole = int(now)
    if _second[0] != whole:
        _second = (whole, clock.now().strftime("%Y-%m-%dT%H:%M:%S"))
    return f"{_second[1]}.{int((now - whole) * 1000):03d}Z"


_waiting: set[int] = set()


def _flush_soon(stream: BinaryIO) -> None:
    if id(stream) not in _waiting:
        _waiting.add(id(stream))
        asyncio.get_running_loop().call_later(FLUSH_AFTER, _flush, stream)


def _flush(stream: BinaryIO) -> None:
    _waiting.discard(id(stream))
    if not stream.closed:
        stream.flush()
