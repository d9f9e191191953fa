"""Log lines: JSON for machines, coloured text on a terminal, each with the call it belongs to, none with a secret.

Nobody binds the call's fields: they are read from the caller and the trace when a line is written, so a call that
logs nothing pays nothing. Anywhere: `log = structlog.get_logger("bulkhead.relay")`, then `log.info("caught_up")`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
from collections.abc import Callable, Mapping, MutableMapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, BinaryIO, ClassVar, Final, Literal
from uuid import UUID

import structlog
from structlog.typing import Processor

from bulkhead_kit import clock
from bulkhead_kit.caller import find_caller
from bulkhead_kit.log_stream import DirectStream, LogStream, standard_error
from bulkhead_kit.telemetry import current_trace

Format = Literal["auto", "json", "console"]
Event = MutableMapping[str, Any]

HIDDEN: Final = "[hidden]"
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_secret_name = re.compile(
    r"password|passwd|secret|token|authorization|cookie|credential|private_key|api_key|apikey|dsn|conninfo",
    re.IGNORECASE,
).search
_secret_value = re.compile(
    r"eyJ[\w-]{5,}\.[\w-]+(\.[\w-]*)?"  # a JWT, whole or cut
    r"|\bbh_[\w-]{8,}"  # an API key
    r"|(?<=://)[^\s:/@\"\\]*:[^\s@\"\\]+(?=@)"  # user and password of a URL
    r"|(?<=password=)('[^']*'|[^\s\"\\]+)"  # of a PostgreSQL connection string
    r"|(?<=(?i:bearer )) *[^\s\"\\]+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[^\"]*?(-----END [A-Z ]*PRIVATE KEY-----|(?=\")|$)"  # up to a quote
).sub
_LOGGER: Final = "bulkhead.logs"
_ERROR_ID_LETTERS: Final = "0123456789abcdefghjkmnpqrstvwxyz"


_processors: list[Processor] = []


def configure(service: str, *, output: Format = "auto", level: str = "info", stream: BinaryIO | None = None) -> None:
    """Once, at the start of a process. Lines of the standard library's loggers take the same way."""
    global _by_hand  # noqa: PLW0603 - set once, like structlog's own configuration
    is_terminal = stream.isatty() if stream else os.isatty(2)
    console = output == "console" or (output == "auto" and is_terminal)
    _Writer.stream = to = DirectStream(stream) if stream else standard_error(lambda count: _told(service, count))
    _by_hand = None if console or _LEVELS[level] > logging.INFO else (to, _json(service))
    render = _to_console(colors=is_terminal) if console else _to_json
    # The same list every time: loggers that are in use keep it, and would otherwise miss a second call.
    _processors[:] = [_format_exception, _hide_by_name, _Complete(service), lambda *line: _hide_by_value(render(*line))]
    structlog.configure(
        processors=_processors,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=_Writer,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [_FromStandardLibrary()]
    root.setLevel(max(_LEVELS[level], logging.INFO))
    logging.captureWarnings(capture=True)


_by_hand: tuple[LogStream, str] | None = None


def is_by_hand() -> bool:
    """Whether lines go to machines, at this level, through what `configure` has set and no test has replaced."""
    in_place = structlog.get_config()["processors"] is _processors and _processors[0] is _format_exception
    return in_place and _by_hand is not None


def by_hand() -> tuple[LogStream, str] | None:
    """For the access log, which makes its lines itself at a tenth of the cost: where to, and the service as JSON."""
    return _by_hand if is_by_hand() else None


def error_id() -> str:
    """What a client is told of a fault instead of its text: short enough to be read out, found by it in the log."""
    return "".join(secrets.choice(_ERROR_ID_LETTERS) for _ in range(10))


class _Writer:
    """One write a line, so that lines of several threads do not mix."""

    stream: ClassVar[LogStream]

    def __init__(self, name: str = "bulkhead") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        self.stream.write(line.encode(errors="backslashreplace") + b"\n")

    debug = info = warning = error = critical = fatal = exception = log = msg


def _told(service: str, missing: int) -> bytes:
    line = {"time": _time(), "level": "warning", "event": "log_lines_dropped", "service": service, "logger": _LOGGER}
    return f"{_json({**line, 'count': missing})}\n".encode()


def _time() -> str:
    return clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Complete:
    """Time, level, service and whatever is known of the call."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, logger: Any, method: str, event: Event) -> Event:
        line: dict[str, Any] = {
            "time": _time(),
            "level": method,
            "event": event.pop("event", ""),
            "service": self._service,
            "logger": event.pop("logger", logger.name),
        }
        caller = find_caller()
        if caller is not None:
            line["rpc"] = caller.rpc
            line["request_id"] = caller.request_id
            if caller.tenant_id is not None:
                line["tenant_id"] = str(caller.tenant_id)
            if caller.user_id is not None:
                line["user_id"] = str(caller.user_id)
            if caller.service is not None:
                line["caller_service"] = caller.service
        trace = current_trace()
        if trace is not None:
            line["trace_id"] = trace.trace_id
        line.update(event)
        return line


def _format_exception(logger: Any, method: str, event: Event) -> Event:
    # Only then: the formatter would look into every line. It prints no local variables.
    return structlog.processors.format_exc_info(logger, method, event) if event.get("exc_info") else event


def _hide_by_name(_logger: Any, _method: str, event: Event) -> Event:
    known = _known_names.get
    for key, value in event.items():
        secret = known(key)
        if secret or (secret is None and _is_secret_name(key)):
            event[key] = HIDDEN
        elif isinstance(value, (dict, list, tuple)):
            event[key] = _plain(value)
    return event


def _hide_by_value(line: str) -> str:
    # One of these is in every text the pattern matches; a chain of them is ten times cheaper, any() is not. The scheme
    # has no case, but is written in one of these ways, and a JWT or a key is known without it.
    if "eyJ" in line or "bh_" in line or "://" in line or "password=" in line or "-----" in line:
        return _secret_value(HIDDEN, line)
    if "earer " in line or "EARER " in line:
        return _secret_value(HIDDEN, line)
    return line


_known_names: dict[str, bool] = {}


def _is_secret_name(name: str) -> bool:
    known = _known_names.get(name)
    if known is None:
        known = _secret_name(name) is not None
        if len(_known_names) < 10_000:
            _known_names[name] = known
    return known


def _plain(value: object, depth: int = 4) -> object:
    if depth == 0:
        return "..."
    if isinstance(value, Mapping):
        return {str(k): HIDDEN if _is_secret_name(str(k)) else _plain(v, depth - 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth - 1) for item in value]
    return value


def _of_other_type(value: object) -> str:
    """A message or any other object is only named: its text might hold a secret."""
    if isinstance(value, UUID | datetime | date | Decimal | PurePath | BaseException):
        return str(value)
    if isinstance(value, Enum):
        return value.name
    return f"<{type(value).__name__}>"


_json = json.JSONEncoder(separators=(",", ":"), default=_of_other_type).encode


def _to_json(_logger: Any, _method: str, event: Event) -> str:
    try:
        return _json(event)
    except (TypeError, ValueError):
        # A key that is no text, or a circle: a log line is never worth a failed call.
        return _json(
            {str(key): value if isinstance(value, str) else f"<{type(value).__name__}>" for key, value in event.items()}
        )


def _to_console(*, colors: bool) -> Callable[[Any, str, Event], str]:
    renderer = structlog.dev.ConsoleRenderer(colors=colors, timestamp_key="time", sort_keys=False)

    def render(logger: Any, method: str, event: Event) -> str:
        for key, value in event.items():
            if isinstance(value, str) and key != "exception" and not value.isprintable():
                # What a client sent must not move the cursor or recolour the terminal.
                event[key] = "".join(one if one.isprintable() else "\ufffd" for one in value)
            elif not isinstance(value, str | int | float | bool | None):
                event[key] = _json(value)
        return renderer(logger, method, event)

    return render


class _FromStandardLibrary(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        write = structlog.get_logger(record.name)
        exc_info = {"exc_info": record.exc_info} if record.exc_info else {}
        write.log(record.levelno, record.getMessage(), **exc_info)
