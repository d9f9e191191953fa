"""One line for each call in the access log."""

from __future__ import annotations

import structlog

from bulkhead_kit.interceptors.call import Call

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.access")


def write(call: Call, seconds: float) -> None:
    log.info(
        "rpc",
        rpc=call.policy.method,
        request_id=call.request_id,
        code=call.code.name,
        reason=call.reason,
        ms=round(seconds * 1000, 2),
    )
