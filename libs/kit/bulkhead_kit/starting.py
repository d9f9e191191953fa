"""What each process of a service does first."""

from __future__ import annotations

import structlog

from bulkhead_kit import logs, telemetry
from bulkhead_kit.settings import ServiceSettings
from bulkhead_kit.start_error import AddressError

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.program")


def start_logging(settings: ServiceSettings) -> None:
    logs.configure(settings.service, output=settings.log_format, level=settings.log_level)
    for complaint in settings.unknown_variables():
        log.warning("unknown_setting", complaint=complaint)


def start_metrics(settings: ServiceSettings) -> None:
    if settings.metrics_listen is None:
        return
    settings.demand_inner_metrics()
    host, _, port = settings.metrics_listen.rpartition(":")
    try:
        telemetry.serve(host.strip("[]"), int(port))
    except OSError as error:
        name = settings.variable("metrics_listen")
        raise AddressError(
            f"{name}: nothing can listen on {settings.metrics_listen} ({error.strerror}): is it in use?"
        ) from error
