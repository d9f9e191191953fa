"""One spelling for each JSON value: RFC 8785, but numbers keep all their digits (docs/audit-encoding.md).

PostgreSQL's numbers have more digits than a float holds, so they are read and written as text.
"""

from __future__ import annotations

from dataclasses import dataclass
from json.encoder import encode_basestring as quoted
from typing import Final

from bulkhead_kit import strict_json

MAX_DEPTH: Final = 64


@dataclass(frozen=True, slots=True)
class Number:
    """A number by its digits, as they stood in the text."""

    text: str


Json = None | bool | str | Number | list["Json"] | dict[str, "Json"]

_CONSTANTS: dict[bool | None, str] = {None: "null", True: "true", False: "false"}


def parse(text: str) -> Json:
    """Raises ValueError for what is not JSON, and for two members of one name."""
    try:
        tree: Json = strict_json.loads(text, number=Number)
    except RecursionError:
        raise _too_deep() from None
    return tree


def canonical(value: Json, depth: int = 0) -> str:
    """Raises ValueError for what PostgreSQL could not keep."""
    if isinstance(value, str):
        return quote(value)
    if value is None or isinstance(value, bool):
        return _CONSTANTS[value]
    if isinstance(value, Number):
        return plain(value.text)
    if depth >= MAX_DEPTH:
        raise _too_deep()
    if isinstance(value, list):
        return "[" + ",".join([canonical(one, depth + 1) for one in value]) + "]"
    members = [f"{quote(name)}:{canonical(value[name], depth + 1)}" for name in in_order(value)]
    return "{" + ",".join(members) + "}"


def in_order(names: dict[str, Json]) -> list[str]:
    """Sorted by UTF-16 code units, as RFC 8785 wants it; for ASCII that is the usual order."""
    return sorted(names, key=lambda name: name.encode("utf-16-be", "surrogatepass"))


def quote(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain U+0000")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("must not contain half of a surrogate pair") from None
    return quoted(text)


def plain(number: str) -> str:
    """All digits kept; no zeros at the end of a fraction, no minus before zero."""
    if "e" in number or "E" in number:
        raise ValueError("numbers must be written without exponent")
    if "." in number:
        number = number.rstrip("0").removesuffix(".")
    return "0" if number == "-0" else number


def _too_deep() -> ValueError:
    return ValueError(f"must be at most {MAX_DEPTH} levels deep")
