"""A service's log line for the eye: what a terminal has room for. The log file has all of it."""

import re
import textwrap

# As structlog writes it for people: time, level, event, logger, fields.
_line = re.compile(r"\d{4}-\d\d-\d\dT(\d\d:\d\d:\d\d)\.\d+Z \[(\w+) *\] (.*?) +\[[\w.]+\] (.*)").fullmatch
# The service is said before the line; nobody copies a trace from a screen.
_SAID = re.compile(r"\b(service|trace_id)=\S+ ?|\breason=(?: |$)")
_IDS = re.compile(r"\b(request_id|tenant_id|user_id)=\S+ ?")
_PACKAGE = re.compile(r"\bbulkhead\.\w+\.v\d+\.(?=\w+/)")


def brief(text: str) -> str:
    """Ids stay where a call failed: they are what one looks for. What is no such line stays as it is."""
    found = _line(text)
    if found is None:
        return text
    time, level, event, fields = found.groups()
    fields = _PACKAGE.sub("", _SAID.sub("", fields))
    if "code=OK" in fields:
        fields = _IDS.sub("", fields)
    return " ".join(part for part in (time, "" if level == "info" else level, event, fields.strip()) if part).replace(
        " rpc rpc=", " rpc "
    )


def hanging(text: str, indent: int, width: int) -> str:
    """Broken at spaces only, so that a path can be copied; what follows the first line stands below it."""
    lines = textwrap.wrap(text, max(width - indent, 20), break_long_words=False, break_on_hyphens=False) or [""]
    return ("\n" + " " * indent).join(lines)
