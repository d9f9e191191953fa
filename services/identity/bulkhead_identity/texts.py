"""Texts of people, brought into one form once, when they come in."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from bulkhead_kit import texts
from bulkhead_kit.errors import InvalidArgument
from email_validator import EmailNotValidError, validate_email

from bulkhead_identity.lookalikes import reads_like_support


def address(text: str, field: str) -> str:
    """Unicode in one form and the domain in lower case. Whether it receives mail is proved by a mail, not by DNS."""
    try:
        found = validate_email(text, check_deliverability=False, strict=True)
    except EmailNotValidError:
        raise InvalidArgument.field(field, "must be an e-mail address such as ann@example.com") from None
    return found.normalized


def address_key(text: str) -> str:
    """What addresses are compared by, as the database makes it: only the capitals A to Z are lowered."""
    return "".join(one.lower() if one.isascii() else one for one in text)


def name(text: str, field: str) -> str:
    """One line with something to see on it, that nobody takes for support: the database marks who comes to help."""
    found = texts.name(text, field)
    _demand_own(found, field)
    return found


def optional_name(text: str, field: str) -> str:
    found = texts.optional_line(text, field)
    _demand_own(found, field)
    return found


def _demand_own(found: str, field: str) -> None:
    if reads_like_support(found):
        raise InvalidArgument.field(field, "must not read like the names of those who come to help")


def web_address(text: str, field: str, *, schemes: Sequence[str] = ("http", "https")) -> str:
    """What a browser may be sent to: never javascript: or data:, no login in it. Empty stays empty."""
    found = texts.optional_line(text, field)
    if not found:
        return ""
    try:
        parts = urlsplit(found)
        host, user = parts.hostname, parts.username
    except ValueError:
        host, user, parts = None, None, urlsplit("")
    if parts.scheme not in schemes or not host or user is not None or " " in found or "\\" in found:
        raise InvalidArgument.field(field, f"must be a whole address that begins with {schemes[-1]}://")
    return found
